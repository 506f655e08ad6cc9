package api_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/internal/jwks"
)

const (
	issuerName = "https://issuer.example/"
	audience   = "flavorless"
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

// issuer signs tokens and publishes its keys. It is the http.RoundTripper of the key set's client.
type issuer struct {
	clock *clock

	mu        sync.Mutex
	private   map[string]crypto.Signer
	published []any // JWKs
	respond   func(keys []byte) (*http.Response, error)
	requests  int
}

// newIssuer returns an issuer with an RSA key "rsa", a P-256 key "ec" and an Ed25519 key "ed".
func newIssuer(t testing.TB, clock *clock) *issuer {
	t.Helper()
	i := &issuer{clock: clock, private: map[string]crypto.Signer{}}
	key, err := sharedRSA()
	if err != nil {
		t.Fatal(err)
	}
	i.add(t, "rsa", key, nil)
	i.add(t, "ec", ecKey(t), nil)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i.add(t, "ed", ed, nil)
	return i
}

// sharedRSA returns the RSA key of all issuers, because generating one takes a tenth of a second.
var sharedRSA = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func rsaKey(t testing.TB, bits int) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func ecKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// add publishes a key. Members are added to its JWK.
func (i *issuer) add(t testing.TB, id string, key crypto.Signer, members map[string]any) {
	t.Helper()
	body, err := jose.JSONWebKey{Key: key.Public(), KeyID: id}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	jwk := map[string]any{}
	if err := json.Unmarshal(body, &jwk); err != nil {
		t.Fatal(err)
	}
	maps.Copy(jwk, members)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.private[id] = key
	i.published = append(i.published, jwk)
}

// respondWith sets how the issuer responds to requests for its keys. If respond is nil, it responds with the keys.
func (i *issuer) respondWith(respond func(keys []byte) (*http.Response, error)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.respond = respond
}

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.requests
}

// RoundTrip implements http.RoundTripper.
func (i *issuer) RoundTrip(*http.Request) (*http.Response, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.requests++
	keys, err := json.Marshal(map[string]any{"keys": i.published})
	if err != nil {
		return nil, err
	}
	if i.respond != nil {
		return i.respond(keys)
	}
	return ok(keys), nil
}

func ok(body []byte) *http.Response {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body))}
}

func down([]byte) (*http.Response, error) {
	return nil, errors.New("dial tcp 192.0.2.1:443: connection refused")
}

// claims returns the claims of a valid token with changes. A nil value removes a claim.
func (i *issuer) claims(changes map[string]any) map[string]any {
	now := i.clock.Now()
	claims := map[string]any{
		"iss": issuerName, "aud": audience, "sub": "liz", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}

// sign returns a token that is signed with the key of that id. Header is added to the JOSE header.
func (i *issuer) sign(t testing.TB, alg, id string, header, claims map[string]any) string {
	t.Helper()
	i.mu.Lock()
	key := i.private[id]
	i.mu.Unlock()
	return sign(t, key, alg, id, header, claims)
}

// sign returns a token with these claims, or with the raw payload if there is one.
func sign(t testing.TB, key any, alg, id string, header, claims map[string]any, raw ...string) string {
	t.Helper()
	options := new(jose.SignerOptions)
	if id != "" {
		options.WithHeader("kid", id)
	}
	for name, value := range header {
		options.WithHeader(jose.HeaderKey(name), value)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > 0 {
		payload = []byte(raw[0])
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

// bearer returns the Authorization header of a valid token.
func (i *issuer) bearer(t testing.TB) string {
	t.Helper()
	return "Bearer " + i.sign(t, "ES256", "ec", nil, i.claims(nil))
}

// encode returns v as a part of a token.
func encode(t testing.TB, v any) string {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(body)
}

// newVerifier returns a verifier that accepts the issuer's tokens.
func (i *issuer) newVerifier(t testing.TB, change func(*api.VerifierConfig)) *api.Verifier {
	t.Helper()
	keys, err := jwks.New(jwks.Config{
		URI: issuerName + "keys", Client: &http.Client{Transport: i}, Clock: i.clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	config := api.VerifierConfig{Issuer: issuerName, Audience: audience, Keys: keys, Clock: i.clock.Now}
	if change != nil {
		change(&config)
	}
	verifier, err := api.NewVerifier(config)
	if err != nil {
		t.Fatal(err)
	}
	return verifier
}
