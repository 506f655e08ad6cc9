package jwks

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Limits of the size of RSA keys, in bits. RFC 7518 section 3.3 requires 2048 or more. Above the maximum, verifying a
// signature would cost more than the rest of the request.
const (
	minRSA = 2048
	maxRSA = 8192
)

// Key is a public key that verifies signatures.
type Key struct {
	ID     string           // may be empty
	Public crypto.PublicKey // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey

	algorithm string // the only algorithm of the key; may be empty
}

// Supports reports whether the key may verify signatures of a JWS algorithm. The header of a token must not decide that
// alone (RFC 8725 sections 2.1 and 3.1).
func (k Key) Supports(alg string) bool {
	if k.algorithm != "" && k.algorithm != alg {
		return false
	}
	switch jose.SignatureAlgorithm(alg) {
	case jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512:
		_, ok := k.Public.(*rsa.PublicKey)
		return ok
	case jose.ES256:
		return onCurve(k.Public, elliptic.P256())
	case jose.ES384:
		return onCurve(k.Public, elliptic.P384())
	case jose.ES512:
		return onCurve(k.Public, elliptic.P521())
	case jose.EdDSA:
		_, ok := k.Public.(ed25519.PublicKey)
		return ok
	}
	return false
}

func onCurve(public crypto.PublicKey, curve elliptic.Curve) bool {
	key, ok := public.(*ecdsa.PublicKey)
	return ok && key.Curve == curve
}

// parse decodes a key set. It skips keys that can't verify signatures, as RFC 7517 section 5 recommends, and returns
// the reasons in skipped.
func parse(body []byte) (keys []Key, skipped []error, err error) {
	var set struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, nil, fmt.Errorf("parsing the key set: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, nil, fmt.Errorf("the key set has %d keys, want at most %d", len(set.Keys), maxKeys)
	}
	for i, raw := range set.Keys {
		key, err := parseKey(raw)
		if err != nil {
			skipped = append(skipped, fmt.Errorf("key %d: %w", i, err))
			continue
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, skipped, fmt.Errorf("none of the %d keys in the set is usable", len(set.Keys))
	}
	return keys, skipped, nil
}

func parseKey(raw jsontext.Value) (Key, error) {
	var form struct {
		Use        string         `json:"use"`
		Operations []string       `json:"key_ops"`
		Private    jsontext.Value `json:"d"`
		Symmetric  jsontext.Value `json:"k"`
	}
	if err := json.Unmarshal(raw, &form); err != nil {
		return Key{}, err
	}
	switch {
	case form.Private != nil || form.Symmetric != nil:
		return Key{}, errors.New("it is a secret key that the issuer published")
	case form.Use != "" && form.Use != "sig":
		return Key{}, fmt.Errorf("its use is %q, want sig", form.Use)
	case form.Operations != nil && !slices.Contains(form.Operations, "verify"):
		return Key{}, fmt.Errorf("its operations are %q, want verify", form.Operations)
	}
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(raw); err != nil {
		return Key{}, err
	}
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); bits < minRSA || bits > maxRSA {
			return Key{}, fmt.Errorf("it is an RSA key of %d bits, want %d to %d", bits, minRSA, maxRSA)
		}
	case *ecdsa.PublicKey, ed25519.PublicKey:
	default:
		return Key{}, fmt.Errorf("its type %T is not supported", key.Key)
	}
	return Key{ID: key.KeyID, Public: key.Key, algorithm: key.Algorithm}, nil
}
