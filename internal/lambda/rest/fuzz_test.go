package rest_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"

	lambdaevents "github.com/aws/aws-lambda-go/events"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/internal/lambda/rest"
	"github.com/flavorless/flavorless/internal/metrics"
)

// FuzzGatewayEvent checks that each event gets a response that is no 5xx and has the body that the handler wrote, and
// that the handler sees neither a token nor Accept-Encoding.
func FuzzGatewayEvent(f *testing.F) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("no events: %v", err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body, []byte("\xff"))
	}
	f.Add([]byte(`{"httpMethod":"","path":"%","isBase64Encoded":true,"body":"?"}`), []byte{})
	f.Add([]byte(`{"httpMethod":"GET\r\n","path":"/a?b#c","resource":"/{a}/{b+}",
		"multiValueQueryStringParameters":{"a":null,"b":["%","&"]}}`), []byte{})
	f.Fuzz(func(t *testing.T, raw, written []byte) {
		var event lambdaevents.APIGatewayProxyRequest
		if json.Unmarshal(raw, &event) != nil {
			return
		}
		called := false
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			called = true
			if len(r.Header["Authorization"])+len(r.Header["Accept-Encoding"]) > 0 {
				t.Errorf("headers = %v, want neither Authorization nor Accept-Encoding", r.Header)
			}
			again, err := url.ParseRequestURI(r.URL.RequestURI())
			if err != nil || again.EscapedPath() != r.URL.EscapedPath() || r.URL.Fragment != "" {
				t.Errorf("URL %q does not parse to itself: %q, %v", r.URL, again, err)
			}
			if given := event.MultiValueQueryStringParameters; len(given) > 0 {
				for name, values := range given {
					if diff := gocmp.Diff(values, r.URL.Query()[name]); diff != "" && len(values) > 0 {
						t.Errorf("parameter %q (-sent +received):\n%s", name, diff)
					}
				}
			}
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				t.Error(err)
			}
			_, _ = w.Write(written)
		})
		g := rest.Gateway{
			Handler: handler, Metrics: metrics.NewEMF(io.Discard, "team", "test", now), Clock: now,
			Log: slog.New(slog.DiscardHandler),
		}
		response, err := g.Handle(context.Background(), event)
		want := http.StatusBadRequest
		if called {
			want = http.StatusOK
		}
		if err != nil || response.StatusCode != want {
			t.Fatalf("Handle() = status %d, %v, want %d; handler called: %t", response.StatusCode, err, want, called)
		}
		body := []byte(response.Body)
		if response.IsBase64Encoded {
			if body, err = base64.StdEncoding.DecodeString(response.Body); err != nil {
				t.Fatal(err)
			}
		}
		if called && !bytes.Equal(body, written) || !called && !json.Valid(body) || !utf8.ValidString(response.Body) {
			t.Errorf("handler wrote %q, response has %q", written, response.Body)
		}
	})
}
