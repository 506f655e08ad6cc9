package api

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// query is the query of a request: every name known, and there once unless it is that of a list.
type query url.Values

// parseQuery refuses what would otherwise be ignored: a misspelt limit that is silently another limit helps nobody.
func parseQuery(raw string, known, lists []string) (query, error) {
	if raw == "" {
		return nil, nil
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, badRequest("the query is malformed; percent-encode what is not a letter or a digit")
	}
	for name, given := range values {
		switch {
		case slices.Contains(lists, name):
		case len(known)+len(lists) == 0:
			return nil, badRequest("this route takes no query parameters")
		case !slices.Contains(known, name):
			return nil, badRequest("unknown query parameter; there are: " + strings.Join(slices.Concat(known, lists), ", "))
		case len(given) > 1:
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
