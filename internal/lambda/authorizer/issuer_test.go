package authorizer_test

import (
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/internal/jwks"
	"github.com/flavorless/flavorless/internal/jwks/jwkstest"
	"github.com/flavorless/flavorless/internal/lambda/authorizer"
	"github.com/flavorless/flavorless/internal/metrics"
)

// now is the time of all requests, an hour before their tokens expire.
func now() time.Time { return time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC) }

const scope = "flavors:read"

// issuer is an issuer with its own keys, and an authorizer that trusts it.
type issuer struct {
	*jwkstest.Issuer
	authorizer.Authorizer
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	i := &issuer{Issuer: jwkstest.New(t, now)}
	keys, err := jwks.New(jwks.Config{
		URI: jwkstest.Name + "keys", Client: &http.Client{Transport: i}, RefreshWait: time.Second, Clock: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := api.NewVerifier(api.VerifierConfig{
		Issuer: jwkstest.Name, Audience: jwkstest.Audience, Keys: keys, RequiredScope: scope, Clock: now,
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

// valid returns valid claims with changes. A nil value removes a claim.
func (i *issuer) valid(changes map[string]any) map[string]any {
	claims := map[string]any{"sub": "andy", "scope": scope + " profile"}
	maps.Copy(claims, changes)
	return i.Claims(claims)
}

// token returns a token with valid claims and changes, which are as for valid.
func (i *issuer) token(t testing.TB, alg string, changes map[string]any) string {
	t.Helper()
	id := map[string]string{"RS256": "rsa", "ES256": "ec"}[alg]
	return i.Sign(t, alg, id, map[string]any{"typ": "JWT"}, i.valid(changes))
}

// signHeader returns a token with valid claims and a header in which a member is replaced or added. The header has no
// typ.
func signHeader(t testing.TB, i *issuer, name string, value any) string {
	t.Helper()
	return i.Sign(t, "ES256", "ec", map[string]any{name: value}, i.valid(nil))
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
