package local_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/flavorless/flavorless/internal/local/control"
)

// TestDeadLettersAccess: only GET and POST with the control secret as a bearer token are served, and never to a web
// page.
func TestDeadLettersAccess(t *testing.T) {
	s := start(t)
	good := "Bearer " + s.Info().Control
	for name, c := range map[string]struct {
		method, host string
		header       http.Header
		want         int
	}{
		"as documented":          {"GET", "", http.Header{"Authorization": {good}}, 200},
		"scheme in lower case":   {"GET", "", http.Header{"Authorization": {"bearer " + s.Info().Control}}, 200},
		"localhost":              {"GET", "LocalHost:8080", http.Header{"Authorization": {good}}, 200},
		"IPv6":                   {"GET", "[::1]:8080", http.Header{"Authorization": {good}}, 200},
		"IPv6 without port":      {"GET", "[::1]", http.Header{"Authorization": {good}}, 200},
		"no secret":              {"GET", "", nil, 401},
		"empty secret":           {"GET", "", http.Header{"Authorization": {"Bearer "}}, 401},
		"another secret":         {"GET", "", http.Header{"Authorization": {good + "x"}}, 401},
		"no scheme":              {"GET", "", http.Header{"Authorization": {s.Info().Control}}, 401},
		"no scheme but a space":  {"GET", "", http.Header{"Authorization": {" " + s.Info().Control}}, 401},
		"another scheme":         {"GET", "", http.Header{"Authorization": {"Basic " + s.Info().Control}}, 401},
		"two spaces":             {"GET", "", http.Header{"Authorization": {"Bearer  " + s.Info().Control}}, 401},
		"two headers":            {"GET", "", http.Header{"Authorization": {good, "Bearer x"}}, 401},
		"page":                   {"POST", "", http.Header{"Authorization": {good}, "Origin": {"https://example.com"}}, 403},
		"page of this machine":   {"GET", "", http.Header{"Authorization": {good}, "Origin": {s.Info().API}}, 403},
		"page without an origin": {"GET", "", http.Header{"Authorization": {good}, "Origin": {"null"}}, 403},
		"preflight":              {"OPTIONS", "", http.Header{"Origin": {"https://example.com"}}, 403},
		"rebound name":           {"GET", "example.com:8080", http.Header{"Authorization": {good}}, 403},
		"name like localhost":    {"GET", "localhost.example.com", http.Header{"Authorization": {good}}, 403},
		"name like an address":   {"GET", "127.0.0.1.example.com", http.Header{"Authorization": {good}}, 403},
		"DELETE":                 {"DELETE", "", http.Header{"Authorization": {good}}, 405},
		"HEAD":                   {"HEAD", "", http.Header{"Authorization": {good}}, 405},
		"PUT without a secret":   {"PUT", "", nil, 405},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), c.method, s.Info().API+control.Path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = c.host
			for name, values := range c.header {
				req.Header[name] = values
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != c.want {
				t.Errorf("status %d, want %d", res.StatusCode, c.want)
			}
			if got := res.Header.Get("Allow"); (c.want == 405) != (got == "GET, POST") {
				t.Errorf("Allow: %q", got)
			}
			if got := res.Header.Get("WWW-Authenticate"); (c.want == 401) != strings.EqualFold(got, "Bearer") {
				t.Errorf("WWW-Authenticate: %q", got)
			}
		})
	}
}
