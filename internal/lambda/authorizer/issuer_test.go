package authorizer_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/go-jose/go-jose/v4"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/internal/jwks"
	"github.com/flavorless/flavorless/internal/lambda/authorizer"
	"github.com/flavorless/flavorless/internal/metrics"
)

// now is the time of all requests, an hour before their tokens expire.
func now() time.Time { return time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC) }

const scope = "flavors:read"

// issuer is a server with an RS256 and an ES256 key, and an authorizer that trusts it.
type issuer struct {
	keys map[jose.SignatureAlgorithm]*jose.JSONWebKey
	down atomic.Bool
	authorizer.Authorizer
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{keys: map[jose.SignatureAlgorithm]*jose.JSONWebKey{
		jose.RS256: {Key: rsaKey, KeyID: "rsa", Algorithm: "RS256"},
		jose.ES256: {Key: ecKey, KeyID: "ec", Algorithm: "ES256"},
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if i.down.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{i.keys[jose.RS256].Public(), i.keys[jose.ES256].Public()}}
		if err := json.NewEncoder(w).Encode(set); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	keys, err := jwks.New(jwks.Config{URI: server.URL, RefreshWait: time.Second, Clock: now})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := api.NewVerifier(api.VerifierConfig{
		Issuer: "https://issuer.example/", Audience: "flavorless", Keys: keys, RequiredScope: scope, Clock: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	i.Authorizer = authorizer.Authorizer{
		Verifier: verifier, Metrics: metrics.NewEMF(t.Output(), "authorizer", "test", now),
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	return i
}

// claims returns valid claims with changes. A nil value removes a claim.
func claims(changes map[string]any) map[string]any {
	claims := map[string]any{
		"iss": "https://issuer.example/", "aud": "flavorless", "sub": "andy", "exp": now().Add(time.Hour).Unix(),
		"scope": scope + " profile",
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}

// token returns a token with valid claims and changes, which are as for claims.
func (i *issuer) token(t testing.TB, alg jose.SignatureAlgorithm, changes map[string]any) string {
	t.Helper()
	return sign(t, alg, i.keys[alg], map[string]any{"typ": "JWT"}, claims(changes))
}

// signHeader returns a token with valid claims and a header in which a member is replaced or added. The header has no
// typ.
func signHeader(t testing.TB, i *issuer, name string, value any) string {
	t.Helper()
	return sign(t, jose.ES256, i.keys[jose.ES256], map[string]any{name: value}, claims(nil))
}

func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, header, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	options := &jose.SignerOptions{}
	for name, value := range header {
		options.WithHeader(jose.HeaderKey(name), value)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// spareBits sets an unused bit of an ES256 signature's last character: the token still decodes to the same bytes.
func spareBits(token string) string {
	last := len(token) - 1
	return token[:last] + map[byte]string{'A': "B", 'Q': "R", 'g': "h", 'w': "x"}[token[last]]
}

// ask handles a captured request with that Authorization header.
func (i *issuer) ask(t *testing.T, authorization string) (events.APIGatewayCustomAuthorizerResponse, error) {
	t.Helper()
	body, err := os.ReadFile("testdata/request.json")
	if err != nil {
		t.Fatal(err)
	}
	var request events.APIGatewayCustomAuthorizerRequest
	if err := json.Unmarshal(body, &request); err != nil {
		t.Fatal(err)
	}
	request.AuthorizationToken = authorization
	return i.Handle(t.Context(), request)
}
