package api_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/internal/jwks/jwkstest"
)

// TestAccepted accepts tokens that differ little from those of TestRefusals, which proves that the difference matters.
func TestAccepted(t *testing.T) {
	clock := newClock()
	i := newIssuer(t, clock)
	now := clock.Now()
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	with := func(changes map[string]any) string {
		return "Bearer " + i.Sign(t, "ES256", "ec", nil, i.Claims(changes))
	}
	headed := func(header map[string]any) string { return "Bearer " + i.Sign(t, "ES256", "ec", header, i.Claims(nil)) }
	verifier := i.newVerifier(t, nil)
	tests := map[string]string{
		"scheme in lower case":      "b" + strings.TrimPrefix(with(nil), "B"),
		"scheme in upper case":      "BEARER" + strings.TrimPrefix(with(nil), "Bearer"),
		"more spaces":               "Bearer   " + strings.TrimPrefix(with(nil), "Bearer "),
		"expired within the leeway": with(map[string]any{"exp": at(-29 * time.Second)}),
		"not yet within the leeway": with(map[string]any{"nbf": at(30 * time.Second)}),
		"issued within the leeway":  with(map[string]any{"iat": at(30 * time.Second)}),
		"nbf zero":                  with(map[string]any{"nbf": 0}),
		"exp with a fraction":       with(map[string]any{"exp": float64(at(time.Minute)) + 0.5}),
		"no iat":                    with(map[string]any{"iat": nil}),
		"several audiences":         with(map[string]any{"aud": []string{"other", audience}}),
		"typ JWT":                   headed(map[string]any{"typ": "JWT"}),
		"typ at+jwt":                headed(map[string]any{"typ": "at+jwt"}),
		"typ as a media type":       headed(map[string]any{"typ": "application/at+JWT"}),
		"no key id, one key suits":  "Bearer " + jwkstest.Sign(t, i.Key("ed"), "EdDSA", "", nil, i.Claims(nil)),
	}
	for _, alg := range strings.Fields("RS256 RS384 RS512 PS256 PS384 PS512") {
		tests[alg] = "Bearer " + i.Sign(t, alg, "rsa", nil, i.Claims(nil))
	}
	tests["EdDSA"] = "Bearer " + i.Sign(t, "EdDSA", "ed", nil, i.Claims(nil))
	for name, header := range tests {
		t.Run(name, func(t *testing.T) {
			claims, err := verifier.Verify(context.Background(), header)
			if err != nil {
				t.Fatal(err)
			}
			if claims.Subject != "liz" {
				t.Errorf("subject = %q, want liz", claims.Subject)
			}
		})
	}
}

func TestScope(t *testing.T) {
	h := newServer(t, nil)
	h.require(t, "flavors.read")
	for _, test := range []struct {
		name   string
		claims map[string]any
		status int
	}{
		{"scope", map[string]any{"scope": "a flavors.read b"}, 200},
		{"scope alone", map[string]any{"scope": "flavors.read"}, 200},
		{"scope as a list", map[string]any{"scope": []string{"a", "flavors.read"}}, 200},
		{"scp", map[string]any{"scp": "flavors.read"}, 200},
		{"scp as a list", map[string]any{"scp": []string{"flavors.read"}}, 200},
		{"missing scope", nil, 403},
		{"empty scope", map[string]any{"scope": ""}, 403},
		{"other scopes", map[string]any{"scope": "flavors.read.all xflavors.read"}, 403},
		{"another case", map[string]any{"scope": "Flavors.Read"}, 403},
		{"scope of the wrong type", map[string]any{"scope": 1}, 401},
		{"expired as well", map[string]any{"exp": 1}, 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			token := h.issuer.Sign(t, "ES256", "ec", nil, h.issuer.Claims(test.claims))
			a := h.do(t, http.MethodGet, "/team", "Authorization", "Bearer "+token).wantStatus(t, test.status)
			if test.status == http.StatusForbidden {
				want := challenge("insufficient_scope", "the token lacks the required scope") + `, scope="flavors.read"`
				a.wantHeader(t, "WWW-Authenticate", want)
			}
		})
	}
}

func TestNewVerifier(t *testing.T) {
	valid := api.VerifierConfig{Issuer: "i", Audience: "a", Keys: noKeys{}}
	if _, err := api.NewVerifier(valid); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*api.VerifierConfig){
		"no issuer":      func(c *api.VerifierConfig) { c.Issuer = "" },
		"no audience":    func(c *api.VerifierConfig) { c.Audience = "" },
		"no keys":        func(c *api.VerifierConfig) { c.Keys = nil },
		"two scopes":     func(c *api.VerifierConfig) { c.RequiredScope = "a b" },
		"a quoted scope": func(c *api.VerifierConfig) { c.RequiredScope = `"a"` },
	} {
		t.Run(name, func(t *testing.T) {
			config := valid
			change(&config)
			if _, err := api.NewVerifier(config); err == nil {
				t.Error("NewVerifier() succeeded, want an error")
			}
		})
	}
}

func TestClaims(t *testing.T) {
	clock := newClock()
	i := newIssuer(t, clock)
	header := "Bearer " + i.Sign(t, "RS256", "rsa", nil, i.Claims(map[string]any{"scope": "a b", "scp": []string{"c"}}))
	got, err := i.newVerifier(t, nil).Verify(context.Background(), header)
	if err != nil {
		t.Fatal(err)
	}
	want := api.Claims{Subject: "liz", Scopes: []string{"a", "b", "c"}, Expires: clock.Now().Add(time.Hour)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	got, err = i.newVerifier(t, nil).Verify(context.Background(), "Bearer x")
	if diff := cmp.Diff(api.Claims{}, got); diff != "" {
		t.Errorf("claims of a refused token (-want +got):\n%s", diff)
	}
	if auth := new(api.AuthError); !errors.As(err, &auth) || auth.Status() != http.StatusUnauthorized {
		t.Errorf("got error %v, want an AuthError with status 401", err)
	}
}
