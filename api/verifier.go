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

// ErrKeysUnavailable: nothing can be said about the token, because the keys of its issuer can't be had. Answer 503 and
// let the client try again: its token may be a good one.
var ErrKeysUnavailable = jwks.ErrUnavailable

// keySource is where a Verifier has its keys from: a jwks.Set.
type keySource interface {
	Key(ctx context.Context, id, alg string) (jwks.Key, error)
}

// VerifierConfig says which tokens are good.
type VerifierConfig struct {
	Issuer        string           // must equal "iss"
	Audience      string           // must be, or be among, "aud"
	Keys          keySource        // of the issuer: a *jwks.Set
	RequiredScope string           // must be among the scopes of the token; empty: none is asked for
	Leeway        time.Duration    // how far the issuer's clock may be off; default 30 s, at most 5 min
	Clock         func() time.Time // default: time.Now
}

// Verifier checks access tokens: JWTs (RFC 7519) in the Authorization header (RFC 6750), signed by the one issuer for
// the one audience. It follows the best current practices of RFC 8725. It is safe for concurrent use.
type Verifier struct {
	config VerifierConfig
}

// MaxAuthorization is how long an Authorization header may be, in bytes. API Gateway's limit for all headers is 10,240.
const MaxAuthorization = 8 << 10

const (
	defaultLeeway = 30 * time.Second
	maxLeeway     = 5 * time.Minute
)

// notSigned is the description of a token that is not a JWT in the JWS compact serialization.
const notSigned = "the token is not a signed JWT"

// algorithms is the allow-list. "none" and the symmetric algorithms are not on it: with those, whoever knows the public
// key could sign (RFC 8725 section 2.1).
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512,
		jose.PS256, jose.PS384, jose.PS512,
		jose.ES256, jose.ES384, jose.ES512,
		jose.EdDSA,
	}
}

// NewVerifier refuses a configuration under which any token of any issuer might pass.
func NewVerifier(config VerifierConfig) (*Verifier, error) {
	switch {
	case config.Issuer == "":
		return nil, errors.New("verifying tokens: the issuer is missing")
	case config.Audience == "":
		return nil, errors.New("verifying tokens: the audience is missing")
	case config.Keys == nil:
		return nil, errors.New("verifying tokens: the keys are missing")
	case !isScope(config.RequiredScope):
		return nil, fmt.Errorf("verifying tokens: %q is not a scope", config.RequiredScope)
	case config.Leeway < 0 || config.Leeway > maxLeeway:
		return nil, fmt.Errorf("verifying tokens: a leeway of %s; 0 to %s are accepted", config.Leeway, maxLeeway)
	}
	if config.Leeway == 0 {
		config.Leeway = defaultLeeway
	}
	if config.Clock == nil {
		config.Clock = time.Now
	}
	return &Verifier{config: config}, nil
}

// Verify checks the value of an Authorization header, empty if there was none, and returns the claims of its token.
// It fails with a *Refusal, with ErrKeysUnavailable, or with the error of ctx if that ends while it waits for keys.
func (v *Verifier) Verify(ctx context.Context, authorization string) (Claims, error) {
	token, err := bearer(authorization)
	if err != nil {
		return Claims{}, err
	}
	payload, err := v.open(ctx, token)
	if err != nil {
		return Claims{}, err
	}
	// The claims come last: of what is not signed nothing is believed, and nothing told.
	claims, err := parseClaims(payload)
	if err != nil {
		return Claims{}, err
	}
	return claims.Claims, claims.check(&v.config)
}

// bearer takes the token out of an Authorization header.
func bearer(authorization string) (string, error) {
	if len(authorization) > MaxAuthorization {
		return "", &AuthError{Code: invalidRequest, Description: "the Authorization header is too long"}
	}
	scheme, token, _ := strings.Cut(authorization, " ")
	// The scheme is case-insensitive: RFC 9110 section 11.1. Another one counts as no credentials: RFC 6750 section 3.1.
	if !strings.EqualFold(scheme, "Bearer") {
		return "", &AuthError{Description: "a bearer token is required"}
	}
	// RFC 9110 section 11.4 allows several spaces before the token and no white space after it.
	token = strings.TrimLeft(token, " ")
	for _, c := range []byte(token) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return "", &AuthError{Code: invalidRequest, Description: "the Authorization header is malformed"}
		}
	}
	return token, nil
}

// open checks the signature and returns what was signed.
func (v *Verifier) open(ctx context.Context, token string) ([]byte, error) {
	header, err := parseCompact(token)
	if err != nil {
		return nil, err
	}
	signed, err := jose.ParseSignedCompact(token, algorithms())
	if err != nil {
		if unexpected := new(jose.ErrUnexpectedSignatureAlgorithm); errors.As(err, &unexpected) {
			return nil, refuse("the token is signed with an algorithm that is not accepted", err)
		}
		return nil, refuse(notSigned, err)
	}
	key, err := v.config.Keys.Key(ctx, string(header.KeyID), string(header.Algorithm))
	switch {
	case errors.Is(err, jwks.ErrUnknownKey):
		return nil, refuse("the token is signed with an unknown key", err)
	case errors.Is(err, jwks.ErrAlgorithmMismatch):
		return nil, refuse("the token's algorithm does not match its key", err)
	case errors.Is(err, jwks.ErrAmbiguous):
		return nil, refuse("the token does not name its key", err)
	case err != nil:
		return nil, err
	}
	payload, err := signed.Verify(verificationKey(key.Public, string(header.Algorithm)))
	if err != nil {
		return nil, refuse("the token's signature is wrong", err)
	}
	return payload, nil
}

// isScope tells whether s is a scope-token of RFC 6749 section 3.3, or empty.
func isScope(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
