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
	Next     verifier
	Recorder metrics.Recorder
}

// Verify counts each check by its result.
func (v Verifier) Verify(ctx context.Context, authorization string) (api.Claims, error) {
	claims, err := v.Next.Verify(ctx, authorization)
	v.Recorder.Count(metrics.Authorizations, 1, metrics.Label{Name: "result", Value: api.AuthorizationResult(err)})
	return claims, err
}

// ObserveFetches is a jwks.Config.Observe that counts fetches of the issuer's keys.
func ObserveFetches(to metrics.Recorder) func(jwks.FetchResult) {
	return func(f jwks.FetchResult) {
		result := "ok"
		if f.Err != nil {
			result = "failed"
		}
		to.Count(metrics.KeyFetches, 1, metrics.Label{Name: "result", Value: result})
	}
}
