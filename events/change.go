package events

import (
	"fmt"

	"github.com/go-json-experiment/json"
)

// Kind says what happened to a stored favorite.
type Kind string

// The kinds of a Change.
const (
	Created Kind = "created" // there was none
	Changed Kind = "changed" // there was another flavor
	Removed Kind = "removed" // there is none any more
)

// Change is what subscribers are told, if and only if a stored flavor really changed. It is delivered at least once;
// (Person, Version) is its identity. Kept per person by the greatest Version, changes add up to the table.
type Change struct {
	Kind     Kind
	Person   string
	Flavor   string  // empty when removed
	Previous string  // empty when created
	Version  Version // of the row that caused it
}

// NewChange compares what the table held of a person (had: nothing or a tombstone if empty) with what it holds now.
// It returns false when that is the same flavor: then there is nothing to announce.
func NewChange(person, had, has string, version Version) (Change, bool) {
	c := Change{Person: person, Flavor: has, Previous: had, Version: version}
	switch {
	case had == has:
		return Change{}, false
	case had == "":
		c.Kind = Created
	case has == "":
		c.Kind = Removed
	default:
		c.Kind = Changed
	}
	return c, true
}

// ID is what a subscriber can deduplicate by.
func (c Change) ID() string { return c.Person + "@" + string(c.Version) }

// Upload gives the id of the upload that caused the change.
func (c Change) Upload() string { return c.Version.Upload() }

// Message encodes the change for the changes topic.
func (c Change) Message() Message {
	attributes := map[string]string{
		"type": ChangeType, "kind": string(c.Kind), "person": c.Person, "upload": c.Upload(),
	}
	b := make([]byte, 0, 640)
	b = appendEnvelope(b, "/flavorless/announce", ChangeType, c.ID(), c.Person, c.Version.Time())
	b = append(b, `{"kind":"`...)
	b = append(b, c.Kind...)
	b = append(b, `","person":`...)
	b = appendString(b, c.Person)
	b = append(b, `,"flavor":`...)
	if c.Flavor == "" {
		b = append(b, "null"...)
	} else {
		b = appendString(b, c.Flavor)
		attributes["flavor"] = c.Flavor
	}
	b = append(b, `,"previous":`...)
	if c.Previous == "" {
		b = append(b, "null"...)
	} else {
		b = appendString(b, c.Previous)
		attributes["previous"] = c.Previous
	}
	b = append(b, `,"version":"`...)
	b = append(b, c.Version...)
	b = append(b, `","upload":"`...)
	b = append(b, c.Upload()...)
	b = append(b, `"}}`...)
	return Message{ID: c.ID(), Subject: ChangeType + "." + string(c.Kind), Attributes: attributes, Body: b}
}

// DecodeChange reads the body of a message of type ChangeType. Members that it doesn't know are skipped. What it returns
// is what NewChange gives: kind and flavors agree, and the names are as CleanName gives them.
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
		return c, fmt.Errorf("its type is %.80q, not %q", event.Type, ChangeType)
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
		return c, fmt.Errorf("from %q to %q is not %.80q", previous, flavor, data.Kind)
	}
	return c, nil
}

// optionalName gives the empty text for null.
func optionalName(s *string, field string) (string, error) {
	if s == nil {
		return "", nil
	}
	return *s, checkName(*s, field, MissingFlavor)
}
