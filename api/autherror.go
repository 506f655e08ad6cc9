package api

import (
	"errors"
	"net/http"
	"strings"
)

// Error codes of RFC 6750 section 3.1.
const (
	invalidRequest    = "invalid_request"
	invalidToken      = "invalid_token"
	insufficientScope = "insufficient_scope"
)

// AuthError is the error of a request that has no token or one that does not allow the request. Its fields may be sent
// to the client; Error and Unwrap are for the log only.
type AuthError struct {
	Code        string // error code of RFC 6750 section 3.1; empty if the request had no credentials
	Description string // a fixed text, with nothing of the token or the configuration
	Scope       string // the missing scope, with insufficient_scope

	cause error
}

func (e *AuthError) Error() string {
	if e.cause == nil {
		return e.Description
	}
	return e.Description + ": " + e.cause.Error()
}

// Unwrap returns the cause, which may contain internals.
func (e *AuthError) Unwrap() error { return e.cause }

// Status returns 403 if the token is valid but lacks the scope, otherwise 401. RFC 6750 asks for 400 if the request is
// malformed, but the authorizer of API Gateway can only refuse with 401, and both deployments respond with the same
// statuses.
func (e *AuthError) Status() int {
	if e.Code == insufficientScope {
		return http.StatusForbidden
	}
	return http.StatusUnauthorized
}

// Challenge returns the value of the WWW-Authenticate header (RFC 6750 section 3).
func (e *AuthError) Challenge() string {
	var b strings.Builder
	b.WriteString(`Bearer realm="flavorless"`)
	if e.Code != "" {
		b.WriteString(`, error="` + e.Code + `", error_description="` + e.Description + `"`)
	}
	if e.Scope != "" {
		b.WriteString(`, scope="` + e.Scope + `"`)
	}
	return b.String()
}

// AuthorizationResult returns the label under which metrics count an error of Verify: allowed, unauthorized,
// forbidden, or unavailable if the token could not be checked.
func AuthorizationResult(err error) string {
	var auth *AuthError
	switch {
	case err == nil:
		return "allowed"
	case !errors.As(err, &auth):
		return "unavailable"
	case auth.Status() == http.StatusForbidden:
		return "forbidden"
	}
	return "unauthorized"
}

// invalid returns the AuthError of an invalid token.
func invalid(description string, cause error) *AuthError {
	return &AuthError{Code: invalidToken, Description: description, cause: cause}
}
