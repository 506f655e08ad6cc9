package jwks_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/flavorless/flavorless/internal/jwks"
)

// issuer publishes a key set. It is an http.RoundTripper, because synctest can't wait for network connections.
type issuer struct {
	mu       sync.Mutex
	requests int
	body     []byte
	status   int
	down     bool
	delay    time.Duration
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	i.requests++
	body, status, down, delay := i.body, i.status, i.down, i.delay
	i.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if down {
		return nil, errors.New("connection refused")
	}
	if status == 0 {
		status = http.StatusOK
	}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Request: r, Header: http.Header{},
		Body: io.NopCloser(bytes.NewReader(body)),
	}, nil
}

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.requests
}

func (i *issuer) set(change func(*issuer)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change(i)
}

// publish replaces the key set. A key is any value that marshals to a JWK.
func (i *issuer) publish(t *testing.T, keys ...any) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	i.set(func(i *issuer) { i.body = body })
}

// newSet returns a set of the issuer with the default configuration, which change, if non-nil, modifies.
func newSet(t *testing.T, i *issuer, change func(*jwks.Config)) *jwks.Set {
	t.Helper()
	config := jwks.Config{URI: "https://issuer.example/keys", Client: &http.Client{Transport: i}}
	if change != nil {
		change(&config)
	}
	set, err := jwks.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func ecKey(t *testing.T, id string) jose.JSONWebKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: &key.PublicKey, KeyID: id}
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
	if got := i.count(); got != wanted {
		t.Errorf("got %d fetches, want %d", got, wanted)
	}
}
