package rest_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	lambdaevents "github.com/aws/aws-lambda-go/events"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/lambda/rest"
	"github.com/flavorless/flavorless/internal/metrics"
)

var update = flag.Bool("update", false, "update the golden files")

// now is the time of all requests, an hour before their tokens expire.
func now() time.Time { return time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC) }

// table has favorites, sorted by person, and no uploads.
type table []events.Favorite

func newTable(t *testing.T) table {
	t.Helper()
	o := events.Object{
		Bucket: "b", Key: "k", ETag: "e", Sequencer: "01", Time: time.Date(2026, 11, 23, 8, 19, 0, 123e6, time.UTC),
	}
	origin, err := o.Origin()
	if err != nil {
		t.Fatal(err)
	}
	return table{
		{Person: "andy", Flavor: "cookie dough", Version: origin.At(0)},
		{Person: "barb", Flavor: "<mint> & \"chips\"", Version: origin.At(1)},
		{Person: "Zoë / 100%", Flavor: "crème brûlée", Version: origin.At(2)},
	}
}

func (s table) Team(_ context.Context, after string, limit int) ([]events.Favorite, error) {
	i, _ := slices.BinarySearchFunc(s, after+"\x00", func(f events.Favorite, person string) int {
		return cmp.Compare(f.Person, person)
	})
	return s[i:min(i+limit, len(s))], nil
}

func (s table) Lookup(_ context.Context, person string) (events.Favorite, error) {
	for _, f := range s {
		if f.Person == person {
			return f, nil
		}
	}
	return events.Favorite{}, events.ErrNotFound
}

func (s table) Uploads(context.Context, string, int) ([]events.Upload, error) { return nil, nil }

func (s table) Upload(context.Context, string) (events.Upload, error) {
	return events.Upload{}, events.ErrNotFound
}

func newGateway(t *testing.T, handler http.Handler, measured *bytes.Buffer) rest.Gateway {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	if handler == nil {
		stored := newTable(t)
		var err error
		handler, err = api.New(api.Config{
			Favorites: stored, Uploads: stored, Verifier: rest.Verifier{Clock: now}, BasePath: "/prod",
			AllowedOrigins: []string{"https://flavors.example"}, Logger: log,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return rest.Gateway{Handler: handler, Metrics: metrics.NewEMF(measured, "team", "test", now), Clock: now, Log: log}
}

func readEvent(t *testing.T, file string) lambdaevents.APIGatewayProxyRequest {
	t.Helper()
	body, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var event lambdaevents.APIGatewayProxyRequest
	if err := json.Unmarshal(body, &event); err != nil {
		t.Fatal(err)
	}
	return event
}

// TestCapturedEvents compares the response to each event in testdata with its golden file. Of the OpenAPI document,
// which has a test of its own, it compares only the first byte.
func TestCapturedEvents(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no events: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			response, err := newGateway(t, nil, &bytes.Buffer{}).Handle(t.Context(), readEvent(t, file))
			if err != nil {
				t.Fatal(err)
			}
			if name == "openapi" {
				response.Body = response.Body[:1]
				delete(response.MultiValueHeaders, "Etag")
				delete(response.MultiValueHeaders, "Content-Length")
			}
			var got bytes.Buffer
			e := json.NewEncoder(&got)
			e.SetEscapeHTML(false)
			e.SetIndent("", " ")
			if err := e.Encode(response); err != nil {
				t.Fatal(err)
			}
			golden := "testdata/" + name + ".golden"
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("response (-want +got):\n%s", diff)
			}
		})
	}
}
