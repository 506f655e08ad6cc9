package rest_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/internal/lambda/rest"
	"github.com/flavorless/flavorless/internal/metrics"
)

func TestRequestPath(t *testing.T) {
	for _, test := range []struct{ name, resource, path, want string }{
		{"plain", "/ice-cream/{person}", "/ice-cream/andy", "/ice-cream/andy"},
		{"a slash in a name", "/ice-cream/{person}", "/ice-cream/a%2Fb", "/ice-cream/a%2Fb"},
		{"a percent sign in a name", "/ice-cream/{person}", "/ice-cream/100%2525", "/ice-cream/100%2525"},
		{"a plus is a plus", "/ice-cream/{person}", "/ice-cream/a+b", "/ice-cream/a+b"},
		{"dots", "/ice-cream/{person}", "/ice-cream/..", "/ice-cream/.."},
		{"Unicode", "/ice-cream/{person}", "/ice-cream/Zo%C3%AB", "/ice-cream/Zo%C3%AB"},
		{"unescaped Unicode", "/ice-cream/{person}", "/ice-cream/Zoë", "/ice-cream/Zo%C3%AB"},
		{"an unescaped question mark", "/ice-cream/{person}", "/ice-cream/who?limit=1#x", "/ice-cream/who%3Flimit=1%23x"},
		{"a bare percent sign", "/ice-cream/{person}", "/ice-cream/100%", "/ice-cream/100%25"},
		{"base path of a domain", "/team", "/v1/team", "/team"},
		{"base path of a domain, parameter", "/ice-cream/{person}", "/a/b/ice-cream/a%2Fb", "/ice-cream/a%2Fb"},
		{"a base path that is named like a route", "/team", "/team/team", "/team"},
		{"greedy", "/{proxy+}", "/a/b/c", "/a/b/c"},
		{"greedy, two slashes", "/{proxy+}", "//team", "//team"},
		{"root", "/", "/", "/"},
		{"nothing", "/", "", "/"},
		{"shorter than its resource", "/a/b/{c}", "/x", "/x"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			event := events.APIGatewayProxyRequest{HTTPMethod: "GET", Resource: test.resource, Path: test.path}
			serve(t, event, func(_ http.ResponseWriter, r *http.Request) {
				got = r.URL.EscapedPath()
				if r.URL.RawQuery != "" {
					t.Errorf("query = %q, want none", r.URL.RawQuery)
				}
			})
			if got != test.want {
				t.Errorf("path = %q, want %q", got, test.want)
			}
		})
	}
}

func serve(t *testing.T, event events.APIGatewayProxyRequest, handler http.HandlerFunc) events.APIGatewayProxyResponse {
	t.Helper()
	response, err := newGateway(t, handler, &bytes.Buffer{}).Handle(t.Context(), event)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

func TestRequest(t *testing.T) {
	event := events.APIGatewayProxyRequest{
		HTTPMethod: "POST", Resource: "/team", Path: "/team",
		Body: base64.StdEncoding.EncodeToString([]byte("\x00\xff")), IsBase64Encoded: true,
		MultiValueQueryStringParameters: map[string][]string{"a": {"1&2", "é+"}, "b": {""}},
		MultiValueHeaders: map[string][]string{
			"Host": {"api.example"}, "authorization": {"Bearer a.b.c", "Bearer d.e.f"}, "accept-encoding": {"gzip"},
			"If-None-Match": {`"a"`, `"b"`},
		},
		RequestContext: events.APIGatewayProxyRequestContext{
			Identity: events.APIGatewayRequestIdentity{SourceIP: "203.0.113.7"},
		},
	}
	serve(t, event, func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got := fmt.Sprintf("%s %s %s %s %q %v", r.Method, r.Host, r.RemoteAddr, r.RequestURI, body, r.Header)
		want := `POST api.example 203.0.113.7 /team?a=1%262&a=%C3%A9%2B&b= "\x00\xff" ` +
			`map[Host:[api.example] If-None-Match:["a" "b"]]`
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("request (-want +got):\n%s", diff)
		}
	})
	event.MultiValueHeaders, event.MultiValueQueryStringParameters = nil, nil
	event.Headers = map[string]string{"If-None-Match": "x", "Authorization": "Bearer a.b.c"}
	event.QueryStringParameters = map[string]string{"q": "1"}
	serve(t, event, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "q=1" || r.Header.Get("If-None-Match") != "x" || r.Header.Get("Authorization") != "" {
			t.Errorf("query = %q, headers = %v, want those of the event without Authorization", r.URL.RawQuery, r.Header)
		}
	})
}

func TestMalformedRequest(t *testing.T) {
	for name, event := range map[string]events.APIGatewayProxyRequest{
		"no base64":    {HTTPMethod: "GET", Path: "/team", Body: "%", IsBase64Encoded: true},
		"a bad method": {HTTPMethod: "G T", Path: "/team"},
	} {
		t.Run(name, func(t *testing.T) {
			response := serve(t, event, func(http.ResponseWriter, *http.Request) { t.Error("the handler was called") })
			if response.StatusCode != http.StatusBadRequest {
				t.Errorf("status = %d, want 400", response.StatusCode)
			}
		})
	}
}

func TestResponse(t *testing.T) {
	event := events.APIGatewayProxyRequest{HTTPMethod: "GET", Path: "/"}
	t.Run("headers of two values, and none after the status", func(t *testing.T) {
		got := serve(t, event, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Add("Vary", "a")
			w.Header().Add("Vary", "b")
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusTeapot)
			w.Header().Set("Late", "x")
			w.WriteHeader(http.StatusOK)
			fmt.Fprint(w, "é")
		})
		want := events.APIGatewayProxyResponse{
			StatusCode: http.StatusTeapot, MultiValueHeaders: map[string][]string{"Vary": {"a", "b"}}, Body: "é",
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("response (-want +got):\n%s", diff)
		}
	})
	t.Run("nothing written is 200", func(t *testing.T) {
		got := serve(t, event, func(http.ResponseWriter, *http.Request) {})
		if got.StatusCode != http.StatusOK || got.Body != "" {
			t.Errorf("response = %+v, want status 200 without a body", got)
		}
	})
	for name, written := range map[string]struct{ encoding, body string }{
		"binary":     {"", "\x1f\x8b\xff"},
		"compressed": {"gzip", "short"}, // valid UTF-8
	} {
		t.Run(name+" body is base64", func(t *testing.T) {
			got := serve(t, event, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Encoding", written.encoding)
				fmt.Fprint(w, written.body)
			})
			body, err := base64.StdEncoding.DecodeString(got.Body)
			if err != nil || string(body) != written.body || !got.IsBase64Encoded {
				t.Errorf("response = %+v, decoded body %q, %v, want %q", got, body, err, written.body)
			}
		})
	}
}

// TestLogNamesNoPerson checks that the log has the route of failed requests and not their path.
func TestLogNamesNoPerson(t *testing.T) {
	for name, event := range map[string]events.APIGatewayProxyRequest{
		"not understood": {HTTPMethod: "G T", Resource: "/ice-cream/{person}", Path: "/ice-cream/marija"},
		"a bad path":     {HTTPMethod: "GET", Resource: "/ice-cream/{person}", Path: "/ice-cream/marija\x7f"},
		"too large":      {HTTPMethod: "GET", Resource: "/ice-cream/{person}", Path: "/ice-cream/marija"},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			tooLarge := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("a", 7<<20)) }
			g := newGateway(t, http.HandlerFunc(tooLarge), &bytes.Buffer{})
			g.Log = slog.New(slog.NewTextHandler(&log, nil))
			if _, err := g.Handle(t.Context(), event); err != nil {
				t.Fatal(err)
			}
			if got := log.String(); strings.Contains(got, "marija") || !strings.Contains(got, "route=/ice-cream/{person}") {
				t.Errorf("log = %s, want the route and no name", got)
			}
		})
	}
}

// TestTooLargeResponse checks that a response that Lambda would reject, which is a 502, becomes a 400 that says what
// to do.
func TestTooLargeResponse(t *testing.T) {
	for _, test := range []struct {
		name, body string
		status     int
	}{
		{"5 MB of plain text", strings.Repeat("a", 5<<20), http.StatusOK},
		{"7 MB of plain text", strings.Repeat("a", 7<<20), http.StatusBadRequest},
		{"2 MB that escape to 12", strings.Repeat("\x01", 2<<20), http.StatusBadRequest},
		{"4 MB that escape to 8", strings.Repeat(`"`, 4<<20), http.StatusBadRequest},
		{"4 MB that don't", strings.Repeat("<", 4<<20), http.StatusOK},
		{"5 MB of bytes", strings.Repeat("\xff", 5<<20), http.StatusBadRequest},
	} {
		t.Run(test.name, func(t *testing.T) {
			event := events.APIGatewayProxyRequest{HTTPMethod: "GET", Path: "/"}
			got := serve(t, event, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, test.body) })
			if got.StatusCode != test.status || test.status != http.StatusOK && !strings.Contains(got.Body, "limit") {
				t.Errorf("response = %d, %.100q, want %d", got.StatusCode, got.Body, test.status)
			}
		})
	}
}

// TestVerifier checks that a request without complete values of the authorizer is refused, whatever its headers say.
func TestVerifier(t *testing.T) {
	good := map[string]any{"principalId": "andy", "sub": "andy", "scope": "a b", "exp": "1795428000"}
	with := func(name string, value any) map[string]any {
		values := maps.Clone(good)
		values[name] = value
		return values
	}
	for _, test := range []struct {
		name   string
		values map[string]any
		ok     bool
	}{
		{"complete", good, true},
		{"the expiry as a number", with("exp", 1795428000.0), true},
		{"within the leeway", with("exp", "1795424371"), true}, // 29 seconds ago
		{"no context", nil, false},
		{"an empty context", map[string]any{}, false},
		{"no principal", with("principalId", nil), false},
		{"an empty principal", with("principalId", ""), false},
		{"a principal that is a number", with("principalId", 1.0), false},
		{"no expiry", with("exp", nil), false},
		{"an expiry that is no time", with("exp", "tomorrow"), false},
		{"an expired token", with("exp", "1795424369"), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			event := readEvent(t, "testdata/team.json")
			event.RequestContext.Authorizer = test.values
			handler := func(_ http.ResponseWriter, r *http.Request) {
				claims, err := rest.Verifier{Clock: now}.Verify(r.Context(), "Bearer eyJhbGciOiJFUzI1NiJ9.e30.c2ln")
				if test.ok {
					if err != nil || claims.Subject != "andy" || len(claims.Scopes) != 2 {
						t.Errorf("Verify() = %+v, %v, want subject andy and two scopes", claims, err)
					}
					return
				}
				var auth *api.AuthError
				if !errors.As(err, &auth) || auth.Status() != http.StatusUnauthorized {
					t.Errorf("Verify() = %+v, %v, want an AuthError with status 401", claims, err)
				}
			}
			serve(t, event, handler)
		})
	}
	if _, err := (rest.Verifier{Clock: now}).Verify(t.Context(), "Bearer a.b.c"); err == nil {
		t.Error("Verify() succeeded without an authorizer, want an error")
	}
}

func TestRequestMetrics(t *testing.T) {
	var measured bytes.Buffer
	g := newGateway(t, nil, &measured)
	if _, err := g.Handle(t.Context(), readEvent(t, "testdata/lookup.json")); err != nil {
		t.Fatal(err)
	}
	if err := g.Metrics.(*metrics.EMF).Flush(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"http_requests":1`, `"route":"/ice-cream/{person}"`, `"status":"200"`, `"http_latency":[0]`,
	} {
		if !strings.Contains(measured.String(), want) {
			t.Errorf("metrics = %s, want %s", measured.String(), want)
		}
	}
}
