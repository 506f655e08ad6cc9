package api

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/flavorless/flavorless/events"
)

// Page sizes of the team, in people.
const (
	teamLimit    = 1000 // default
	maxTeamLimit = 10000
)

// maxPage is the size, in bytes, beyond which a page of the team ends early, with a link to the next one. 10,000 long
// names would exceed the 6 MB that a Lambda function can return.
const maxPage = 4 << 20

// team responds with a JSON object from person to flavor, sorted by person.
func (h *handler) team(r *http.Request, q query, _ Claims) (response, error) {
	limit, err := q.limit(teamLimit, maxTeamLimit)
	if err != nil {
		return response{}, err
	}
	after := q.get("after")
	if after != "" {
		if after, err = cleanName(after, "after"); err != nil {
			return response{}, err
		}
	}
	people, err := h.Favorites.Team(r.Context(), after, limit+1)
	if err != nil {
		return response{}, fmt.Errorf("reading the team: %w", err)
	}

	body := make([]byte, 0, 32*len(people)+16)
	body = append(body, '{')
	n := 0
	for ; n < min(len(people), limit) && len(body) < maxPage; n++ {
		if n > 0 {
			body = append(body, ',')
		}
		body = appendString(body, people[n].Person)
		body = append(body, ':')
		body = appendString(body, people[n].Flavor)
	}
	body = append(body, '}')
	page := response{body: body}
	if n < len(people) {
		page.next = h.link("/team", "after", people[n-1].Person, limit)
	}
	return page, nil
}

// favorite responds with one person's favorite.
func (h *handler) favorite(r *http.Request, _ query, _ Claims) (response, error) {
	person, err := cleanName(r.PathValue(parameter), "person")
	if err != nil {
		return response{}, err
	}
	favorite, err := h.Favorites.Lookup(r.Context(), person)
	if errors.Is(err, events.ErrNotFound) {
		return response{}, notFound("this person has no favorite flavor")
	}
	if err != nil {
		return response{}, fmt.Errorf("looking up a person: %w", err)
	}
	body := make([]byte, 0, 128+len(favorite.Person)+len(favorite.Flavor))
	body = append(body, `{"person":`...)
	body = appendString(body, favorite.Person)
	body = append(body, `,"flavor":`...)
	body = appendString(body, favorite.Flavor)
	body = append(body, `,"updated":"`...)
	body = append(body, events.FormatTime(favorite.Version.Time())...)
	body = append(body, `","upload":"`...)
	body = append(body, favorite.Version.UploadID()...)
	body = append(body, `"}`...)
	return response{body: body}, nil
}

// cleanName normalizes a name as ingest does, so that any spelling of an uploaded name finds it. Field is the parameter
// that errors mention.
func cleanName(name, field string) (string, error) {
	clean, bad := events.CleanName(name, field, events.MissingPerson)
	switch {
	case bad == nil:
		return clean, nil
	case bad.Code == events.InvalidUTF8: // its reason is about files
		return "", badRequest(field + " is not UTF-8; percent-encode the bytes of its UTF-8 form")
	}
	return "", badRequest(bad.Reason)
}

// appendString appends s as a JSON string with the fewest escapes. Invalid UTF-8 becomes U+FFFD.
func appendString(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s)
	return dst
}
