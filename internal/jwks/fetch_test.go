package jwks_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/internal/jwks"
	"github.com/flavorless/flavorless/internal/jwks/jwkstest"
)

func TestInvalidResponsesKeepKeys(t *testing.T) {
	blanks := bytes.Repeat([]byte(" "), 256<<10)
	for name, respond := range map[string]jwkstest.Responder{
		"garbage":              body([]byte("<html>sorry</html>")),
		"nothing":              body(nil),
		"truncated":            body([]byte(`{"keys":[{"kty":"EC"`)),
		"no keys":              body([]byte(`{"keys":[]}`)),
		"another document":     body([]byte(`{"issuer":"https://issuer.example"}`)),
		"only unusable keys":   body([]byte(`{"keys":[{"kty":"oct","kid":"a","k":"c2VjcmV0"}]}`)),
		"too many keys":        body([]byte(`{"keys":[` + strings.Repeat(`{},`, 100) + `{}]}`)),
		"too large, malformed": body(append([]byte(`{"keys":[`), blanks...)),
		"too large, valid": func(_ *http.Request, keys []byte) (*http.Response, error) {
			return jwkstest.OK(append(keys, blanks...)), nil
		},
		"not 200":      status(http.StatusNotFound),
		"server error": status(http.StatusInternalServerError),
		"down":         jwkstest.Down,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				remote := &issuer{}
				remote.Publish(ecKey(t, "a"))
				var fetches []error
				set := newSet(t, remote, func(c *jwks.Config) {
					c.Observe = func(err error) { fetches = append(fetches, err) }
				})
				wantKey(t, set, "a", "ES256", nil)
				remote.RespondWith(respond)
				time.Sleep(time.Hour)
				wantKey(t, set, "a", "ES256", nil)
				synctest.Wait()
				wantKey(t, set, "a", "ES256", nil)
				if len(fetches) != 2 || fetches[0] != nil || fetches[1] == nil {
					t.Errorf("fetches = %+v, want a success and a failure", fetches)
				}
			})
		})
	}
}

func TestUnusableKeysAreSkipped(t *testing.T) {
	rsaKey := func(bits int) any { return jwkstest.RSAKey(t, bits).Public() }
	ec := func(curve elliptic.Curve) any {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key.Public()
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	// with returns the JWK of a key with more members.
	with := func(key any, more map[string]any) any {
		members := jwkstest.JWK(t, "", key)
		maps.Copy(members, more)
		return members
	}
	p256 := ec(elliptic.P256())
	weak := &rsa.PublicKey{N: rsaKey(2048).(*rsa.PublicKey).N, E: 65537}
	weak.N.Rsh(weak.N, 1)
	heavy := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 8192, 1), E: 65537}

	tests := []struct {
		name string
		key  any
		algs string // that it supports
	}{
		{"RSA", with(rsaKey(2048), nil), "RS256 RS384 RS512 PS256 PS384 PS512"},
		{"RSA for one algorithm", with(rsaKey(2048), map[string]any{"alg": "RS256"}), "RS256"},
		{"RSA one bit too short", with(weak, nil), ""},
		{"RSA one bit too long", with(heavy, nil), ""},
		{"P-256", with(p256, nil), "ES256"},
		{"P-384", with(ec(elliptic.P384()), nil), "ES384"},
		{"P-521", with(ec(elliptic.P521()), nil), "ES512"},
		{"Ed25519", with(ed, nil), "EdDSA"},
		{"use sig", with(p256, map[string]any{"use": "sig"}), "ES256"},
		{"use enc", with(p256, map[string]any{"use": "enc"}), ""},
		{"key_ops verify", with(p256, map[string]any{"key_ops": []string{"verify"}}), "ES256"},
		{"key_ops sign", with(p256, map[string]any{"key_ops": []string{"sign"}}), ""},
		{"key_ops none", with(p256, map[string]any{"key_ops": []string{}}), ""},
		{"alg of another key type", with(p256, map[string]any{"alg": "RS256"}), ""},
		{"alg HS256", with(p256, map[string]any{"alg": "HS256"}), ""},
		{"private", with(private, nil), ""},
		{"symmetric", map[string]any{"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}, ""},
		{"unknown type", map[string]any{"kty": "XYZ"}, ""},
		{"unknown curve", map[string]any{"kty": "EC", "crv": "P-1", "x": "AA", "y": "AA"}, ""},
		{"point off the curve", with(p256, map[string]any{"x": strings.Repeat("A", 43)}), ""},
		{"not an object", "key", ""},
		{"number as id", with(p256, map[string]any{"use": 1}), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if members, ok := test.key.(map[string]any); ok {
				members["kid"] = "tested"
			}
			remote := &issuer{}
			remote.Publish(test.key, ecKey(t, "other"))
			set := newSet(t, remote, nil)
			wantKey(t, set, "other", "ES256", nil)
			got := []string{}
			const all = "none HS256 HS384 HS512 RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA"
			for _, alg := range strings.Fields(all) {
				if _, err := set.Key(context.Background(), "tested", alg); err == nil {
					got = append(got, alg)
				}
			}
			if diff := cmp.Diff(strings.Fields(test.algs), got); diff != "" {
				t.Errorf("algorithms (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoKeyID(t *testing.T) {
	t.Run("the only key that supports the algorithm is used", func(t *testing.T) {
		remote := &issuer{}
		ed, _, _ := ed25519.GenerateKey(rand.Reader)
		remote.Publish(ecKey(t, "a"), jose.JSONWebKey{Key: ed, KeyID: "b"})
		wantKey(t, newSet(t, remote, nil), "", "ES256", nil)
	})
	t.Run("several keys are ambiguous", func(t *testing.T) {
		remote := &issuer{}
		remote.Publish(ecKey(t, "a"), ecKey(t, "b"))
		wantKey(t, newSet(t, remote, nil), "", "ES256", jwks.ErrAmbiguous)
	})
	t.Run("no key supports the algorithm", func(t *testing.T) {
		remote := &issuer{}
		remote.Publish(ecKey(t, "a"))
		wantKey(t, newSet(t, remote, nil), "", "RS256", jwks.ErrUnknownKey)
	})
	t.Run("a key without id has no id", func(t *testing.T) {
		remote := &issuer{}
		remote.Publish(ecKey(t, ""))
		wantKey(t, newSet(t, remote, nil), "a", "ES256", jwks.ErrUnknownKey)
	})
}

func TestURI(t *testing.T) {
	for uri, ok := range map[string]bool{
		"https://issuer.example/keys":       true,
		"http://127.0.0.1:8080/keys":        true,
		"http://[::1]/keys":                 true,
		"http://localhost:1/keys":           true,
		"http://issuer.example/keys":        false,
		"http://localhost.example/keys":     false,
		"http://10.0.0.1/keys":              false,
		"ftp://issuer.example/keys":         false,
		"file:///etc/keys":                  false,
		"/keys":                             false,
		"":                                  false,
		"https://user:pw@issuer.example/":   false,
		"https://issuer.example/%zz":        false,
		"http://127.0.0.1.issuer.example/k": false,
	} {
		t.Run(uri, func(t *testing.T) {
			if _, err := jwks.New(jwks.Config{URI: uri}); (err == nil) != ok {
				t.Errorf("New(%q) = %v, want an error: %t", uri, err, !ok)
			}
		})
	}
}

func TestRedirects(t *testing.T) {
	body, err := json.Marshal(map[string]any{"keys": []any{ecKey(t, "a")}})
	if err != nil {
		t.Fatal(err)
	}
	serve := func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(body) }
	plain := httptest.NewServer(http.HandlerFunc(serve))
	defer plain.Close()
	target, requests := "", 0
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		if r.URL.Path == "/keys" {
			serve(w, r)
			return
		}
		http.Redirect(w, r, target, http.StatusFound)
	}))
	defer secure.Close()

	for _, test := range []struct {
		name, target string
		want         error
	}{
		{"to https is followed", secure.URL + "/keys", nil},
		{"to http is refused", plain.URL, jwks.ErrUnavailable},
		{"in a loop is refused", "/again", jwks.ErrUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			target, requests = test.target, 0
			set, err := jwks.New(jwks.Config{URI: secure.URL, Client: secure.Client()})
			if err != nil {
				t.Fatal(err)
			}
			wantKey(t, set, "a", "ES256", test.want)
			if requests > 4 {
				t.Errorf("got %d requests, want at most 4", requests)
			}
		})
	}
}

// FuzzKeySet checks that a Set accepts any response, and returns only keys that support the algorithm.
func FuzzKeySet(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","kid":"a","x":"AA","y":"AA"},{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AA"},{"kty":"EC","x5c":["AA"]},null,1]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		remote := &issuer{}
		remote.RespondWith(body(text))
		set := newSet(t, remote, nil)
		for _, alg := range []string{"ES256", "RS256", "EdDSA", "HS256", "none"} {
			key, err := set.Key(context.Background(), "", alg)
			if err == nil && (!key.Supports(alg) || alg == "HS256" || alg == "none") {
				t.Errorf("Key(%s) = %+v, want none or one that supports it", alg, key)
			}
		}
	})
}
