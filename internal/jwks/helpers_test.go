package jwks_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/flavorless/flavorless/internal/jwks"
	"github.com/flavorless/flavorless/internal/jwks/jwkstest"
)

type issuer = jwkstest.Issuer

// body responds with these bytes.
func body(b []byte) jwkstest.Responder {
	return func(*http.Request, []byte) (*http.Response, error) { return jwkstest.OK(b), nil }
}

// status responds with the keys and a status.
func status(code int) jwkstest.Responder {
	return func(_ *http.Request, keys []byte) (*http.Response, error) {
		response := jwkstest.OK(keys)
		response.StatusCode = code
		return response, nil
	}
}

// after responds like next, or with the keys if that is nil, after a delay.
func after(delay time.Duration, next jwkstest.Responder) jwkstest.Responder {
	return func(r *http.Request, keys []byte) (*http.Response, error) {
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
		if next == nil {
			return jwkstest.OK(keys), nil
		}
		return next(r, keys)
	}
}

// newSet returns a set of the issuer with the default configuration, which change, if non-nil, modifies.
func newSet(t *testing.T, i *issuer, change func(*jwks.Config)) *jwks.Set {
	t.Helper()
	config := jwks.Config{URI: jwkstest.Name + "keys", Client: &http.Client{Transport: i}}
	if change != nil {
		change(&config)
	}
	set, err := jwks.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// ecKey returns the JWK of a new P-256 key.
func ecKey(t *testing.T, id string) map[string]any {
	t.Helper()
	return jwkstest.JWK(t, id, jwkstest.ECKey(t).Public())
}

// wantKey calls set.Key and compares the error. If wanted is nil, the key must be found.
func wantKey(t *testing.T, set *jwks.Set, id, alg string, wanted error) {
	t.Helper()
	key, err := set.Key(context.Background(), id, alg)
	if !errors.Is(err, wanted) {
		t.Errorf("Key(%q, %s) = %v, want %v", id, alg, err, wanted)
	}
	if wanted == nil && (key.Public == nil || id != "" && key.ID != id) {
		t.Errorf("Key(%q, %s) = %+v, want the key with this id", id, alg, key)
	}
}

// wantFetches checks the number of fetches.
func wantFetches(t *testing.T, i *issuer, wanted int) {
	t.Helper()
	if got := i.Requests(); got != wanted {
		t.Errorf("got %d fetches, want %d", got, wanted)
	}
}
