package rest

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/internal/lambda/authorizer"
)

// authorizerKey is the key under which a request's context has what the authorizer returned.
type authorizerKey struct{}

func withAuthorizer(ctx context.Context, values map[string]any) context.Context {
	return context.WithValue(ctx, authorizerKey{}, values)
}

// Verifier accepts the requests that the gateway's authorizer has allowed. It trusts the request's context, which only
// the gateway can set, and no header. Therefore a route that was deployed without the authorizer refuses all requests.
type Verifier struct {
	Clock func() time.Time
}

// Verify returns the claims of the token that the authorizer checked. It checks the expiry again, because the gateway
// caches the authorizer's result for up to an hour.
func (v Verifier) Verify(ctx context.Context, _ string) (api.Claims, error) {
	values, _ := ctx.Value(authorizerKey{}).(map[string]any)
	principal, _ := values["principalId"].(string)
	if principal == "" {
		return api.Claims{}, &api.AuthError{Description: "a bearer token is required"}
	}
	expires, ok := seconds(values[authorizer.Expires])
	if !ok || !v.Clock().Before(expires.Add(api.Leeway)) {
		return api.Claims{}, &api.AuthError{Code: "invalid_token", Description: "the token has expired"}
	}
	subject, _ := values[authorizer.Subject].(string)
	scope, _ := values[authorizer.Scope].(string)
	return api.Claims{Subject: subject, Scopes: strings.Fields(scope), Expires: expires}, nil
}

// seconds converts seconds since 1970 to a time. The gateway sends numbers as strings, but its emulators may not.
func seconds(value any) (time.Time, bool) {
	switch value := value.(type) {
	case float64:
		return time.Unix(int64(value), 0), true
	case string:
		n, err := strconv.ParseInt(value, 10, 64)
		return time.Unix(n, 0), err == nil
	}
	return time.Time{}, false
}
