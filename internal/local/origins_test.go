package local_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/flavorless/flavorless/internal/local"
)

// TestOrigins checks that only pages of the configured origins can read the responses of the API and the bucket.
func TestOrigins(t *testing.T) {
	t.Parallel()
	const page, other = "http://localhost:5173", "https://flavors.example"
	s := start(t, func(c *local.Config) { c.Origins = []string{other, page} })
	closed := start(t)
	const object = "/flavorless-uploads/uploads/a.csv"
	token := []string{"Authorization", "Bearer " + s.token()}
	resume := append(token[:2:2], "Last-Event-ID", "0")
	for name, c := range map[string]struct {
		method, url, origin string
		headers             []string
		status              int
		want                string // Access-Control-Allow-Origin
	}{
		"preflight": {http.MethodOptions, s.Info().API + "/changes", page, []string{
			"Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization,last-event-id"}, 204, page},
		"team":           {http.MethodGet, s.Info().API + "/team", other, token, 200, other},
		"changes":        {http.MethodGet, s.Info().API + "/changes", page, resume, 200, page},
		"no token":       {http.MethodGet, s.Info().API + "/team", page, nil, 401, page},
		"no such person": {http.MethodGet, s.Info().API + "/ice-cream/nobody", page, token, 404, page},
		"bucket, no key": {http.MethodGet, s.Info().S3 + object, page, nil, 403, page},
		"bucket preflight": {http.MethodOptions, s.Info().S3 + object, page, []string{
			"Access-Control-Request-Method", "PUT"}, 204, page},
		"other origin":  {http.MethodGet, s.Info().API + "/team", "http://localhost:5174", token, 200, ""},
		"closed":        {http.MethodGet, closed.Info().API + "/", page, nil, 200, ""},
		"closed bucket": {http.MethodGet, closed.Info().S3 + object, page, nil, 403, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := http.NewRequestWithContext(t.Context(), c.method, c.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Origin", c.origin)
			for n := 0; n < len(c.headers); n += 2 {
				r.Header.Set(c.headers[n], c.headers[n+1])
			}
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if got := res.Header.Get("Access-Control-Allow-Origin"); res.StatusCode != c.status || got != c.want {
				t.Errorf("status %d, Access-Control-Allow-Origin %q; want %d, %q", res.StatusCode, got, c.status, c.want)
			}
			exposed := strings.ToLower(res.Header.Get("Access-Control-Expose-Headers"))
			for _, header := range []string{"etag", "retry-after"} {
				if c.method != http.MethodOptions && strings.Contains(exposed, header) != (c.want != "") {
					t.Errorf("Access-Control-Expose-Headers = %q, want it to have %s only for an allowed origin", exposed, header)
				}
			}
			want := r.Header.Get("Access-Control-Request-Headers")
			if got := res.Header.Get("Access-Control-Allow-Headers"); got != want {
				t.Errorf("Access-Control-Allow-Headers = %q, want %q", got, want)
			}
		})
	}
}

// TestOriginsAreExact checks that Start rejects origins that no browser sends, and patterns for many origins.
func TestOriginsAreExact(t *testing.T) {
	t.Parallel()
	for _, origin := range []string{
		"", "*", "null", "localhost:5173", "//flavors.example", "https://", "https://*.example", "https://flavors.example/",
		"https://flavors.example/page", "https://flavors.example?", "https://user@flavors.example", "https://Flavors.example",
		"HTTPS://flavors.example", "https://flavors.example:443", "http://flavors.example:80",
		"https://a.example,https://b.example", "https://a.example https://b.example",
		"https://x.example:", "https://x.example:0", "https://x.example:0444", "https://x.example:99999",
		"https://é.example", "https://a..b", "ftp://x.example", "http://127.1", "http://0x7f.1", "http://2130706433",
		"http://[0:0:0:0:0:0:0:1]", "http://[::1%25lo]",
	} {
		origins := []string{"https://flavors.example", origin}
		s, err := local.Start(t.Context(), local.Config{Dir: t.TempDir(), Log: discard, Origins: origins})
		if err == nil {
			t.Errorf("origin %q is accepted", origin)
			if err := s.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		} else if !errors.Is(err, local.ErrConfig) {
			t.Errorf("origin %q: %v, want ErrConfig", origin, err)
		}
	}
}
