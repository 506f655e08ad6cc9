package api_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/internal/jwks"
	"github.com/flavorless/flavorless/internal/jwks/jwkstest"
)

const (
	issuerName = jwkstest.Name
	audience   = jwkstest.Audience
)

// clock is a clock that advance sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// issuer is the issuer of the tokens that a server accepts.
type issuer struct{ *jwkstest.Issuer }

func newIssuer(t testing.TB, clock *clock) *issuer {
	t.Helper()
	return &issuer{jwkstest.New(t, clock.Now)}
}

// bearer returns the Authorization header of a valid token.
func (i *issuer) bearer(t testing.TB) string {
	t.Helper()
	return "Bearer " + i.Sign(t, "ES256", "ec", nil, i.Claims(nil))
}

// newVerifier returns a verifier that accepts the issuer's tokens.
func (i *issuer) newVerifier(t testing.TB, change func(*api.VerifierConfig)) *api.Verifier {
	t.Helper()
	keys, err := jwks.New(jwks.Config{
		URI: issuerName + "keys", Client: &http.Client{Transport: i}, Clock: i.Clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	config := api.VerifierConfig{Issuer: issuerName, Audience: audience, Keys: keys, Clock: i.Clock}
	if change != nil {
		change(&config)
	}
	verifier, err := api.NewVerifier(config)
	if err != nil {
		t.Fatal(err)
	}
	return verifier
}
