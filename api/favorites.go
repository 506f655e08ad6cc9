package api

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/flavorless/flavorless/events"
)

// How many people a page of the team has.
const (
	teamLimit    = 1000 // unless the client asks
	maxTeamLimit = 10000
)

// maxPage is how long a page may become, in bytes. It then ends early, with a link to the next: a Lambda function can
// answer with 6 MB at most, and 10,000 long names would exceed that.
const maxPage = 4 << 20

// team answers with one JSON object from person to flavor, sorted by person.
func (h *handler) team(r *http.Request, q query, _ Claims) (reply, error) {
	limit, err := q.limit(teamLimit, maxTeamLimit)
	if err != nil {
		return reply{}, err
	}
	after := q.get("after")
	if after != "" {
		if after, err = cleanPerson(after, "after"); err != nil {
			return reply{}, err
		}
	}
	people, err := h.Favorites.Team(r.Context(), after, limit+1)
	if err != nil {
		return reply{}, fmt.Errorf("reading the team: %w", err)
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
	page := reply{body: body}
	if n < len(people) {
		page.next = h.link("/team", "after", people[n-1].Person, limit)
	}
	return page, nil
}

// lookup answers with one person's favorite.
func (h *handler) lookup(r *http.Request, _ query, _ Claims) (reply, error) {
	person, err := cleanPerson(r.PathValue(parameter), "person")
	if err != nil {
		return reply{}, err
	}
	favorite, err := h.Favorites.Lookup(r.Context(), person)
	if errors.Is(err, events.ErrNotFound) {
		return reply{}, notFound("nobody of that name has a favorite flavor")
	}
	if err != nil {
		return reply{}, fmt.Errorf("looking up a person: %w", err)
	}
	body := make([]byte, 0, 96+len(favorite.Person)+len(favorite.Flavor))
	body = append(body, `{"person":`...)
	body = appendString(body, favorite.Person)
	body = append(body, `,"flavor":`...)
	body = appendString(body, favorite.Flavor)
	body = append(body, `,"updated":"`...)
	body = append(body, events.FormatTime(favorite.Version.Time())...)
	body = append(body, `"}`...)
	return reply{body: body}, nil
}

// cleanPerson normalises a name just as ingest does, so that whoever was uploaded can be looked up.
func cleanPerson(name, field string) (string, error) {
	clean, bad := events.CleanName(name, field, events.MissingPerson)
	switch {
	case bad == nil:
		return clean, nil
	case bad.Code == events.InvalidUTF8: // its reason speaks of a file
		return "", badRequest(field + " is not valid UTF-8 once percent-decoded")
	}
	return "", badRequest(bad.Reason)
}

// appendString appends s as a JSON string, escaping only what JSON asks for. Invalid UTF-8 becomes U+FFFD.
func appendString(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s)
	return dst
}
