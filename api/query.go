package api

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// query is the query of a request: every name known, and there once.
type query url.Values

// parseQuery refuses what would otherwise be ignored: a misspelt limit that is silently another limit helps nobody.
func parseQuery(raw string, known []string) (query, error) {
	if raw == "" {
		return nil, nil
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, badRequest("the query is malformed; percent-encode what is not a letter or a digit")
	}
	for name, given := range values {
		if !slices.Contains(known, name) {
			if len(known) == 0 {
				return nil, badRequest("this route takes no query parameters")
			}
			return nil, badRequest("unknown query parameter; there are: " + strings.Join(known, ", "))
		}
		if len(given) > 1 {
			return nil, badRequest(name + " is given more than once")
		}
	}
	return query(values), nil
}

func (q query) get(name string) string { return url.Values(q).Get(name) }

// limit reads how long a page may be.
func (q query) limit(usual, most int) (int, error) {
	text, ok := q["limit"]
	if !ok {
		return usual, nil
	}
	n, err := strconv.ParseUint(text[0], 10, 31) // no sign
	if err != nil || n < 1 || n > uint64(most) {
		return 0, badRequest(fmt.Sprintf("limit must be a whole number from 1 to %d", most))
	}
	return int(n), nil
}
