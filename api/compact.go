package api

import (
	"crypto"
	"crypto/rsa"
	_ "crypto/sha256" // crypto.SHA256 needs it
	_ "crypto/sha512" // crypto.SHA384 and crypto.SHA512 need it
	"encoding/base64"
	"errors"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// joseHeader holds the members of a JOSE header (RFC 7515 section 4) that decide how a token is verified.
// A member that is absent is empty. A [jsontext.Value] that is "null" is present.
type joseHeader struct {
	Algorithm   text           `json:"alg"`
	KeyID       text           `json:"kid"`
	Type        jsontext.Value `json:"typ"`
	Critical    jsontext.Value `json:"crit"`
	Unencoded   jsontext.Value `json:"b64"`
	Compression jsontext.Value `json:"zip"`
}

// Causes of AuthErrors, for the log. They replace the decoders' errors, which may quote the token.
var (
	errNotCompact  = errors.New("the token does not have the three parts of the JWS compact serialization")
	errNotBase64   = errors.New("a part of the token is not canonical base64url")
	errHeader      = errors.New("the header is not a JSON object with a valid alg and kid, or has a member twice")
	errNotAnObject = errors.New("not a JSON object")
	errNotText     = errors.New("not a string")
)

// parseCompact checks the encoding of a JWS in the compact serialization (RFC 7515 section 7.1) and returns its header.
// It runs before go-jose, which skips header members that are null and accepts base64url with non-zero trailing bits.
// Exactly one string encodes a given header, payload and signature.
func parseCompact(token string) (joseHeader, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return joseHeader{}, invalid(notSigned, errNotCompact)
	}
	decoded := make([][]byte, len(parts))
	for i, part := range parts {
		var err error
		decoded[i], err = base64.RawURLEncoding.DecodeString(part)
		// The comparison refuses non-zero trailing bits and line breaks, both of which the decoder skips.
		if err != nil || base64.RawURLEncoding.EncodeToString(decoded[i]) != part {
			return joseHeader{}, invalid(notSigned, errNotBase64)
		}
	}
	var header joseHeader
	if err := unmarshalObject(decoded[0], &header); err != nil {
		return joseHeader{}, invalid(notSigned, errHeader)
	}
	return header, header.check()
}

// check refuses header members that change what the token means.
func (h *joseHeader) check() error {
	// RFC 7515 section 4.1.11: a recipient must refuse critical extensions that it does not understand. This API
	// understands none, and an empty crit is malformed. RFC 7797 section 7: a JWT has no b64 member. RFC 7516 section
	// 4.1.3 defines zip for encrypted tokens only; in a signed one it announces claims that this API can't read.
	if h.Critical != nil || h.Unencoded != nil || h.Compression != nil {
		return invalid("the token needs an extension that is not supported", nil)
	}
	if h.Type == nil {
		return nil
	}
	// RFC 8725 section 3.11: typ keeps tokens made for other purposes, such as logout tokens, from passing as access
	// tokens. RFC 7515 section 4.1.9: typ ignores case, and "application/" may be left out.
	var typ text
	if err := json.Unmarshal(h.Type, &typ); err == nil {
		switch strings.TrimPrefix(strings.ToLower(string(typ)), "application/") {
		case "jwt", "at+jwt":
			return nil
		}
	}
	return invalid("the token is not an access token", nil)
}

// unmarshalObject decodes data, which must be one JSON object. It refuses duplicate names and invalid UTF-8, at any
// depth, and data after the object. [json.Unmarshal] alone accepts null.
func unmarshalObject(data []byte, into any) error {
	if jsontext.Value(data).Kind() != jsontext.KindBeginObject {
		return errNotAnObject
	}
	return json.Unmarshal(data, into)
}

// text is a JSON string. Decoding null into a plain string is no error, but leaves it empty.
type text string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (t *text) UnmarshalJSONFrom(in *jsontext.Decoder) error {
	if in.PeekKind() != jsontext.KindString {
		return errNotText
	}
	token, err := in.ReadToken()
	if err != nil {
		return err
	}
	*t = text(token.String())
	return nil
}

// verificationKey returns the key with which go-jose verifies a signature of that algorithm.
func verificationKey(public crypto.PublicKey, alg string) any {
	key, ok := public.(*rsa.PublicKey)
	if ok && strings.HasPrefix(alg, "PS") {
		return pssKey{key}
	}
	return public
}

// pssKey verifies RSASSA-PSS signatures whose salt is as long as the hash, as RFC 7518 section 3.5 requires. go-jose
// accepts any length.
type pssKey struct{ public *rsa.PublicKey }

// VerifyPayload implements jose.OpaqueVerifier.
func (k pssKey) VerifyPayload(payload, signature []byte, alg jose.SignatureAlgorithm) error {
	hashes := map[jose.SignatureAlgorithm]crypto.Hash{
		jose.PS256: crypto.SHA256, jose.PS384: crypto.SHA384, jose.PS512: crypto.SHA512,
	}
	hash, ok := hashes[alg]
	if !ok {
		return jose.ErrUnsupportedAlgorithm
	}
	hasher := hash.New()
	_, _ = hasher.Write(payload) // never fails
	options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
	return rsa.VerifyPSS(k.public, hash, hasher.Sum(nil), signature, options)
}
