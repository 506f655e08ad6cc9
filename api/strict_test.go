package api_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/flavorless/flavorless/internal/jwks/jwkstest"
)

// refusal is a row of TestRefusals: an Authorization header, and the code and description in the challenge.
type refusal struct{ name, header, code, description string }

// claimsJSON has valid claims at the time of newClock. Its length leaves spare bits in base64url.
const claimsJSON = `{"iss":"https://issuer.example/","aud":"flavorless","sub":"liz","exp":1795424400}  `

// signES256 appends a signature to the first two parts of a token, which may be malformed.
func (i *issuer) signES256(t testing.TB, signed string) string {
	t.Helper()
	hasher := crypto.SHA256.New()
	hasher.Write([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, i.Key("ec").(*ecdsa.PrivateKey), hasher.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return "Bearer " + signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// signText signs a header and claims without changing them.
func (i *issuer) signText(t testing.TB, header, claims string) string {
	t.Helper()
	return i.signES256(t, encodeText(header)+"."+encodeText(claims))
}

func encodeText(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// withMember signs a header with one more member, which is JSON.
func (i *issuer) withMember(t testing.TB, member string) string {
	t.Helper()
	return i.signText(t, `{"alg":"ES256","kid":"ec",`+member+`}`, claimsJSON)
}

// withClaim signs valid claims with one replaced or added, which is JSON.
func (i *issuer) withClaim(t testing.TB, claim string) string {
	t.Helper()
	name, _, _ := strings.Cut(claim, ":")
	members := []string{claim}
	for good := range strings.SplitSeq(strings.Trim(claimsJSON, "{} "), ",") {
		if !strings.HasPrefix(good, name+":") {
			members = append(members, good)
		}
	}
	return i.signText(t, `{"alg":"ES256","kid":"ec"}`, "{"+strings.Join(members, ",")+"}")
}

// signPSS signs with a salt of that length, in bytes.
func (i *issuer) signPSS(t testing.TB, alg string, hash crypto.Hash, salt int) string {
	t.Helper()
	signed := jwkstest.Encode(t, map[string]any{"alg": alg, "kid": "rsa"}) + "." + encodeText(claimsJSON)
	hasher := hash.New()
	hasher.Write([]byte(signed))
	key, options := i.Key("rsa").(*rsa.PrivateKey), &rsa.PSSOptions{SaltLength: salt}
	signature, err := rsa.SignPSS(rand.Reader, key, hash, hasher.Sum(nil), options)
	if err != nil {
		t.Fatal(err)
	}
	return "Bearer " + signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// nextLetter changes the spare bits in the last character of a base64url text, which decodes to the same bytes.
func nextLetter(text string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(text) - 1
	return text[:last] + alphabet[strings.IndexByte(alphabet, text[last])+1:][:1]
}

// strictRefusals returns tokens whose signature is valid, or would be valid for a lenient decoder.
func (i *issuer) strictRefusals(t testing.TB) []refusal {
	t.Helper()
	const (
		malformedHeader = "the Authorization header is malformed"
		notJWT          = "the token is not a signed JWT"
		extension       = "the token needs an extension that is not supported"
		badType         = "the token is not an access token"
		badSignature    = "the token's signature is invalid"
	)
	good := i.signText(t, `{"alg":"ES256","kid":"ec"}  `, claimsJSON) // with spare bits in each part
	parts := strings.Split(strings.TrimPrefix(good, "Bearer "), ".")
	var all []refusal
	add := func(description, name, header string) {
		code := "invalid_token"
		if description == malformedHeader {
			code = "invalid_request"
		}
		all = append(all, refusal{"strict: " + name, header, code, description})
	}

	for _, member := range []string{
		`"crit":null`, `"crit":[]`, `"crit":""`, `"crit":{}`, `"crit":["b64"]`, `"b64":null`, `"b64":true`,
		`"b64":false`, `"b64":""`,
		`"zip":null`, `"zip":"DEF"`,
	} {
		add(extension, member, i.withMember(t, member))
	}
	for _, member := range []string{`"typ":null`, `"typ":[]`, `"typ":["JWT"]`, `"typ":""`, `"typ":true`} {
		add(badType, member, i.withMember(t, member))
	}
	for _, header := range []string{
		`{"alg":"ES256","kid":null}`, `{"alg":"ES256","kid":1}`, `{"alg":"ES256","kid":["ec"]}`, `{"alg":null,"kid":"ec"}`,
		`{"alg":["ES256"],"kid":"ec"}`, `{"alg":"ES256","alg":"ES256","kid":"ec"}`, `{"alg":"ES256","kid":"ec","x":1,"x":1}`,
		`{"alg":"ES256","kid":"ec","\u006bid":"ec"}`, `{"alg":"ES256","kid":"ec","x":{"y":1,"y":1}}`,
		`{"alg":"ES256","kid":"ec"}x`,
		`{"alg":"ES256","kid":"ec"}{}`, `{"alg":"ES256","kid":"ec"}` + "\x00", `{"alg":"ES256","kid":"ec",}`,
		`[{"alg":"ES256","kid":"ec"}]`,
		`null`, `{"alg":"ES256","kid":"ec","x":"` + "\xff" + `"}`, `{"alg":"ES256","kid":"ec","x":"\ud800"}`,
		`{"alg":"ES256","kid":"ec","\udc00":1}`, "\ufeff" + `{"alg":"ES256","kid":"ec"}`,
	} {
		add(notJWT, fmt.Sprintf("header %q", header), i.signText(t, header, claimsJSON))
	}
	for _, claim := range []string{
		`"exp":null`, `"exp":"1795424400"`, `"exp":"NaN"`, `"exp":NaN`, `"exp":1e400`, `"exp":-1`,
		`"exp":[1795424400]`, `"exp":true`,
		`"nbf":null`, `"nbf":"0"`, `"nbf":false`, `"nbf":-1`, `"nbf":1e400`, `"iat":null`, `"iat":"0"`, `"iat":{}`,
		`"iat":-1`,
		`"aud":null`, `"aud":1`, `"aud":{"flavorless":1}`, `"aud":["flavorless",1]`, `"aud":["flavorless",null]`,
		`"aud":[["flavorless"]]`,
		`"iss":null`, `"iss":1`, `"iss":["https://issuer.example/"]`, `"sub":null`, `"sub":["liz"]`,
		`"scope":null`, `"scope":1`, `"scope":{}`, `"scope":["a",null]`, `"scp":null`, `"scp":true`,
		`"x":1,"x":1`, `"x":{"y":1,"y":1}`, `"x":"` + "\xff" + `"`, `"x":"\ud800"`, `"x":"\udc00\ud800"`, `"\ud800":1`,
	} {
		add("the token's claims are malformed", "claim "+fmt.Sprintf("%q", claim), i.withClaim(t, claim))
	}
	for name, claims := range map[string]string{
		"none": "", "null": "null", "followed by text": claimsJSON + "x", "followed by claims": claimsJSON + "{}",
	} {
		add("the token's claims are malformed", "claims: "+name, i.signText(t, `{"alg":"ES256","kid":"ec"}`, claims))
	}

	add(notJWT, "spare bits in the header", i.signES256(t, nextLetter(parts[0])+"."+parts[1]))
	add(notJWT, "spare bits in the claims", i.signES256(t, parts[0]+"."+nextLetter(parts[1])))
	add(notJWT, "spare bits in the signature", nextLetter(good))
	for n, part := range []string{"header", "claims", "signature"} {
		for name, change := range map[string]func(string) string{
			"padding":           func(s string) string { return s + "=" },
			"a line break":      func(s string) string { return s[:4] + "\n" + s[4:] },
			"standard alphabet": func(s string) string { return s[:4] + "+/" + s[4:] },
		} {
			changed := append([]string{}, parts...)
			changed[n] = change(parts[n])
			add(malformedHeader, name+" in the "+part, "Bearer "+strings.Join(changed, "."))
		}
		changed := append([]string{}, parts...)
		changed[n] = ""
		add([]string{notJWT, badSignature, badSignature}[n], "empty "+part, "Bearer "+strings.Join(changed, "."))
	}
	add(notJWT, "only dots", "Bearer ..")
	add(malformedHeader, "a space after the token", good+" ")
	add(malformedHeader, "a tab before the token", "Bearer \t"+strings.TrimPrefix(good, "Bearer "))
	add(malformedHeader, "JSON serialization",
		fmt.Sprintf(`Bearer {"protected":"%s","payload":"%s","signature":"%s"}`, parts[0], parts[1], parts[2]))
	add(notJWT, "JSON serialization as one part",
		"Bearer "+jwkstest.Encode(t, map[string]any{"protected": parts[0], "payload": parts[1], "signature": parts[2]}))

	for alg, hash := range map[string]crypto.Hash{"PS256": crypto.SHA256, "PS384": crypto.SHA384, "PS512": crypto.SHA512} {
		for _, salt := range []int{1, hash.Size() - 1, hash.Size() + 1} {
			add(badSignature, fmt.Sprintf("%s with a salt of %d bytes", alg, salt), i.signPSS(t, alg, hash, salt))
		}
	}
	return all
}

// TestStrictAccepted checks that the signing functions of strictRefusals return valid tokens if the header and the
// claims are valid, and that keys in the header have no effect.
func TestStrictAccepted(t *testing.T) {
	i := newIssuer(t, newClock())
	verifier := i.newVerifier(t, nil)
	other := jwkstest.Encode(t, jwkstest.JWK(t, "", jwkstest.ECKey(t).Public()))
	jwk, err := base64.RawURLEncoding.DecodeString(other)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{
		"valid header and claims": i.signText(t, `{"alg":"ES256","kid":"ec"} `, claimsJSON),
		"a member more":           i.withMember(t, `"x":null`),
		"a claim more":            i.withClaim(t, `"x":"\ud83c\udf66"`),
		"an empty list of scopes": i.withClaim(t, `"scope":[]`),
		"jku":                     i.withMember(t, `"jku":"https://other.example/keys"`),
		"x5u":                     i.withMember(t, `"x5u":"https://other.example/certificate"`),
		"jwk":                     i.withMember(t, `"jwk":`+string(jwk)),
	}
	for alg, hash := range map[string]crypto.Hash{"PS256": crypto.SHA256, "PS384": crypto.SHA384, "PS512": crypto.SHA512} {
		tests[alg] = i.signPSS(t, alg, hash, hash.Size())
	}
	for name, header := range tests {
		t.Run(name, func(t *testing.T) {
			before := i.Requests()
			claims, err := verifier.Verify(context.Background(), header)
			if err != nil || claims.Subject != "liz" {
				t.Errorf("Verify = %+v, %v, want subject liz", claims, err)
			}
			if got := i.Requests() - before; got > 1 {
				t.Errorf("got %d requests for keys, want at most 1", got)
			}
		})
	}
}
