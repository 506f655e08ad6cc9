package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/flavorless/flavorless/internal/jwks"
)

// ErrKeysUnavailable means that the token can't be checked because the issuer's keys are unavailable. Respond with
// 503, so that the client retries: its token may be valid.
var ErrKeysUnavailable = jwks.ErrUnavailable

// keySource is a *jwks.Set.
type keySource interface {
	Key(ctx context.Context, id, alg string) (jwks.Key, error)
}

// VerifierConfig defines which tokens are valid. Issuer, Audience and Keys are required.
type VerifierConfig struct {
	Issuer        string           // must equal "iss"
	Audience      string           // must be in "aud"
	Keys          keySource        // of the issuer: a *jwks.Set
	RequiredScope string           // must be one of the token's scopes; empty: no scope is required
	Clock         func() time.Time // default: time.Now
}

// Verifier checks access tokens: JWTs (RFC 7519) in the Authorization header (RFC 6750) that one issuer signed for one
// audience. It follows the best current practices of RFC 8725. It is safe for concurrent use.
type Verifier struct {
	config VerifierConfig
}

// MaxAuthorization is the maximum size of an Authorization header, in bytes. API Gateway limits all headers to 10,240.
const MaxAuthorization = 8 << 10

// Leeway is the tolerated difference between the issuer's clock and this one.
const Leeway = 30 * time.Second

// notSigned is the description of a token that is not a JWT in the JWS compact serialization.
const notSigned = "the token is not a signed JWT"

// algorithms returns the accepted signature algorithms. "none" and the symmetric algorithms are missing: with those,
// anyone who knows the public key could sign (RFC 8725 section 2.1).
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512,
		jose.PS256, jose.PS384, jose.PS512,
		jose.ES256, jose.ES384, jose.ES512,
		jose.EdDSA,
	}
}

// NewVerifier returns a Verifier. It fails if the configuration is invalid; in particular, it requires an issuer and an
// audience.
func NewVerifier(config VerifierConfig) (*Verifier, error) {
	switch {
	case config.Issuer == "":
		return nil, errors.New("configuring token verification: Issuer is required")
	case config.Audience == "":
		return nil, errors.New("configuring token verification: Audience is required")
	case config.Keys == nil:
		return nil, errors.New("configuring token verification: Keys is required")
	case !isScope(config.RequiredScope):
		return nil, fmt.Errorf("configuring token verification: RequiredScope %q is not one scope", config.RequiredScope)
	}
	if config.Clock == nil {
		config.Clock = time.Now
	}
	return &Verifier{config: config}, nil
}

// Verify checks the value of an Authorization header, which may be empty, and returns the claims of its token. It
// fails with an *AuthError, with ErrKeysUnavailable, or with the error of ctx if that ends while Verify waits for
// keys. If the token is valid but lacks the scope, Verify returns the claims with the error.
func (v *Verifier) Verify(ctx context.Context, authorization string) (Claims, error) {
	token, err := bearer(authorization)
	if err != nil {
		return Claims{}, err
	}
	payload, err := v.verifySignature(ctx, token)
	if err != nil {
		return Claims{}, err
	}
	// Claims are parsed last, because nothing in a token can be trusted before its signature is verified.
	claims, err := parseClaims(payload)
	if err != nil {
		return Claims{}, err
	}
	return claims.Claims, claims.check(&v.config)
}

// bearer returns the token in an Authorization header.
func bearer(authorization string) (string, error) {
	if len(authorization) > MaxAuthorization {
		return "", &AuthError{Code: invalidRequest, Description: "the Authorization header is too long"}
	}
	scheme, token, _ := strings.Cut(authorization, " ")
	// The scheme is case-insensitive (RFC 9110 section 11.1). Any other scheme counts as no credentials (RFC 6750 section
	// 3.1).
	if !strings.EqualFold(scheme, "Bearer") {
		return "", &AuthError{Description: "a bearer token is required"}
	}
	// RFC 9110 section 11.4 allows several spaces before the token and no white space after it.
	token = strings.TrimLeft(token, " ")
	if token == "" {
		return "", &AuthError{Code: invalidRequest, Description: "the bearer token is missing"}
	}
	for _, c := range []byte(token) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return "", &AuthError{Code: invalidRequest, Description: "the Authorization header is malformed"}
		}
	}
	return token, nil
}

// verifySignature verifies the token's signature and returns its payload.
func (v *Verifier) verifySignature(ctx context.Context, token string) ([]byte, error) {
	header, err := parseCompact(token)
	if err != nil {
		return nil, err
	}
	signed, err := jose.ParseSignedCompact(token, algorithms())
	if err != nil {
		if unexpected := new(jose.ErrUnexpectedSignatureAlgorithm); errors.As(err, &unexpected) {
			return nil, invalid("the token is signed with an algorithm that is not accepted", err)
		}
		return nil, invalid(notSigned, err)
	}
	key, err := v.config.Keys.Key(ctx, string(header.KeyID), string(header.Algorithm))
	switch {
	case errors.Is(err, jwks.ErrUnknownKey):
		return nil, invalid("the token is signed with an unknown key", err)
	case errors.Is(err, jwks.ErrAlgorithmMismatch):
		return nil, invalid("the token's algorithm does not match its key", err)
	case errors.Is(err, jwks.ErrAmbiguous):
		return nil, invalid("the token does not name its key", err)
	case err != nil:
		return nil, err
	}
	payload, err := signed.Verify(verificationKey(key.Public, string(header.Algorithm)))
	if err != nil {
		return nil, invalid("the token's signature is invalid", err)
	}
	return payload, nil
}

// isScope reports whether s is empty or a scope-token of RFC 6749 section 3.3.
func isScope(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
