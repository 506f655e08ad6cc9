package events

import (
	"fmt"

	"github.com/go-json-experiment/json"
)

// Kind is what happened to a stored favorite.
type Kind string

// The kinds of a Change.
const (
	Created Kind = "created" // the person had no favorite
	Changed Kind = "changed" // the person had another favorite
	Removed Kind = "removed" // the person has no favorite anymore
)

// Change is published to subscribers if and only if a stored flavor changed. It is delivered at least once and
// identified by Person and Version. The changes with the greatest Version of each person add up to the table.
type Change struct {
	Kind     Kind
	Person   string
	Flavor   string  // empty if removed
	Previous string  // empty if created
	Version  Version // of the row that caused the change
}

// NewChange returns the change of a person's flavor from previous to flavor, either of which is empty if the table
// holds nothing or a tombstone. It returns false if both are the same, so there is nothing to publish.
func NewChange(person, previous, flavor string, version Version) (Change, bool) {
	c := Change{Person: person, Flavor: flavor, Previous: previous, Version: version}
	switch {
	case previous == flavor:
		return Change{}, false
	case previous == "":
		c.Kind = Created
	case flavor == "":
		c.Kind = Removed
	default:
		c.Kind = Changed
	}
	return c, true
}

// ID returns the id by which subscribers can deduplicate.
func (c Change) ID() string { return c.Person + "@" + string(c.Version) }

// UploadID returns the id of the upload that caused the change.
func (c Change) UploadID() string { return c.Version.UploadID() }

// Message encodes the change for the changes topic.
func (c Change) Message() Message {
	attributes := map[string]string{
		"type": ChangeType, "kind": string(c.Kind), "person": c.Person, "upload": c.UploadID(),
	}
	b := make([]byte, 0, 640)
	b = appendEnvelope(b, "/flavorless/announce", ChangeType, c.ID(), c.Person, c.Version.Time())
	b = append(b, `{"kind":"`...)
	b = append(b, c.Kind...)
	b = append(b, `","person":`...)
	b = appendString(b, c.Person)
	for _, f := range []struct{ name, flavor string }{{"flavor", c.Flavor}, {"previous", c.Previous}} {
		b = append(b, `,"`+f.name+`":`...)
		if f.flavor == "" {
			b = append(b, "null"...)
			continue
		}
		b = appendString(b, f.flavor)
		attributes[f.name] = f.flavor
	}
	b = append(b, `,"version":"`...)
	b = append(b, c.Version...)
	b = append(b, `","upload":"`...)
	b = append(b, c.UploadID()...)
	b = append(b, `"}}`...)
	return Message{ID: c.ID(), Subject: ChangeType + "." + string(c.Kind), Attributes: attributes, Body: b}
}

// DecodeChange decodes the body of a message of type [ChangeType]. It ignores unknown members. The kind of the result
// matches its flavors, and the names are in the form that [CleanName] returns. An error means that retrying is useless.
func DecodeChange(body []byte) (Change, error) {
	c, err := decodeChange(body)
	if err != nil {
		return Change{}, fmt.Errorf("decoding a change: %w", err)
	}
	return c, nil
}

func decodeChange(body []byte) (c Change, err error) {
	var event struct {
		Type string `json:"type"`
		Data struct {
			Kind     Kind    `json:"kind"`
			Person   string  `json:"person"`
			Flavor   *string `json:"flavor"`
			Previous *string `json:"previous"`
			Version  string  `json:"version"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &event); err != nil {
		return c, err
	}
	if event.Type != ChangeType {
		return c, wrongType(event.Type, ChangeType)
	}
	data := event.Data
	version, err := ParseVersion(data.Version)
	if err != nil {
		return c, err
	}
	if err := checkName(data.Person, "person", MissingPerson); err != nil {
		return c, err
	}
	previous, err := optionalName(data.Previous, "previous")
	if err != nil {
		return c, err
	}
	flavor, err := optionalName(data.Flavor, "flavor")
	if err != nil {
		return c, err
	}
	c, changed := NewChange(data.Person, previous, flavor, version)
	if !changed || c.Kind != data.Kind {
		return c, fmt.Errorf("kind is %.80q, but the flavor went from %q to %q", data.Kind, previous, flavor)
	}
	return c, nil
}

// optionalName returns the empty string for null.
func optionalName(s *string, field string) (string, error) {
	if s == nil {
		return "", nil
	}
	return *s, checkName(*s, field, MissingFlavor)
}
