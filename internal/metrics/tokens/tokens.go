// Package tokens measures the checking of tokens. It is apart from package metrics so that functions which check none
// don't carry what that takes.
package tokens

import (
	"context"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/internal/jwks"
	"github.com/flavorless/flavorless/internal/metrics"
)

// verifier is an *api.Verifier.
type verifier interface {
	Verify(ctx context.Context, authorization string) (api.Claims, error)
}

// Verifier measures what Next says to tokens.
type Verifier struct {
	Next verifier
	To   metrics.Recorder
}

// Verify counts each check by its result.
func (v Verifier) Verify(ctx context.Context, authorization string) (api.Claims, error) {
	claims, err := v.Next.Verify(ctx, authorization)
	v.To.Count(metrics.Authorizations, 1, metrics.Label{Name: "result", Value: api.Verdict(err)})
	return claims, err
}

// Fetches is a jwks.Config.Observe that counts fetches of the issuer's keys.
func Fetches(to metrics.Recorder) func(jwks.Fetch) {
	return func(f jwks.Fetch) {
		result := "ok"
		if f.Err != nil {
			result = "failed"
		}
		to.Count(metrics.KeyFetches, 1, metrics.Label{Name: "result", Value: result})
	}
}
