package api_test

import (
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/flavorless/flavorless/api"
)

const noCredentials = `Bearer realm="flavorless"`

// challenge is the WWW-Authenticate of a refused token.
func challenge(code, description string) string {
	return noCredentials + `, error="` + code + `", error_description="` + description + `"`
}

// hs256 signs with a secret that everybody knows.
func hs256(t *testing.T, secret []byte, id string, claims map[string]any) string {
	t.Helper()
	signed := encode(t, map[string]any{"alg": "HS256", "typ": "JWT", "kid": id}) + "." + encode(t, claims)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// TestRefusals is every way of not getting in, through the whole API: the status, the challenge, and no data.
func TestRefusals(t *testing.T) {
	h := newHome(t, nil)
	i := h.issuer
	i.add(t, "another", rsaKey(t, 2048), nil)
	i.add(t, "weak", rsaKey(t, 1024), nil)
	i.add(t, "encryption", rsaKey(t, 2048), map[string]any{"use": "enc"})
	i.add(t, "signing only", rsaKey(t, 2048), map[string]any{"key_ops": []string{"sign"}})
	i.add(t, "PS256 only", rsaKey(t, 2048), map[string]any{"alg": "PS256"})
	now := i.clock.Now()
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	good := i.sign(t, "ES256", "ec", nil, i.claims(nil))
	parts := strings.Split(good, ".")
	with := func(changes map[string]any) string { return i.sign(t, "ES256", "ec", nil, i.claims(changes)) }
	headed := func(header map[string]any) string { return i.sign(t, "ES256", "ec", header, i.claims(nil)) }

	public := i.private["rsa"].Public()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := x509.MarshalPKCS1PublicKey(public.(*rsa.PublicKey))
	jwk, err := json.Marshal(i.published[0])
	if err != nil {
		t.Fatal(err)
	}

	const (
		malformedHeader = "the Authorization header is malformed"
		notJWT          = "the token is not a signed JWT"
		badAlgorithm    = "the token is signed with an algorithm that is not accepted"
		badSignature    = "the token's signature is wrong"
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
	tests := []refusal{
		{"no header", "", "", ""},
		{"wrong scheme", "Basic bGl6OmZsYXZvcg==", "", ""},
		{"no scheme", good, "", ""},
		{"scheme run together", "Bearer" + good, "", ""},
		{"no token", "Bearer", "invalid_token", notJWT},
		{"empty token", "Bearer ", "invalid_token", notJWT},
		{"malformed: one word", "Bearer token", "invalid_token", notJWT},
		{"malformed: two parts", "Bearer " + parts[0] + "." + parts[1], "invalid_token", notJWT},
		{"malformed: four parts", "Bearer " + good + ".x", "invalid_token", notJWT},
		{"malformed: five parts, an encrypted token", "Bearer " + good + ".x.y", "invalid_token", notJWT},
		{"malformed: header is not base64", "Bearer a." + parts[1] + "." + parts[2], "invalid_token", notJWT},
		{"malformed: header is not JSON", "Bearer aaaa." + parts[1] + "." + parts[2], "invalid_token", notJWT},
		{"malformed: padded", "Bearer " + good + "=", "invalid_request", malformedHeader},
		{"malformed: line break in the token", "Bearer " + good + "\n", "invalid_request", malformedHeader},
		{"malformed: not ASCII", "Bearer " + good + "é", "invalid_request", malformedHeader},
		{"two tokens", "Bearer " + good + " " + good, "invalid_request", malformedHeader},
		{"two tokens with a comma", "Bearer " + good + ", Bearer " + good, "invalid_request", malformedHeader},
		{"too large", "Bearer " + strings.Repeat("a", api.MaxAuthorization), "invalid_request", "the Authorization header is too long"},
		{"too large but good", "Bearer " + with(map[string]any{"pad": strings.Repeat("a", api.MaxAuthorization)}), "invalid_request", "the Authorization header is too long"},

		{"expired", "Bearer " + with(map[string]any{"exp": at(-30 * time.Second)}), "invalid_token", expired},
		{"expired long ago", "Bearer " + with(map[string]any{"exp": 0}), "invalid_token", expired},
		{"no exp", "Bearer " + with(map[string]any{"exp": nil}), "invalid_token", noExpiry},
		{"exp is text", "Bearer " + with(map[string]any{"exp": "never"}), "invalid_token", malformedClaims},
		{"exp is negative", "Bearer " + with(map[string]any{"exp": -1}), "invalid_token", malformedClaims},
		{"exp beyond all times", "Bearer " + with(map[string]any{"exp": 1e300}), "invalid_token", malformedClaims},
		{"not yet valid", "Bearer " + with(map[string]any{"nbf": at(31 * time.Second)}), "invalid_token", notYet},
		{"issued in the future", "Bearer " + with(map[string]any{"iat": at(31 * time.Second)}), "invalid_token", future},
		{"wrong issuer", "Bearer " + with(map[string]any{"iss": "https://other.example/"}), "invalid_token", otherIssuer},
		{"issuer without its slash", "Bearer " + with(map[string]any{"iss": strings.TrimSuffix(issuerName, "/")}), "invalid_token", otherIssuer},
		{"no issuer", "Bearer " + with(map[string]any{"iss": nil}), "invalid_token", otherIssuer},
		{"issuer is a list", "Bearer " + with(map[string]any{"iss": []string{issuerName}}), "invalid_token", malformedClaims},
		{"wrong audience", "Bearer " + with(map[string]any{"aud": "flavorful"}), "invalid_token", otherAudience},
		{"wrong audiences", "Bearer " + with(map[string]any{"aud": []string{"a", "flavorless2"}}), "invalid_token", otherAudience},
		{"no audience", "Bearer " + with(map[string]any{"aud": nil}), "invalid_token", otherAudience},
		{"audience list is empty", "Bearer " + with(map[string]any{"aud": []string{}}), "invalid_token", otherAudience},
		{"subject is a number", "Bearer " + with(map[string]any{"sub": 1}), "invalid_token", malformedClaims},
		{"claims are a list", "Bearer " + i.signRaw(t, `[]`), "invalid_token", malformedClaims},
		{"a claim twice", "Bearer " + i.signRaw(t, `{"iss":"x","iss":"`+issuerName+`","aud":"flavorless","exp":9999999999}`), "invalid_token", malformedClaims},

		{"alg none", "Bearer " + encode(t, map[string]any{"alg": "none", "kid": "ec"}) + "." + parts[1] + ".", "invalid_token", badAlgorithm},
		{"alg none in capitals", "Bearer " + encode(t, map[string]any{"alg": "NONE", "kid": "ec"}) + "." + parts[1] + ".", "invalid_token", badAlgorithm},
		{"alg missing", "Bearer " + encode(t, map[string]any{"kid": "ec"}) + "." + parts[1] + "." + parts[2], "invalid_token", badAlgorithm},
		{"signature missing", "Bearer " + parts[0] + "." + parts[1] + ".", "invalid_token", badSignature},
		{"HS256 keyed with the public key as PEM", "Bearer " + hs256(t, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "rsa", i.claims(nil)), "invalid_token", badAlgorithm},
		{"HS256 keyed with the public key as PKCS #1 PEM", "Bearer " + hs256(t, pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}), "rsa", i.claims(nil)), "invalid_token", badAlgorithm},
		{"HS256 keyed with the public key as DER", "Bearer " + hs256(t, der, "rsa", i.claims(nil)), "invalid_token", badAlgorithm},
		{"HS256 keyed with the public key as JWK", "Bearer " + hs256(t, jwk, "rsa", i.claims(nil)), "invalid_token", badAlgorithm},
		{"HS256 keyed with nothing", "Bearer " + hs256(t, nil, "rsa", i.claims(nil)), "invalid_token", badAlgorithm},
		{"alg of another key type", "Bearer " + sign(t, i.private["rsa"], "RS256", "ec", nil, i.claims(nil)), "invalid_token", mismatch},
		{"alg that the key is not for", "Bearer " + i.sign(t, "RS256", "PS256 only", nil, i.claims(nil)), "invalid_token", mismatch},
		{"key for encryption", "Bearer " + i.sign(t, "RS256", "encryption", nil, i.claims(nil)), "invalid_token", unknownKey},
		{"key not for verifying", "Bearer " + i.sign(t, "RS256", "signing only", nil, i.claims(nil)), "invalid_token", unknownKey},
		{"weak RSA key", "Bearer " + i.weak(t), "invalid_token", unknownKey},
		{"unknown key id", "Bearer " + sign(t, ecKey(t), "ES256", "x", nil, i.claims(nil)), "invalid_token", unknownKey},
		{"no key id among several keys", "Bearer " + i.sign(t, "RS256", "rsa", map[string]any{"kid": ""}, i.claims(nil)), "invalid_token", "the token does not name its key"},
		{"somebody else's key under a known id", "Bearer " + sign(t, ecKey(t), "ES256", "ec", nil, i.claims(nil)), "invalid_token", badSignature},
		{"key brought along in the header", "Bearer " + i.embedded(t), "invalid_token", badSignature},
		{"tampered payload", "Bearer " + parts[0] + "." + encode(t, i.claims(map[string]any{"sub": "root"})) + "." + parts[2], "invalid_token", badSignature},
		{"tampered header", "Bearer " + encode(t, map[string]any{"alg": "ES256", "kid": "ec", "x": 1}) + "." + parts[1] + "." + parts[2], "invalid_token", badSignature},
		{"tampered signature", "Bearer " + parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2])), "invalid_token", badSignature},
		{"critical extension", "Bearer " + headed(map[string]any{"crit": []string{"x"}, "x": 1}), "invalid_token", extension},
		{"critical extension of the library's", "Bearer " + headed(map[string]any{"crit": []string{"b64"}, "b64": true}), "invalid_token", extension},
		{"unencoded payload", "Bearer " + headed(map[string]any{"b64": true}), "invalid_token", extension},
		{"typ of a logout token", "Bearer " + headed(map[string]any{"typ": "logout+jwt"}), "invalid_token", badType},
		{"typ is a number", "Bearer " + headed(map[string]any{"typ": 1}), "invalid_token", badType},
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
					t.Error("the store was asked")
				}
			}
		})
	}
	t.Run("duplicate Authorization headers", func(t *testing.T) {
		a := h.do(t, http.MethodGet, "/team", "Authorization", "Bearer "+good, "Authorization", "Bearer "+good)
		a.wantStatus(t, http.StatusUnauthorized).
			wantHeader(t, "WWW-Authenticate", challenge("invalid_request", "there is more than one Authorization header"))
	})
	t.Run("token in the query", func(t *testing.T) {
		h.do(t, http.MethodGet, "/team?access_token="+good).wantStatus(t, http.StatusUnauthorized)
	})
	t.Run("the log says why, the answer does not", func(t *testing.T) {
		a := h.do(t, http.MethodGet, "/team", "Authorization", "Bearer "+parts[0]+"."+parts[1]+"."+strings.Repeat("A", len(parts[2])))
		if strings.Contains(a.body+a.header.Get("WWW-Authenticate"), "jose") {
			t.Errorf("the client is told %s %v", a.body, a.header)
		}
		if last := h.log.String()[strings.LastIndex(strings.TrimSpace(h.log.String()), "\n"):]; !strings.Contains(last, "jose") {
			t.Errorf("the log says only %s", last)
		}
	})
}

// signRaw signs a payload as it stands.
func (i *issuer) signRaw(t *testing.T, payload string) string {
	t.Helper()
	return sign(t, i.private["ec"], "ES256", "ec", nil, nil, payload)
}

// weak signs with a key that the Go of today would not sign with, so the signature is not one.
func (i *issuer) weak(t *testing.T) string {
	t.Helper()
	return encode(t, map[string]any{"alg": "RS256", "kid": "weak"}) + "." + encode(t, i.claims(nil)) + "." + strings.Repeat("A", 171)
}

// embedded names a known key, but brings the one that it is signed with.
func (i *issuer) embedded(t *testing.T) string {
	t.Helper()
	other := ecKey(t)
	return sign(t, other, "ES256", "ec", map[string]any{"jwk": publicJWK(other)}, i.claims(nil))
}

// publicJWK gives the public half as members of a JWK.
func publicJWK(key crypto.Signer) map[string]any {
	i := &issuer{private: map[string]crypto.Signer{}}
	i.add(new(testing.T), "", key, nil)
	jwk := maps.Clone(i.published[0].(map[string]any))
	delete(jwk, "kid")
	return jwk
}
