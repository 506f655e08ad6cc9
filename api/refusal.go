package api

import (
	"errors"
	"net/http"
	"strings"
)

// Codes of RFC 6750 section 3.1.
const (
	invalidRequest    = "invalid_request"
	invalidToken      = "invalid_token"
	insufficientScope = "insufficient_scope"
)

// AuthError is the error of a request whose token, or lack of one, does not permit it. Its texts are for whoever sent
// the request; Unwrap gives what is for the log alone.
type AuthError struct {
	Code        string // of RFC 6750 section 3.1; empty when there were no credentials
	Description string // for humans; fixed text, nothing of the token or of our configuration
	Scope       string // the one that is missing, with insufficient_scope

	cause error
}

func (r *AuthError) Error() string {
	if r.cause == nil {
		return r.Description
	}
	return r.Description + ": " + r.cause.Error()
}

// Unwrap gives the cause, which may hold internals.
func (r *AuthError) Unwrap() error { return r.cause }

// Status is 403 when the token is good but lacks the scope, otherwise 401. RFC 6750 would have 400 for a malformed
// request; it is 401 here, because that is all that the authorizer of API Gateway can say, and both homes of flavorless
// give the same statuses.
func (r *AuthError) Status() int {
	if r.Code == insufficientScope {
		return http.StatusForbidden
	}
	return http.StatusUnauthorized
}

// Challenge is the value of the WWW-Authenticate header (RFC 6750 section 3). Without any credentials it holds no
// error.
func (r *AuthError) Challenge() string {
	var b strings.Builder
	b.WriteString(`Bearer realm="flavorless"`)
	if r.Code != "" {
		b.WriteString(`, error="` + r.Code + `", error_description="` + r.Description + `"`)
	}
	if r.Scope != "" {
		b.WriteString(`, scope="` + r.Scope + `"`)
	}
	return b.String()
}

// AuthorizationResult puts the error of Verify into one word, for counting: allowed, unauthorized, forbidden, or
// unavailable if nothing could be said about the token.
func AuthorizationResult(err error) string {
	var refusal *AuthError
	switch {
	case err == nil:
		return "allowed"
	case !errors.As(err, &refusal):
		return "unavailable"
	case refusal.Status() == http.StatusForbidden:
		return "forbidden"
	}
	return "unauthorized"
}

// refuse makes the Refusal of a token that is not valid.
func refuse(description string, cause error) *AuthError {
	return &AuthError{Code: invalidToken, Description: description, cause: cause}
}
