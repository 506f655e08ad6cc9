package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/flavorless/flavorless/internal/local"
)

// TestComesBack: an API that can't answer at the moment is asked again when it says so, and not without end.
func TestComesBack(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		failing int    // answers before the good one
		later   string // Retry-After
		asked   int
		status  int
	}{
		"twice":            {2, "0", 3, http.StatusOK},
		"for good":         {99, "0", mostAsked, http.StatusServiceUnavailable},
		"for no said time": {99, "", 1, http.StatusServiceUnavailable},
		"until tomorrow":   {99, "Thu, 26 Nov 2026 08:00:00 GMT", 1, http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if asked++; asked <= test.failing {
					w.Header().Set("Retry-After", test.later)
					w.WriteHeader(http.StatusServiceUnavailable)
				}
			}))
			defer server.Close()
			c := &connection{http: server.Client(), info: local.Info{API: server.URL}}
			res, err := c.do(t.Context(), "/team")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if asked != test.asked || res.StatusCode != test.status {
				t.Errorf("after %d tries the answer is %d, want %d after %d", asked, res.StatusCode, test.status, test.asked)
			}
		})
	}
}

// apiOf returns a connection to an API that answers these paths with these values.
func apiOf(t *testing.T, answers map[string]any) *connection {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return &connection{http: server.Client(), info: local.Info{API: server.URL}}
}
