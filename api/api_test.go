package api_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/events"
)

func TestNew(t *testing.T) {
	valid := func() api.Config {
		s := &store{}
		return api.Config{Favorites: s, Uploads: s, Verifier: newIssuer(t, newClock()).newVerifier(t, nil)}
	}
	if _, err := api.New(valid()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*api.Config){
		"without a verifier":  func(c *api.Config) { c.Verifier = nil },
		"without favorites":   func(c *api.Config) { c.Favorites = nil },
		"without uploads":     func(c *api.Config) { c.Uploads = nil },
		"odd base path":       func(c *api.Config) { c.BasePath = "prod" },
		"origin with a slash": func(c *api.Config) { c.AllowedOrigins = []string{"https://a.example/"} },
		"origin as a host":    func(c *api.Config) { c.AllowedOrigins = []string{"a.example"} },
	} {
		t.Run(name, func(t *testing.T) {
			config := valid()
			change(&config)
			if _, err := api.New(config); err == nil {
				t.Error("New() succeeded, want an error")
			}
		})
	}
	t.Run("a nil *Verifier admits nobody", func(t *testing.T) {
		h := newServer(t, func(c *api.Config) { c.Verifier = (*api.Verifier)(nil) })
		h.get(t, "/team").wantStatus(t, http.StatusInternalServerError)
	})
}

func TestRoutes(t *testing.T) {
	h := newServer(t, nil)
	h.addUploads(1)
	routes := []string{"/", "/team", "/ice-cream/andy", "/uploads", "/uploads/" + uploadID(1), "/openapi.json", "/healthz"}
	for _, target := range routes {
		t.Run("HEAD "+target, func(t *testing.T) {
			token := []string{"Authorization", h.issuer.bearer(t)}
			got := h.do(t, http.MethodHead, target, token...).wantStatus(t, http.StatusOK)
			want := h.do(t, http.MethodGet, target, token...)
			if got.body != "" {
				t.Errorf("body = %q, want none", got.body)
			}
			if diff := cmp.Diff(want.header, got.header); diff != "" {
				t.Errorf("headers (-GET +HEAD):\n%s", diff)
			}
		})
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"} {
			t.Run(method+" "+target, func(t *testing.T) {
				a := h.do(t, method, target).wantStatus(t, http.StatusMethodNotAllowed)
				problemOf(t, a.wantHeader(t, "Allow", "GET, HEAD, OPTIONS"))
			})
		}
		t.Run("OPTIONS "+target, func(t *testing.T) {
			h.do(t, http.MethodOptions, target).wantStatus(t, http.StatusNoContent).wantHeader(t, "Allow", "GET, HEAD, OPTIONS")
		})
	}
	for _, target := range []string{
		"//", "/.", "/%2F", "/andy", "/teams", "/team/", "//team", "/./team", "/team/andy", "/ice-cream", "/ice-cream/",
		"/uploads/", "/TEAM", "/%74eam",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS"} {
			t.Run("no such route: "+method+" "+target, func(t *testing.T) {
				h.do(t, method, target).wantStatus(t, http.StatusNotFound) // without a token
			})
		}
	}
	t.Run("open to all", func(t *testing.T) {
		if a := h.do(t, http.MethodGet, "/healthz").wantStatus(t, http.StatusOK); a.body != `{"status":"ok"}`+"\n" {
			t.Errorf("body = %q, want status ok only", a.body)
		}
		h.do(t, http.MethodGet, "/openapi.json").wantStatus(t, http.StatusOK)
		h.do(t, http.MethodGet, "/").wantStatus(t, http.StatusOK)
	})
}

// TestStart checks that GET / has the name and the version of the service, and links to the routes that exist.
func TestStart(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*api.Config)
		want   string
	}{
		"one machine": {func(c *api.Config) { c.Version = "v1.2.3" },
			`"version":"v1.2.3","links":{"changes":"/changes","description":"/openapi.json",` +
				`"health":"/healthz","team":"/team","uploads":"/uploads"}}`},
		"behind a gateway": {func(c *api.Config) { c.BasePath, c.Changes = "/prod", nil },
			`"links":{"description":"/prod/openapi.json","health":"/prod/healthz",` +
				`"team":"/prod/team","uploads":"/prod/uploads"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			h := newServer(t, c.change)
			a := h.do(t, http.MethodGet, "/").wantStatus(t, http.StatusOK).wantHeader(t, "Content-Type", "application/json")
			if !strings.HasPrefix(a.body, `{"name":"flavorless","about":"`) || !strings.HasSuffix(a.body, c.want+"\n") {
				t.Errorf("body = %s, want suffix %s", a.body, c.want)
			}
			h.do(t, http.MethodGet, "/", "If-None-Match", a.header.Get("ETag")).wantStatus(t, http.StatusNotModified)
			h.do(t, http.MethodGet, "/?x=y").wantStatus(t, http.StatusBadRequest)
			h.do(t, http.MethodGet, "/", "Authorization", "Bearer invalid").wantStatus(t, http.StatusOK)
		})
	}
}

func TestQueries(t *testing.T) {
	h := newServer(t, nil)
	const malformed = "the query is malformed; percent-encode everything except letters and digits"
	for target, detail := range map[string]string{
		"/team?limit=0":                           "limit must be a whole number from 1 to 10000",
		"/team?limit=10001":                       "limit must be a whole number from 1 to 10000",
		"/team?limit=-1":                          "limit must be a whole number from 1 to 10000",
		"/team?limit=%2B5":                        "limit must be a whole number from 1 to 10000",
		"/team?limit=":                            "limit must be a whole number from 1 to 10000",
		"/team?limit=ten":                         "limit must be a whole number from 1 to 10000",
		"/team?limit=1e3":                         "limit must be a whole number from 1 to 10000",
		"/team?limit=99999999999999999999":        "limit must be a whole number from 1 to 10000",
		"/team?limit=1&limit=2":                   "limit is given more than once; give it once",
		"/team?Limit=1":                           "unknown query parameter; use one of: after, limit",
		"/team?before=x":                          "unknown query parameter; use one of: after, limit",
		"/team?limit=%zz":                         malformed,
		"/team?after=a;limit=1":                   malformed,
		"/team?after=%FF":                         "after is not UTF-8; percent-encode the bytes of its UTF-8 form",
		"/team?after=" + strings.Repeat("x", 257): nameError(t, strings.Repeat("x", 257), "after"),
		"/ice-cream/andy?x":                       "this route takes no query parameters",
		"/uploads?limit=501":                      "limit must be a whole number from 1 to 500",
		"/uploads?before=x":                       "before must be the id of an upload",
		"/uploads?after=" + uploadID(1):           "unknown query parameter; use one of: before, limit",
		"/uploads/" + uploadID(1) + "?limit=1":    "this route takes no query parameters",
		"/openapi.json?pretty":                    "this route takes no query parameters",
		"/healthz?verbose":                        "this route takes no query parameters",
	} {
		t.Run(target, func(t *testing.T) {
			if got := problemOf(t, h.get(t, target).wantStatus(t, http.StatusBadRequest)).Detail; got != detail {
				t.Errorf("detail = %q, want %q", got, detail)
			}
		})
	}
	for _, target := range []string{
		"/team?", "/team?after=", "/team?after=jose%CC%81", "/team?limit=10000", "/team?limit=007",
		"/uploads?before=&limit=500",
	} {
		t.Run(target, func(t *testing.T) { h.get(t, target).wantStatus(t, http.StatusOK) })
	}
	t.Run("the token is checked first", func(t *testing.T) {
		h.do(t, http.MethodGet, "/team?x").wantStatus(t, http.StatusUnauthorized)
	})
}

func TestFailures(t *testing.T) {
	secret := errors.New("dynamodb: table favorites-prod in account 123456789012")
	for _, test := range []struct {
		name   string
		fail   func(*store)
		status int
	}{
		{"an error", func(s *store) { s.err = secret }, 500},
		{"a panic", func(s *store) { s.panics = secret }, 500},
		{"throttling", func(s *store) { s.err = fmt.Errorf("%w: %w", events.ErrUnavailable, secret) }, 503},
		{"a deadline", func(s *store) { s.err = fmt.Errorf("%w: %w", secret, context.DeadlineExceeded) }, 503},
	} {
		for _, target := range []string{"/team", "/ice-cream/andy", "/uploads", "/uploads/" + uploadID(1)} {
			t.Run(test.name+" "+target, func(t *testing.T) {
				h := newServer(t, nil)
				test.fail(h.store)
				a := h.get(t, target, "Accept-Encoding", "gzip").wantStatus(t, test.status)
				p := problemOf(t, a)
				if strings.Contains(a.body, "dynamodb") {
					t.Errorf("body reveals the cause: %s", a.body)
				}
				id, ok := strings.CutPrefix(p.Instance, "urn:flavorless:request:")
				if log := h.log.String(); !ok || !strings.Contains(log, "request="+id) || !strings.Contains(log, "favorites-prod") {
					t.Errorf("instance = %q, want one whose log entry has the cause; log:\n%s", p.Instance, log)
				}
			})
		}
	}
}

// TestLogNamesNoPerson checks that failed and refused requests are logged with their route, not with their path.
func TestLogNamesNoPerson(t *testing.T) {
	h := newServer(t, nil)
	h.do(t, http.MethodGet, "/ice-cream/marija").wantStatus(t, http.StatusUnauthorized)
	h.store.err = errors.New("table not found")
	h.get(t, "/ice-cream/marija").wantStatus(t, http.StatusInternalServerError)
	h.get(t, "/team?after=marija").wantStatus(t, http.StatusInternalServerError)
	log := h.log.String()
	if strings.Contains(log, "marija") {
		t.Errorf("the log contains a person's name:\n%s", log)
	}
	if got, want := strings.Count(log, "route=/ice-cream/{person}"), 2; got != want {
		t.Errorf("got %d log lines with the route, want %d:\n%s", got, want, log)
	}
}

func TestHealth(t *testing.T) {
	for _, test := range []struct {
		name   string
		health api.Health
		status int
		body   string
	}{
		{"no stages", api.Health{}, http.StatusOK, `{"status":"ok"}`},
		{"healthy", api.Health{Stages: map[string]api.Condition{"table": api.OK, "apply": api.OK}},
			http.StatusOK, `{"status":"ok","stages":{"apply":"ok","table":"ok"}}`},
		{"degraded", api.Health{Stages: map[string]api.Condition{
			"table": api.OK, "apply": api.DeadLetters, "ingest": api.Behind,
		}}, http.StatusOK, `{"status":"degraded","stages":{"apply":"dead_letters","ingest":"behind","table":"ok"}}`},
		{"down", api.Health{Down: true, Stages: map[string]api.Condition{
			"table": api.Silent, "apply": api.Failing, "disk": api.Full, "ingest": api.Stopped,
		}}, http.StatusServiceUnavailable,
			`{"status":"unavailable","stages":{"apply":"failing","disk":"full","ingest":"stopped","table":"silent"}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newServer(t, func(c *api.Config) { c.Health = func(context.Context) api.Health { return test.health } })
			a := h.do(t, http.MethodGet, "/healthz").wantStatus(t, test.status).
				wantHeader(t, "Content-Type", "application/json").wantHeader(t, "Cache-Control", "no-store").
				wantHeader(t, "ETag", "")
			if a.body != test.body+"\n" {
				t.Errorf("body = %s, want %s", a.body, test.body)
			}
			if retry := a.header.Get("Retry-After"); (retry != "") != test.health.Down {
				t.Errorf("Retry-After = %q, want one: %t", retry, test.health.Down)
			}
		})
	}
}

func TestHealthVersion(t *testing.T) {
	h := newServer(t, func(c *api.Config) { c.Version = "v1.2.3" })
	if a := h.do(t, http.MethodGet, "/healthz"); a.body != `{"status":"ok","version":"v1.2.3"}`+"\n" {
		t.Errorf("body = %s, want status ok and version v1.2.3", a.body)
	}
}

func TestCORS(t *testing.T) {
	const origin = "https://flavors.example"
	h := newServer(t, func(c *api.Config) { c.AllowedOrigins = []string{origin} })
	preflight := func(origin, method, headers string) response {
		return h.do(t, http.MethodOptions, "/team", "Origin", origin,
			"Access-Control-Request-Method", method, "Access-Control-Request-Headers", headers)
	}
	t.Run("preflight", func(t *testing.T) {
		preflight(origin, "GET", "authorization,if-none-match").wantStatus(t, http.StatusNoContent).
			wantHeader(t, "Access-Control-Allow-Origin", origin).
			wantHeader(t, "Access-Control-Allow-Headers", "authorization,if-none-match").
			wantHeader(t, "Access-Control-Allow-Credentials", "")
	})
	for name, a := range map[string]response{
		"preflight, other origin":   preflight("https://evil.example", "GET", ""),
		"preflight, other method":   preflight(origin, "DELETE", ""),
		"preflight, other header":   preflight(origin, "GET", "x-other"),
		"request of another origin": h.get(t, "/team", "Origin", "https://evil.example"),
	} {
		t.Run(name, func(t *testing.T) { a.wantHeader(t, "Access-Control-Allow-Origin", "") })
	}
	for _, status := range []int{200, 401, 404, 500} {
		t.Run(fmt.Sprintf("a page may read a %d", status), func(t *testing.T) {
			headers := []string{"Origin", origin, "Authorization", h.issuer.bearer(t)}
			target := "/team"
			switch status {
			case 401:
				headers = headers[:2]
			case 404:
				target = "/nothing"
			case 500:
				h.store.err = errors.New("broken")
			}
			h.do(t, http.MethodGet, target, headers...).wantStatus(t, status).
				wantHeader(t, "Access-Control-Allow-Origin", origin).
				wantHeader(t, "Access-Control-Expose-Headers", "Etag, Link, Retry-After, Www-Authenticate").
				wantHeader(t, "Vary", "Origin")
		})
	}
	t.Run("off by default", func(t *testing.T) {
		h := newServer(t, nil)
		h.do(t, http.MethodOptions, "/team", "Origin", origin, "Access-Control-Request-Method", "GET").
			wantHeader(t, "Access-Control-Allow-Origin", "")
		h.get(t, "/team", "Origin", origin).wantHeader(t, "Access-Control-Allow-Origin", "")
	})
}

// TestRawRequests sends requests that the client of net/http would not.
func TestRawRequests(t *testing.T) {
	h := newServer(t, nil)
	server := httptest.NewServer(h)
	defer server.Close()
	send := func(t *testing.T, lines ...string) *http.Response {
		t.Helper()
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if _, err := conn.Write([]byte(strings.Join(lines, "\r\n") + "\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		return response
	}
	token := "Authorization: " + h.issuer.bearer(t)
	for _, test := range []struct {
		name, target string
		headers      []string
		status       int
	}{
		{"valid", "/team", []string{token}, 200},
		{"header name in lower case", "/team", []string{strings.Replace(token, "A", "a", 1)}, 200},
		{"duplicate Authorization headers", "/team", []string{token, "authorization: Bearer x"}, 401},
		{"absolute form", "http://x/team", []string{token}, 200},
		{"unescaped name", "/ice-cream/and\xc3\xbf", []string{token}, 404},
		{"broken escape", "/ice-cream/%zz", nil, 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			lines := append([]string{"GET " + test.target + " HTTP/1.1", "Host: x"}, test.headers...)
			if got := send(t, lines...).StatusCode; got != test.status {
				t.Errorf("status = %d, want %d", got, test.status)
			}
		})
	}
}
