package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/internal/jwks"
	"github.com/flavorless/flavorless/internal/jwks/jwkstest"
)

// noKeys is a key set that always fails.
type noKeys struct{ err error }

func (n noKeys) Key(context.Context, string, string) (jwks.Key, error) { return jwks.Key{}, n.err }

// TestKeySet sends requests while the issuer's keys change or are unavailable.
func TestKeySet(t *testing.T) {
	t.Run("200 unknown key ids cause one fetch and delay no valid token", func(t *testing.T) {
		h := newServer(t, nil)
		h.get(t, "/team").wantStatus(t, http.StatusOK)
		asked, release := make(chan struct{}), make(chan struct{})
		h.issuer.RespondWith(func(_ *http.Request, keys []byte) (*http.Response, error) {
			close(asked) // panics at a second fetch
			<-release
			return jwkstest.OK(keys), nil
		})
		bad := make([]string, 200)
		for n := range bad {
			bad[n] = "Bearer " + jwkstest.Sign(t, h.issuer.Key("ec"), "ES256", fmt.Sprint("x", n), nil, h.issuer.Claims(nil))
		}
		good := h.issuer.bearer(t)
		var all sync.WaitGroup
		for _, token := range bad {
			all.Go(func() {
				h.do(t, http.MethodGet, "/team", "Authorization", token).wantStatus(t, http.StatusUnauthorized)
			})
		}
		<-asked
		for range 10 { // while the fetch hangs
			h.do(t, http.MethodGet, "/team", "Authorization", good).wantStatus(t, http.StatusOK)
		}
		close(release)
		all.Wait()
		if got := h.issuer.Requests(); got != 2 {
			t.Errorf("got %d fetches, want 2", got)
		}
	})
	t.Run("a rotated key is accepted", func(t *testing.T) {
		h := newServer(t, nil)
		h.get(t, "/team").wantStatus(t, http.StatusOK)
		h.issuer.Add(t, "new", jwkstest.ECKey(t), nil)
		token := h.issuer.Sign(t, "ES256", "new", nil, h.issuer.Claims(nil))
		h.do(t, http.MethodGet, "/team", "Authorization", "Bearer "+token).wantStatus(t, http.StatusOK)
	})
	for name, respond := range map[string]jwkstest.Responder{
		"down":    jwkstest.Down,
		"garbage": func(*http.Request, []byte) (*http.Response, error) { return jwkstest.OK([]byte("<html>")), nil },
		"huge": func(_ *http.Request, keys []byte) (*http.Response, error) {
			return jwkstest.OK(append(keys, bytes.Repeat([]byte(" "), 1<<20)...)), nil
		},
		"slow": func(*http.Request, []byte) (*http.Response, error) { return nil, context.DeadlineExceeded },
		"an error": func(*http.Request, []byte) (*http.Response, error) {
			r := jwkstest.OK(nil)
			r.StatusCode = http.StatusBadGateway
			return r, nil
		},
	} {
		t.Run("JWKS "+name+": stale keys are used for a day", func(t *testing.T) {
			h := newServer(t, nil)
			h.get(t, "/team").wantStatus(t, http.StatusOK)
			h.issuer.RespondWith(respond)
			h.clock.advance(24*time.Hour - time.Second)
			h.get(t, "/team").wantStatus(t, http.StatusOK)
			h.clock.advance(time.Minute)
			a := h.get(t, "/team").wantStatus(t, http.StatusServiceUnavailable)
			wantUnavailable(t, h, a)
		})
		t.Run("JWKS "+name+" from the start", func(t *testing.T) {
			h := newServer(t, nil)
			h.issuer.RespondWith(respond)
			wantUnavailable(t, h, h.get(t, "/team").wantStatus(t, http.StatusServiceUnavailable))
			h.do(t, http.MethodGet, "/team").wantStatus(t, http.StatusUnauthorized) // needs no keys
			h.issuer.RespondWith(nil)
			h.clock.advance(time.Second)
			h.get(t, "/team").wantStatus(t, http.StatusOK)
		})
	}
	t.Run("an unknown key id while JWKS is down may be a new key", func(t *testing.T) {
		h := newServer(t, nil)
		h.get(t, "/team").wantStatus(t, http.StatusOK)
		h.issuer.Add(t, "new", jwkstest.ECKey(t), nil)
		h.issuer.RespondWith(jwkstest.Down)
		token := "Bearer " + h.issuer.Sign(t, "ES256", "new", nil, h.issuer.Claims(nil))
		h.do(t, http.MethodGet, "/team", "Authorization", token).wantStatus(t, http.StatusServiceUnavailable)
		h.get(t, "/team").wantStatus(t, http.StatusOK)
		h.issuer.RespondWith(nil)
		h.clock.advance(time.Minute)
		h.do(t, http.MethodGet, "/team", "Authorization", token).wantStatus(t, http.StatusOK)
	})
	t.Run("the verifier returns ErrKeysUnavailable", func(t *testing.T) {
		clock := newClock()
		i := newIssuer(t, clock)
		verifier := i.newVerifier(t, func(c *api.VerifierConfig) { c.Keys = noKeys{jwks.ErrUnavailable} })
		if _, err := verifier.Verify(context.Background(), i.bearer(t)); !errors.Is(err, api.ErrKeysUnavailable) {
			t.Errorf("got error %v, want %v", err, api.ErrKeysUnavailable)
		}
	})
}

// wantUnavailable checks that a 503 says when to retry and does not reveal the cause.
func wantUnavailable(t *testing.T, h *testServer, a response) {
	t.Helper()
	a.wantHeader(t, "Retry-After", fmt.Sprint(api.RetryAfter)).wantHeader(t, "WWW-Authenticate", "")
	p := problemOf(t, a)
	if strings.Contains(p.Detail, "key") {
		t.Errorf("detail %q reveals the cause", p.Detail)
	}
	if !strings.HasPrefix(p.Instance, "urn:flavorless:request:") {
		t.Fatalf("got instance %q, want prefix urn:flavorless:request:", p.Instance)
	}
	if id := strings.TrimPrefix(p.Instance, "urn:flavorless:request:"); !strings.Contains(h.log.String(), id) {
		t.Errorf("the log does not mention %s:\n%s", id, h.log)
	}
}
