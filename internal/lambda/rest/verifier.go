package rest

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/internal/lambda/authorizer"
)

// authorized is the key of what the authorizer said, in a request's context.
type authorized struct{}

func withAuthorizer(ctx context.Context, said map[string]any) context.Context {
	return context.WithValue(ctx, authorized{}, said)
}

// Verifier lets those requests pass that the gateway's authorizer let pass. It believes the request's context, which
// only the gateway can write, and no header. A route that was deployed without the authorizer stays closed.
type Verifier struct {
	Clock func() time.Time
}

// leeway is how far the issuer's clock may be off, as for api.Verifier.
const leeway = 30 * time.Second

// Verify gives the claims of the token that the authorizer saw. The gateway keeps the authorizer's answers, for up to
// an hour; what a token may live on by that is cut off here.
func (v Verifier) Verify(ctx context.Context, _ string) (api.Claims, error) {
	said, _ := ctx.Value(authorized{}).(map[string]any)
	principal, _ := said["principalId"].(string)
	if principal == "" {
		return api.Claims{}, &api.AuthError{Description: "a bearer token is required"}
	}
	expires, ok := seconds(said[authorizer.Expires])
	if !ok || !v.Clock().Before(expires.Add(leeway)) {
		return api.Claims{}, &api.AuthError{Code: "invalid_token", Description: "the token has expired"}
	}
	subject, _ := said[authorizer.Subject].(string)
	scope, _ := said[authorizer.Scope].(string)
	return api.Claims{Subject: subject, Scopes: strings.Fields(scope), Expires: expires}, nil
}

// seconds reads a time. The gateway makes strings of numbers; not all that stand in for it do.
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
