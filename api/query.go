package api

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// query is the parsed query of a request.
type query url.Values

// parseQuery parses a query whose parameters must be known. Those in lists may be repeated. Ignoring others would hide
// mistakes: a client that misspells limit would get another limit without noticing.
func parseQuery(raw string, known, lists []string) (query, error) {
	if raw == "" {
		return nil, nil
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, badRequest("the query is malformed; percent-encode everything except letters and digits")
	}
	for name, given := range values {
		switch {
		case slices.Contains(lists, name):
		case len(known)+len(lists) == 0:
			return nil, badRequest("this route takes no query parameters")
		case !slices.Contains(known, name):
			return nil, badRequest("unknown query parameter; use one of: " + strings.Join(slices.Concat(known, lists), ", "))
		case len(given) > 1:
			return nil, badRequest(name + " is given more than once; give it once")
		}
	}
	return query(values), nil
}

func (q query) get(name string) string { return url.Values(q).Get(name) }

// limit returns the page size that the client asks for, from 1 to maximum, or usual if it asks for none.
func (q query) limit(usual, maximum int) (int, error) {
	text, ok := q["limit"]
	if !ok {
		return usual, nil
	}
	n, err := strconv.ParseUint(text[0], 10, 31) // accepts no sign
	if err != nil || n < 1 || n > uint64(maximum) {
		return 0, badRequest(fmt.Sprintf("limit must be a whole number from 1 to %d", maximum))
	}
	return int(n), nil
}
