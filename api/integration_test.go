package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/flavorless/flavorless/api"
	development "github.com/flavorless/flavorless/internal/issuer"
	"github.com/flavorless/flavorless/internal/jwks"
)

// TestWithIssuer wires the API like a program: with the development issuer, its key set over HTTP, and the real clock.
func TestWithIssuer(t *testing.T) {
	own, err := development.Open(development.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(development.JWKSPath, own)
	server := httptest.NewServer(mux)
	defer server.Close()
	keys, err := jwks.New(jwks.Config{URI: server.URL + development.JWKSPath})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := api.NewVerifier(api.VerifierConfig{
		Issuer: own.Name(), Audience: "flavorless", Keys: keys, RequiredScope: "flavors.read",
	})
	if err != nil {
		t.Fatal(err)
	}
	h := newServer(t, func(c *api.Config) { c.Verifier = verifier })
	for scope, status := range map[string]int{"flavors.read": 200, "openid flavors.read": 200, "": 403} {
		t.Run(fmt.Sprintf("scope %q", scope), func(t *testing.T) {
			token, err := own.Sign(development.Grant{Subject: "liz", Audience: "flavorless", Scope: scope, TTL: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			h.do(t, http.MethodGet, "/ice-cream/andy", "Authorization", "Bearer "+token).wantStatus(t, status)
		})
	}
}
