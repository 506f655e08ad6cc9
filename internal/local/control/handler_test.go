package control_test

import (
	"context"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/queue"

	"github.com/flavorless/flavorless/internal/local/control"
)

// noDeadLetters are queues without dead letters.
type noDeadLetters struct{}

func (noDeadLetters) Depths(context.Context) (map[broker.Stream]queue.Depth, error) {
	return nil, nil
}

func (noDeadLetters) DeadLetters(context.Context) iter.Seq2[queue.DeadLetter, error] {
	return func(func(queue.DeadLetter, error) bool) {}
}

func (noDeadLetters) Redrive(context.Context, uint64) error { return nil }

// TestDeadLettersAccess checks that the handler serves only GET and POST with the secret as a bearer token, and never
// to a web page.
func TestDeadLettersAccess(t *testing.T) {
	t.Parallel()
	const secret = "3T4N2QJXKQ2V7D5Y"
	server := httptest.NewServer(control.Handler{
		Queues: noDeadLetters{}, Secret: secret, Log: slog.New(slog.DiscardHandler),
	})
	t.Cleanup(server.Close)
	good := "Bearer " + secret
	for name, c := range map[string]struct {
		method, host string
		header       http.Header
		want         int
	}{
		"as documented":          {"GET", "", http.Header{"Authorization": {good}}, 200},
		"scheme in lower case":   {"GET", "", http.Header{"Authorization": {"bearer " + secret}}, 200},
		"localhost":              {"GET", "LocalHost:8080", http.Header{"Authorization": {good}}, 200},
		"IPv6":                   {"GET", "[::1]:8080", http.Header{"Authorization": {good}}, 200},
		"IPv6 without port":      {"GET", "[::1]", http.Header{"Authorization": {good}}, 200},
		"no secret":              {"GET", "", nil, 401},
		"empty secret":           {"GET", "", http.Header{"Authorization": {"Bearer "}}, 401},
		"another secret":         {"GET", "", http.Header{"Authorization": {good + "x"}}, 401},
		"no scheme":              {"GET", "", http.Header{"Authorization": {secret}}, 401},
		"no scheme but a space":  {"GET", "", http.Header{"Authorization": {" " + secret}}, 401},
		"another scheme":         {"GET", "", http.Header{"Authorization": {"Basic " + secret}}, 401},
		"two spaces":             {"GET", "", http.Header{"Authorization": {"Bearer  " + secret}}, 401},
		"two headers":            {"GET", "", http.Header{"Authorization": {good, "Bearer x"}}, 401},
		"page":                   {"POST", "", http.Header{"Authorization": {good}, "Origin": {"https://example.com"}}, 403},
		"page of this machine":   {"GET", "", http.Header{"Authorization": {good}, "Origin": {server.URL}}, 403},
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
			req, err := http.NewRequestWithContext(t.Context(), c.method, server.URL+control.Path, nil)
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
				t.Errorf("Allow = %q", got)
			}
			if got := res.Header.Get("WWW-Authenticate"); (c.want == 401) != strings.EqualFold(got, "Bearer") {
				t.Errorf("WWW-Authenticate = %q", got)
			}
		})
	}
}
