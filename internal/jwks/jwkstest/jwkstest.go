// Package jwkstest has an issuer of tokens for tests.
package jwkstest

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
)

// Name and Audience are the claims iss and aud of the issuer's tokens.
const (
	Name     = "https://issuer.example/"
	Audience = "flavorless"
)

// Issuer signs tokens and publishes its keys. It is the [http.RoundTripper] of a key set's client, because
// [testing/synctest] can't wait for network connections. The zero value has no keys.
type Issuer struct {
	Clock func() time.Time // for Claims

	mu        sync.Mutex
	private   map[string]crypto.Signer
	published []any // JWKs
	respond   Responder
	requests  int
}

// Responder responds to a request for the key set, which is keys.
type Responder func(r *http.Request, keys []byte) (*http.Response, error)

// New returns an issuer with an RSA key "rsa", a P-256 key "ec" and an Ed25519 key "ed". All issuers have the same RSA
// key, because generating one takes a tenth of a second.
func New(t testing.TB, clock func() time.Time) *Issuer {
	t.Helper()
	i := &Issuer{Clock: clock}
	key, err := sharedRSA()
	if err != nil {
		t.Fatal(err)
	}
	i.Add(t, "rsa", key, nil)
	i.Add(t, "ec", ECKey(t), nil)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i.Add(t, "ed", ed, nil)
	return i
}

var sharedRSA = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// RSAKey returns a new RSA key.
func RSAKey(t testing.TB, bits int) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// ECKey returns a new P-256 key.
func ECKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// JWK returns the members of a key's JWK.
func JWK(t testing.TB, id string, key crypto.PublicKey) map[string]any {
	t.Helper()
	body, err := jose.JSONWebKey{Key: key, KeyID: id}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	jwk := map[string]any{}
	if err := json.Unmarshal(body, &jwk); err != nil {
		t.Fatal(err)
	}
	return jwk
}

// Add publishes a key. Members are added to its JWK.
func (i *Issuer) Add(t testing.TB, id string, key crypto.Signer, members map[string]any) {
	t.Helper()
	jwk := JWK(t, id, key.Public())
	maps.Copy(jwk, members)
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.private == nil {
		i.private = map[string]crypto.Signer{}
	}
	i.private[id] = key
	i.published = append(i.published, jwk)
}

// Publish replaces the key set. A key is any value that marshals to a JWK.
func (i *Issuer) Publish(keys ...any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.published = keys
}

// Key returns the private key that was added with that id.
func (i *Issuer) Key(id string) crypto.Signer {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.private[id]
}

// RespondWith sets how the issuer responds to requests for its keys. If respond is nil, it responds with the keys.
func (i *Issuer) RespondWith(respond Responder) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.respond = respond
}

// Requests returns how many requests for the keys there were.
func (i *Issuer) Requests() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.requests
}

// RoundTrip implements [http.RoundTripper].
func (i *Issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	i.requests++
	keys, err := json.Marshal(map[string]any{"keys": i.published})
	respond := i.respond
	i.mu.Unlock()
	switch {
	case err != nil:
		return nil, err
	case respond == nil:
		return OK(keys), nil
	}
	return respond(r, keys)
}

// OK returns a response with the status 200.
func OK(body []byte) *http.Response {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body))}
}

// Down is the [Responder] of an issuer that can't be reached.
func Down(*http.Request, []byte) (*http.Response, error) {
	return nil, errors.New("dial tcp 192.0.2.1:443: connection refused")
}

// Claims returns the claims of a valid token with changes. A nil value removes a claim.
func (i *Issuer) Claims(changes map[string]any) map[string]any {
	now := i.Clock()
	claims := map[string]any{
		"iss": Name, "aud": Audience, "sub": "liz", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}

// Sign returns a token that is signed with the key of that id. Header is added to the JOSE header.
func (i *Issuer) Sign(t testing.TB, alg, id string, header, claims map[string]any) string {
	t.Helper()
	return Sign(t, i.Key(id), alg, id, header, claims)
}

// Sign returns a token with these claims, or with the raw payload if there is one.
func Sign(t testing.TB, key any, alg, id string, header, claims map[string]any, raw ...string) string {
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

// Encode returns v as a part of a token.
func Encode(t testing.TB, v any) string {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(body)
}
