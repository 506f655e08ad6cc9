package authorizer_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/internal/jwks/jwkstest"
)

func golden(t *testing.T, file string, response events.APIGatewayCustomAuthorizerResponse) {
	t.Helper()
	want, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(response)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(bytes.TrimSpace(want)), string(got)); diff != "" {
		t.Errorf("response (-want +got):\n%s", diff)
	}
}

func TestAllow(t *testing.T) {
	i := newIssuer(t)
	for _, alg := range []string{"RS256", "ES256"} {
		t.Run(alg, func(t *testing.T) {
			response, err := i.ask(t, "Bearer "+i.token(t, alg, nil))
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "allow.json", response)
		})
	}
}

func TestDenyWithoutScope(t *testing.T) {
	i := newIssuer(t)
	response, err := i.ask(t, "Bearer "+i.token(t, "ES256", map[string]any{"scope": "profile"}))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "deny.json", response)
}

func TestTokenWithoutSubject(t *testing.T) {
	i := newIssuer(t)
	response, err := i.ask(t, "Bearer "+i.token(t, "ES256", map[string]any{"sub": nil}))
	if err != nil || response.PrincipalID != "-" || response.Context["sub"] != nil {
		t.Errorf("principal = %q, context = %v, error %v, want principal - and no sub",
			response.PrincipalID, response.Context, err)
	}
}

// TestUnauthorized checks that invalid tokens get the error text for which the gateway responds with 401.
func TestUnauthorized(t *testing.T) {
	i := newIssuer(t)
	stranger := newIssuer(t)
	stranger.Add(t, "rsa", jwkstest.RSAKey(t, 2048), nil)
	hour := time.Hour
	with := func(changes map[string]any) string { return "Bearer " + i.token(t, "ES256", changes) }
	good := i.token(t, "ES256", nil)
	parts := strings.Split(good, ".")
	otherParts := strings.Split(i.token(t, "ES256", map[string]any{"sub": "bob"}), ".")
	public, err := json.Marshal(jwkstest.JWK(t, "rsa", i.Key("rsa").Public()))
	if err != nil {
		t.Fatal(err)
	}
	for name, authorization := range map[string]string{
		"nothing":                       "",
		"another scheme":                "Basic YW5keTpjb29raWU=",
		"a token without scheme":        good,
		"no token":                      "Bearer ",
		"not a JWT":                     "Bearer secret",
		"three empty parts":             "Bearer ..",
		"two tokens":                    "Bearer " + good + " " + good,
		"too long":                      "Bearer " + strings.Repeat("a", 10_000),
		"not signed":                    "Bearer " + parts[0] + "." + parts[1] + ".",
		"alg none":                      "Bearer eyJhbGciOiJub25lIn0." + parts[1] + ".",
		"signature of another token":    "Bearer " + parts[0] + "." + parts[1] + "." + otherParts[2],
		"another issuer's ES256 key":    "Bearer " + stranger.token(t, "ES256", nil),
		"another issuer's RS256 key":    "Bearer " + stranger.token(t, "RS256", nil),
		"HS256 with our public key":     "Bearer " + jwkstest.Sign(t, public, "HS256", "rsa", nil, i.valid(nil)),
		"unknown key":                   "Bearer " + jwkstest.Sign(t, i.Key("ec"), "ES256", "other", nil, i.valid(nil)),
		"another issuer":                with(map[string]any{"iss": "https://other.example/"}),
		"no issuer":                     with(map[string]any{"iss": nil}),
		"another audience":              with(map[string]any{"aud": "other"}),
		"no audience":                   with(map[string]any{"aud": nil}),
		"expired":                       with(map[string]any{"exp": now().Add(-hour).Unix()}),
		"no expiry":                     with(map[string]any{"exp": nil}),
		"not valid yet":                 with(map[string]any{"nbf": now().Add(hour).Unix()}),
		"issued in the future":          with(map[string]any{"iat": now().Add(hour).Unix()}),
		"a null crit":                   "Bearer " + signHeader(t, i, "crit", nil),
		"zip":                           "Bearer " + signHeader(t, i, "zip", "DEF"),
		"a null typ":                    "Bearer " + signHeader(t, i, "typ", nil),
		"a null kid":                    "Bearer " + signHeader(t, i, "kid", nil),
		"a null among the audiences":    with(map[string]any{"aud": []any{"flavorless", nil}}),
		"spare bits in the signature":   "Bearer " + spareBits(good),
		"a space after the token":       "Bearer " + good + " ",
		"expired and without the scope": with(map[string]any{"exp": now().Add(-hour).Unix(), "scope": ""}),
	} {
		t.Run(name, func(t *testing.T) {
			response, err := i.ask(t, authorization)
			if err == nil || err.Error() != "Unauthorized" {
				t.Errorf("Handle() = %+v, %v, want the error Unauthorized", response, err)
			}
		})
	}
}

// TestKeysUnavailable checks that a token that can't be checked is neither refused nor allowed, and gets a 5xx.
func TestKeysUnavailable(t *testing.T) {
	i := newIssuer(t)
	i.RespondWith(jwkstest.Down)
	response, err := i.ask(t, "Bearer "+i.token(t, "ES256", nil))
	if err == nil || err.Error() == "Unauthorized" || response.PrincipalID != "" {
		t.Errorf("Handle() = %+v, %v, want an error other than Unauthorized", response, err)
	}
}

// TestCachedPolicy checks that the policy of one request is right for all routes, because the gateway caches it by
// token.
func TestCachedPolicy(t *testing.T) {
	i := newIssuer(t)
	const stage = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3d4e5/prod"
	routes := []string{
		"/GET/team", "/GET/ice-cream/andy", "/GET/ice-cream/a%2Fb", "/GET/uploads", "/GET/uploads/5v2k", "/HEAD/team",
	}
	for effect, changes := range map[string]map[string]any{"Allow": nil, "Deny": {"scope": "profile"}} {
		t.Run(effect, func(t *testing.T) {
			cached, err := i.ask(t, "Bearer "+i.token(t, "RS256", changes))
			if err != nil {
				t.Fatal(err)
			}
			for _, route := range routes {
				if got := evaluate(cached.PolicyDocument, stage+route); got != effect {
					t.Errorf("effect on %s = %q, want %s", route, got, effect)
				}
			}
			for _, other := range []string{
				stage + "/POST/team", strings.Replace(stage, "/prod", "/dev", 1) + "/GET/team",
				strings.Replace(stage, "a1b2", "b1b2", 1) + "/GET/team",
			} {
				if got := evaluate(cached.PolicyDocument, other); got != "" {
					t.Errorf("effect on %s = %q, want none", other, got)
				}
			}
		})
	}
}

// evaluate returns the effect on a method, or "" if there is none. In resources, * matches slashes, too.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
func evaluate(policy events.APIGatewayCustomAuthorizerPolicy, method string) string {
	for _, s := range policy.Statement {
		for _, resource := range s.Resource {
			flat := func(s string) string { return strings.ReplaceAll(s, "/", ":") }
			if ok, err := path.Match(flat(resource), flat(method)); ok && err == nil {
				return s.Effect
			}
		}
	}
	return ""
}

func TestInvalidMethodARN(t *testing.T) {
	i := newIssuer(t)
	for _, arn := range []string{
		"", "team", "arn:aws:execute-api:eu-west-1:1:api", "arn:aws:execute-api:eu-west-1:1:api//GET/team",
		"arn:aws:execute-api:eu-west-1:1:*/prod/GET/team", "arn:aws:s3:::bucket/prod/GET/ice-cream/marija",
		"arn:aws:execute-api:eu-west-1:1:*/prod/GET/ice-cream/marija",
	} {
		t.Run(arn, func(t *testing.T) {
			response, err := i.Handle(t.Context(), events.APIGatewayCustomAuthorizerRequest{
				MethodArn: arn, AuthorizationToken: "Bearer " + i.token(t, "ES256", nil),
			})
			if err == nil || err.Error() == "Unauthorized" {
				t.Errorf("Handle() = %+v, %v, want an error other than Unauthorized", response, err)
			} else if strings.Contains(err.Error(), "marija") { // Lambda logs it
				t.Errorf("the error contains a person's name: %v", err)
			}
		})
	}
}
