package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/flavorless/flavorless/internal/local"
)

// TestRetryAfter: a request is repeated while the answer is 503 with Retry-After, but at most maxTries times.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		failures   int // answers of 503 before the one of 200
		retryAfter string
		requests   int
		status     int
	}{
		"two failures":   {2, "0", 3, http.StatusOK},
		"only failures":  {99, "0", maxTries, http.StatusServiceUnavailable},
		"no Retry-After": {99, "", 1, http.StatusServiceUnavailable},
		"a date":         {99, "Thu, 26 Nov 2026 08:00:00 GMT", 1, http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requests := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if requests++; requests <= test.failures {
					w.Header().Set("Retry-After", test.retryAfter)
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
			if requests != test.requests || res.StatusCode != test.status {
				t.Errorf("status %d after %d requests, want %d after %d", res.StatusCode, requests, test.status, test.requests)
			}
		})
	}
}

// apiOf returns a connection to an API that answers requests for the paths with the values, as JSON.
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
