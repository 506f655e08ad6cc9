package api_test

import (
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/internal/jwks/jwkstest"
)

const noCredentials = `Bearer realm="flavorless"`

// challenge returns the WWW-Authenticate header of a refused token.
func challenge(code, description string) string {
	return noCredentials + `, error="` + code + `", error_description="` + description + `"`
}

// hs256 signs with a secret that is public.
func hs256(t *testing.T, secret []byte, id string, claims map[string]any) string {
	t.Helper()
	header := map[string]any{"alg": "HS256", "typ": "JWT", "kid": id}
	signed := jwkstest.Encode(t, header) + "." + jwkstest.Encode(t, claims)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// TestRefusals checks that each invalid Authorization header gets a 401 with the right challenge, and no data.
func TestRefusals(t *testing.T) {
	h := newServer(t, nil)
	i := h.issuer
	i.Add(t, "another", jwkstest.RSAKey(t, 2048), nil)
	i.Add(t, "weak", jwkstest.RSAKey(t, 1024), nil)
	i.Add(t, "encryption", jwkstest.RSAKey(t, 2048), map[string]any{"use": "enc"})
	i.Add(t, "signing only", jwkstest.RSAKey(t, 2048), map[string]any{"key_ops": []string{"sign"}})
	i.Add(t, "PS256 only", jwkstest.RSAKey(t, 2048), map[string]any{"alg": "PS256"})
	now := i.Clock()
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	good := i.Sign(t, "ES256", "ec", nil, i.Claims(nil))
	parts := strings.Split(good, ".")
	with := func(changes map[string]any) string { return i.Sign(t, "ES256", "ec", nil, i.Claims(changes)) }
	headed := func(header map[string]any) string { return i.Sign(t, "ES256", "ec", header, i.Claims(nil)) }

	public := i.Key("rsa").Public()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := x509.MarshalPKCS1PublicKey(public.(*rsa.PublicKey))
	jwk, err := json.Marshal(jwkstest.JWK(t, "rsa", public))
	if err != nil {
		t.Fatal(err)
	}

	const (
		malformedHeader = "the Authorization header is malformed"
		tooLong         = "the Authorization header is too long"
		noToken         = "the bearer token is missing"
		notJWT          = "the token is not a signed JWT"
		badAlgorithm    = "the token is signed with an algorithm that is not accepted"
		badSignature    = "the token's signature is invalid"
		unknownKey      = "the token is signed with an unknown key"
		mismatch        = "the token's algorithm does not match its key"
		extension       = "the token needs an extension that is not supported"
		badType         = "the token is not an access token"
		malformedClaims = "the token's claims are malformed"
		otherIssuer     = "the token is from another issuer"
		otherAudience   = "the token is for another audience"
		expired         = "the token has expired"
		noExpiry        = "the token has no expiry"
		notYet          = "the token is not valid yet"
		future          = "the token was issued in the future"
	)
	tooMuch := strings.Repeat("a", api.MaxAuthorization)
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	pkcs1PEM := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1})
	tests := []refusal{
		{"no header", "", "", ""},
		{"wrong scheme", "Basic bGl6OmZsYXZvcg==", "", ""},
		{"no scheme", good, "", ""},
		{"scheme run together", "Bearer" + good, "", ""},
		{"no token", "Bearer", "invalid_request", noToken},
		{"only spaces", "Bearer  ", "invalid_request", noToken},
		{"malformed: padded", "Bearer " + good + "=", "invalid_request", malformedHeader},
		{"malformed: line break in the token", "Bearer " + good + "\n", "invalid_request", malformedHeader},
		{"malformed: not ASCII", "Bearer " + good + "é", "invalid_request", malformedHeader},
		{"two tokens", "Bearer " + good + " " + good, "invalid_request", malformedHeader},
		{"two tokens with a comma", "Bearer " + good + ", Bearer " + good, "invalid_request", malformedHeader},
		{"too large", "Bearer " + tooMuch, "invalid_request", tooLong},
		{"too large but valid", "Bearer " + with(map[string]any{"pad": tooMuch}), "invalid_request", tooLong},
	}
	for _, invalid := range []struct{ name, token, description string }{
		{"malformed: one word", "token", notJWT},
		{"malformed: two parts", parts[0] + "." + parts[1], notJWT},
		{"malformed: four parts", good + ".x", notJWT},
		{"malformed: five parts, an encrypted token", good + ".x.y", notJWT},
		{"malformed: header is not base64", "a." + parts[1] + "." + parts[2], notJWT},
		{"malformed: header is not JSON", "aaaa." + parts[1] + "." + parts[2], notJWT},
		{"expired", with(map[string]any{"exp": at(-30 * time.Second)}), expired},
		{"expired long ago", with(map[string]any{"exp": 0}), expired},
		{"no exp", with(map[string]any{"exp": nil}), noExpiry},
		{"exp is text", with(map[string]any{"exp": "never"}), malformedClaims},
		{"exp is negative", with(map[string]any{"exp": -1}), malformedClaims},
		{"exp is too large", with(map[string]any{"exp": 1e300}), malformedClaims},
		{"not yet valid", with(map[string]any{"nbf": at(31 * time.Second)}), notYet},
		{"issued in the future", with(map[string]any{"iat": at(31 * time.Second)}), future},
		{"wrong issuer", with(map[string]any{"iss": "https://other.example/"}), otherIssuer},
		{"issuer without its slash", with(map[string]any{"iss": strings.TrimSuffix(issuerName, "/")}), otherIssuer},
		{"no issuer", with(map[string]any{"iss": nil}), otherIssuer},
		{"issuer is a list", with(map[string]any{"iss": []string{issuerName}}), malformedClaims},
		{"wrong audience", with(map[string]any{"aud": "flavorful"}), otherAudience},
		{"wrong audiences", with(map[string]any{"aud": []string{"a", "flavorless2"}}), otherAudience},
		{"no audience", with(map[string]any{"aud": nil}), otherAudience},
		{"audience list is empty", with(map[string]any{"aud": []string{}}), otherAudience},
		{"subject is a number", with(map[string]any{"sub": 1}), malformedClaims},
		{"claims are a list", i.signRaw(t, `[]`), malformedClaims},
		{"a claim twice", i.signRaw(t, `{"iss":"x","iss":"`+issuerName+`","aud":"flavorless","exp":9999999999}`),
			malformedClaims},
		{"alg none", jwkstest.Encode(t, map[string]any{"alg": "none", "kid": "ec"}) + "." + parts[1] + ".", badAlgorithm},
		{"alg none in capitals", jwkstest.Encode(t, map[string]any{"alg": "NONE", "kid": "ec"}) + "." + parts[1] + ".",
			badAlgorithm},
		{"alg missing", jwkstest.Encode(t, map[string]any{"kid": "ec"}) + "." + parts[1] + "." + parts[2], badAlgorithm},
		{"signature missing", parts[0] + "." + parts[1] + ".", badSignature},
		{"HS256 keyed with the public key as PEM", hs256(t, publicPEM, "rsa", i.Claims(nil)), badAlgorithm},
		{"HS256 keyed with the public key as PKCS #1 PEM", hs256(t, pkcs1PEM, "rsa", i.Claims(nil)), badAlgorithm},
		{"HS256 keyed with the public key as DER", hs256(t, der, "rsa", i.Claims(nil)), badAlgorithm},
		{"HS256 keyed with the public key as JWK", hs256(t, jwk, "rsa", i.Claims(nil)), badAlgorithm},
		{"HS256 keyed with nothing", hs256(t, nil, "rsa", i.Claims(nil)), badAlgorithm},
		{"alg of another key type", jwkstest.Sign(t, i.Key("rsa"), "RS256", "ec", nil, i.Claims(nil)), mismatch},
		{"alg that the key is not for", i.Sign(t, "RS256", "PS256 only", nil, i.Claims(nil)), mismatch},
		{"key for encryption", i.Sign(t, "RS256", "encryption", nil, i.Claims(nil)), unknownKey},
		{"key not for verifying", i.Sign(t, "RS256", "signing only", nil, i.Claims(nil)), unknownKey},
		{"weak RSA key", i.weak(t), unknownKey},
		{"unknown key id", jwkstest.Sign(t, jwkstest.ECKey(t), "ES256", "x", nil, i.Claims(nil)), unknownKey},
		{"no key id among several keys", i.Sign(t, "RS256", "rsa", map[string]any{"kid": ""}, i.Claims(nil)),
			"the token does not name its key"},
		{"another key under a known id", jwkstest.Sign(t, jwkstest.ECKey(t), "ES256", "ec", nil, i.Claims(nil)),
			badSignature},
		{"key in the header", i.embedded(t), badSignature},
		{"tampered payload", parts[0] + "." + jwkstest.Encode(t, i.Claims(map[string]any{"sub": "root"})) + "." + parts[2],
			badSignature},
		{"tampered header",
			jwkstest.Encode(t, map[string]any{"alg": "ES256", "kid": "ec", "x": 1}) + "." + parts[1] + "." + parts[2],
			badSignature},
		{"tampered signature", parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2])), badSignature},
		{"critical extension", headed(map[string]any{"crit": []string{"x"}, "x": 1}), extension},
		{"critical extension that go-jose supports", headed(map[string]any{"crit": []string{"b64"}, "b64": true}), extension},
		{"unencoded payload", headed(map[string]any{"b64": true}), extension},
		{"typ of a logout token", headed(map[string]any{"typ": "logout+jwt"}), badType},
		{"typ is a number", headed(map[string]any{"typ": 1}), badType},
	} {
		tests = append(tests, refusal{invalid.name, "Bearer " + invalid.token, "invalid_token", invalid.description})
	}
	tests = append(tests, i.strictRefusals(t)...)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			want := noCredentials
			if test.code != "" {
				want = challenge(test.code, test.description)
			}
			headers := []string{}
			if test.header != "" {
				headers = []string{"Authorization", test.header}
			}
			for _, target := range []string{"/team", "/ice-cream/andy", "/uploads", "/uploads/" + uploadID(1)} {
				before := h.store.calls
				a := h.do(t, http.MethodGet, target, headers...).wantStatus(t, http.StatusUnauthorized)
				a.wantHeader(t, "WWW-Authenticate", want)
				problemOf(t, a)
				if h.store.calls != before {
					t.Errorf("the store got %d calls, want none", h.store.calls-before)
				}
			}
		})
	}
	t.Run("duplicate Authorization headers", func(t *testing.T) {
		a := h.do(t, http.MethodGet, "/team", "Authorization", "Bearer "+good, "Authorization", "Bearer "+good)
		a.wantStatus(t, http.StatusUnauthorized).
			wantHeader(t, "WWW-Authenticate", challenge("invalid_request", "the request has more than one Authorization header"))
	})
	t.Run("token in the query", func(t *testing.T) {
		h.do(t, http.MethodGet, "/team?access_token="+good).wantStatus(t, http.StatusUnauthorized)
	})
	t.Run("only the log has the cause", func(t *testing.T) {
		forged := parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2]))
		a := h.do(t, http.MethodGet, "/team", "Authorization", "Bearer "+forged)
		if strings.Contains(a.body+a.header.Get("WWW-Authenticate"), "jose") {
			t.Errorf("response reveals the cause: %s %v", a.body, a.header)
		}
		lines := strings.Split(strings.TrimSpace(h.log.String()), "\n")
		if last := lines[len(lines)-1]; !strings.Contains(last, "jose") {
			t.Errorf("log entry = %s, want the cause", last)
		}
	})
}

// signRaw signs a payload without changing it.
func (i *issuer) signRaw(t *testing.T, payload string) string {
	t.Helper()
	return jwkstest.Sign(t, i.Key("ec"), "ES256", "ec", nil, nil, payload)
}

// weak returns a token of the key "weak". Its signature is fake, because Go refuses to sign with such a short key.
func (i *issuer) weak(t *testing.T) string {
	t.Helper()
	header := jwkstest.Encode(t, map[string]any{"alg": "RS256", "kid": "weak"})
	return header + "." + jwkstest.Encode(t, i.Claims(nil)) + "." + strings.Repeat("A", 171)
}

// embedded returns a token that names a known key but is signed with a key in its own header.
func (i *issuer) embedded(t *testing.T) string {
	t.Helper()
	other := jwkstest.ECKey(t)
	header := map[string]any{"jwk": jwkstest.JWK(t, "", other.Public())}
	return jwkstest.Sign(t, other, "ES256", "ec", header, i.Claims(nil))
}
