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
	good := func() api.Config {
		s := &store{}
		return api.Config{Favorites: s, Uploads: s, Verifier: newIssuer(t, newClock()).newVerifier(t, nil)}
	}
	if _, err := api.New(good()); err != nil {
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
			config := good()
			change(&config)
			if _, err := api.New(config); err == nil {
				t.Error("got no error")
			}
		})
	}
	t.Run("with a verifier that is nil inside, nobody gets in", func(t *testing.T) {
		h := newHome(t, func(c *api.Config) { c.Verifier = (*api.Verifier)(nil) })
		h.get(t, "/team").wantStatus(t, http.StatusInternalServerError)
	})
}

func TestRoutes(t *testing.T) {
	h := newHome(t, nil)
	h.addUploads(1)
	routes := []string{"/", "/team", "/ice-cream/andy", "/uploads", "/uploads/" + uploadID(1), "/openapi.json", "/healthz"}
	for _, target := range routes {
		t.Run("HEAD "+target, func(t *testing.T) {
			token := []string{"Authorization", h.issuer.bearer(t)}
			got := h.do(t, http.MethodHead, target, token...).wantStatus(t, http.StatusOK)
			want := h.do(t, http.MethodGet, target, token...)
			if got.body != "" {
				t.Errorf("got body %q", got.body)
			}
			if diff := cmp.Diff(want.header, got.header); diff != "" {
				t.Errorf("headers, -GET +HEAD:\n%s", diff)
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
	for _, target := range []string{"//", "/.", "/%2F", "/andy", "/teams", "/team/", "//team", "/./team", "/team/andy", "/ice-cream", "/ice-cream/", "/uploads/", "/TEAM", "/%74eam"} {
		for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS"} {
			t.Run("no such route: "+method+" "+target, func(t *testing.T) {
				h.do(t, method, target).wantStatus(t, http.StatusNotFound) // without a token
			})
		}
	}
	t.Run("open to all", func(t *testing.T) {
		if a := h.do(t, http.MethodGet, "/healthz").wantStatus(t, http.StatusOK); a.body != `{"status":"ok"}`+"\n" {
			t.Errorf("got %q", a.body)
		}
		h.do(t, http.MethodGet, "/openapi.json").wantStatus(t, http.StatusOK)
		h.do(t, http.MethodGet, "/").wantStatus(t, http.StatusOK)
	})
}

// TestStart: GET / names the service and its version, and links to routes that there are.
func TestStart(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*api.Config)
		want   string
	}{
		"one machine": {func(c *api.Config) { c.Version = "v1.2.3" },
			`"version":"v1.2.3","links":{"changes":"/changes","description":"/openapi.json","health":"/healthz","team":"/team","uploads":"/uploads"}}`},
		"behind a gateway": {func(c *api.Config) { c.BasePath, c.Changes = "/prod", nil },
			`"links":{"description":"/prod/openapi.json","health":"/prod/healthz","team":"/prod/team","uploads":"/prod/uploads"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHome(t, c.change)
			a := h.do(t, http.MethodGet, "/").wantStatus(t, http.StatusOK).wantHeader(t, "Content-Type", "application/json")
			if !strings.HasPrefix(a.body, `{"name":"flavorless","about":"`) || !strings.HasSuffix(a.body, c.want+"\n") {
				t.Errorf("got %s, want it to end in %s", a.body, c.want)
			}
			h.do(t, http.MethodGet, "/", "If-None-Match", a.header.Get("ETag")).wantStatus(t, http.StatusNotModified)
			h.do(t, http.MethodGet, "/?x=y").wantStatus(t, http.StatusBadRequest)
			h.do(t, http.MethodGet, "/", "Authorization", "Bearer of bad news").wantStatus(t, http.StatusOK)
		})
	}
}

func TestQueries(t *testing.T) {
	h := newHome(t, nil)
	for target, detail := range map[string]string{
		"/team?limit=0":                           "limit must be a whole number from 1 to 10000",
		"/team?limit=10001":                       "limit must be a whole number from 1 to 10000",
		"/team?limit=-1":                          "limit must be a whole number from 1 to 10000",
		"/team?limit=%2B5":                        "limit must be a whole number from 1 to 10000",
		"/team?limit=":                            "limit must be a whole number from 1 to 10000",
		"/team?limit=ten":                         "limit must be a whole number from 1 to 10000",
		"/team?limit=1e3":                         "limit must be a whole number from 1 to 10000",
		"/team?limit=99999999999999999999":        "limit must be a whole number from 1 to 10000",
		"/team?limit=1&limit=2":                   "limit is given more than once",
		"/team?Limit=1":                           "unknown query parameter; there are: after, limit",
		"/team?before=x":                          "unknown query parameter; there are: after, limit",
		"/team?limit=%zz":                         "the query is malformed; percent-encode what is not a letter or a digit",
		"/team?after=a;limit=1":                   "the query is malformed; percent-encode what is not a letter or a digit",
		"/team?after=%FF":                         "after is not valid UTF-8 once percent-decoded",
		"/team?after=" + strings.Repeat("x", 257): "after has 257 bytes, 256 are allowed; shorten it",
		"/ice-cream/andy?x":                       "this route takes no query parameters",
		"/uploads?limit=501":                      "limit must be a whole number from 1 to 500",
		"/uploads?before=x":                       "before is not the id of an upload",
		"/uploads?after=" + uploadID(1):           "unknown query parameter; there are: before, limit",
		"/uploads/" + uploadID(1) + "?limit=1":    "this route takes no query parameters",
		"/openapi.json?pretty":                    "this route takes no query parameters",
		"/healthz?verbose":                        "this route takes no query parameters",
	} {
		t.Run(target, func(t *testing.T) {
			if got := problemOf(t, h.get(t, target).wantStatus(t, http.StatusBadRequest)).Detail; got != detail {
				t.Errorf("got detail %q, want %q", got, detail)
			}
		})
	}
	for _, target := range []string{"/team?", "/team?after=", "/team?after=jose%CC%81", "/team?limit=10000", "/team?limit=007", "/uploads?before=&limit=500"} {
		t.Run(target, func(t *testing.T) { h.get(t, target).wantStatus(t, http.StatusOK) })
	}
	t.Run("are looked at after the token", func(t *testing.T) {
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
		{"a table that throttles", func(s *store) { s.err = fmt.Errorf("%w: %w", events.ErrUnavailable, secret) }, 503},
		{"a deadline", func(s *store) { s.err = fmt.Errorf("%w: %w", secret, context.DeadlineExceeded) }, 503},
	} {
		for _, target := range []string{"/team", "/ice-cream/andy", "/uploads", "/uploads/" + uploadID(1)} {
			t.Run(test.name+" "+target, func(t *testing.T) {
				h := newHome(t, nil)
				test.fail(h.store)
				a := h.get(t, target, "Accept-Encoding", "gzip").wantStatus(t, test.status)
				p := problemOf(t, a)
				if strings.Contains(a.body, "dynamodb") {
					t.Errorf("the client is told %s", a.body)
				}
				id, ok := strings.CutPrefix(p.Instance, "urn:flavorless:request:")
				if log := h.log.String(); !ok || !strings.Contains(log, "request="+id) || !strings.Contains(log, "favorites-prod") {
					t.Errorf("instance is %q, the log says %s", p.Instance, log)
				}
			})
		}
	}
}

// TestLogNamesNoPerson checks that the log has the route of a request that failed or was refused, not its path.
func TestLogNamesNoPerson(t *testing.T) {
	h := newHome(t, nil)
	h.do(t, http.MethodGet, "/ice-cream/marija").wantStatus(t, http.StatusUnauthorized)
	h.store.err = errors.New("table not found")
	h.get(t, "/ice-cream/marija").wantStatus(t, http.StatusInternalServerError)
	h.get(t, "/team?after=marija").wantStatus(t, http.StatusInternalServerError)
	log := h.log.String()
	if strings.Contains(log, "marija") {
		t.Errorf("the log has a person's name:\n%s", log)
	}
	if got, want := strings.Count(log, "route=/ice-cream/{person}"), 2; got != want {
		t.Errorf("%d log lines have the route, want %d:\n%s", got, want, log)
	}
}

func TestHealth(t *testing.T) {
	for _, test := range []struct {
		name   string
		health api.Health
		status int
		body   string
	}{
		{"nothing is known of stages", api.Health{}, http.StatusOK, `{"status":"ok"}`},
		{"all are well", api.Health{Stages: map[string]api.Condition{"table": api.OK, "apply": api.OK}},
			http.StatusOK, `{"status":"ok","stages":{"apply":"ok","table":"ok"}}`},
		{"of use, but not well", api.Health{Stages: map[string]api.Condition{"table": api.OK, "apply": api.DeadLetters, "ingest": api.Behind}},
			http.StatusOK, `{"status":"degraded","stages":{"apply":"dead_letters","ingest":"behind","table":"ok"}}`},
		{"of no use", api.Health{Down: true, Stages: map[string]api.Condition{"table": api.Silent, "apply": api.Failing, "disk": api.Full, "ingest": api.Stopped}},
			http.StatusServiceUnavailable, `{"status":"unavailable","stages":{"apply":"failing","disk":"full","ingest":"stopped","table":"silent"}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHome(t, func(c *api.Config) { c.Health = func(context.Context) api.Health { return test.health } })
			a := h.do(t, http.MethodGet, "/healthz").wantStatus(t, test.status).
				wantHeader(t, "Content-Type", "application/json").wantHeader(t, "Cache-Control", "no-store").wantHeader(t, "ETag", "")
			if a.body != test.body+"\n" {
				t.Errorf("got %s, want %s", a.body, test.body)
			}
			if retry := a.header.Get("Retry-After"); (retry != "") != test.health.Down {
				t.Errorf("Retry-After is %q", retry)
			}
		})
	}
}

func TestHealthTellsTheVersion(t *testing.T) {
	h := newHome(t, func(c *api.Config) { c.Version = "v1.2.3" })
	if a := h.do(t, http.MethodGet, "/healthz"); a.body != `{"status":"ok","version":"v1.2.3"}`+"\n" {
		t.Errorf("got %s", a.body)
	}
}

func TestCORS(t *testing.T) {
	const origin = "https://flavors.example"
	h := newHome(t, func(c *api.Config) { c.AllowedOrigins = []string{origin} })
	preflight := func(origin, method, headers string) answer {
		return h.do(t, http.MethodOptions, "/team", "Origin", origin,
			"Access-Control-Request-Method", method, "Access-Control-Request-Headers", headers)
	}
	t.Run("preflight", func(t *testing.T) {
		preflight(origin, "GET", "authorization,if-none-match").wantStatus(t, http.StatusNoContent).
			wantHeader(t, "Access-Control-Allow-Origin", origin).
			wantHeader(t, "Access-Control-Allow-Headers", "authorization,if-none-match").
			wantHeader(t, "Access-Control-Allow-Credentials", "")
	})
	for name, a := range map[string]answer{
		"preflight of another origin": preflight("https://evil.example", "GET", ""),
		"preflight of a method":       preflight(origin, "DELETE", ""),
		"preflight of a header":       preflight(origin, "GET", "x-other"),
		"request of another origin":   h.get(t, "/team", "Origin", "https://evil.example"),
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
	t.Run("is off unless configured", func(t *testing.T) {
		h := newHome(t, nil)
		h.do(t, http.MethodOptions, "/team", "Origin", origin, "Access-Control-Request-Method", "GET").
			wantHeader(t, "Access-Control-Allow-Origin", "")
		h.get(t, "/team", "Origin", origin).wantHeader(t, "Access-Control-Allow-Origin", "")
	})
}

// TestOverTheWire sends what net/http's client would not.
func TestOverTheWire(t *testing.T) {
	h := newHome(t, nil)
	server := httptest.NewServer(h)
	defer server.Close()
	token := h.issuer.bearer(t)
	ask := func(t *testing.T, request string) *http.Response {
		t.Helper()
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if _, err := conn.Write([]byte(request)); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		return response
	}
	for _, test := range []struct {
		name, request string
		status        int
	}{
		{"good", "GET /team HTTP/1.1\r\nHost: x\r\nAuthorization: " + token + "\r\n\r\n", 200},
		{"header name in lower case", "GET /team HTTP/1.1\r\nHost: x\r\nauthorization: " + token + "\r\n\r\n", 200},
		{"duplicate Authorization headers", "GET /team HTTP/1.1\r\nHost: x\r\nAuthorization: " + token + "\r\nauthorization: Bearer x\r\n\r\n", 401},
		{"absolute form", "GET http://x/team HTTP/1.1\r\nHost: x\r\nAuthorization: " + token + "\r\n\r\n", 200},
		{"unescaped name", "GET /ice-cream/and\xc3\xbf HTTP/1.1\r\nHost: x\r\nAuthorization: " + token + "\r\n\r\n", 404},
		{"broken escape", "GET /ice-cream/%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := ask(t, test.request).StatusCode; got != test.status {
				t.Errorf("got status %d, want %d", got, test.status)
			}
		})
	}
}
