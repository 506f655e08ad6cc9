// Package tokens measures the verification of tokens. It is separate from package metrics so that functions that
// verify no tokens don't link package api.
package tokens

import (
	"context"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/internal/metrics"
)

// verifier is an *api.Verifier.
type verifier interface {
	Verify(ctx context.Context, authorization string) (api.Claims, error)
}

// Verifier measures the results of Next.
type Verifier struct {
	Next     verifier
	Recorder metrics.Recorder
}

// Verify counts each verification by its result.
func (v Verifier) Verify(ctx context.Context, authorization string) (api.Claims, error) {
	claims, err := v.Next.Verify(ctx, authorization)
	v.Recorder.Count(metrics.Authorizations, 1, metrics.Label{Name: "result", Value: api.AuthorizationResult(err)})
	return claims, err
}

// ObserveFetches returns a jwks.Config.Observe that counts the fetches of the issuer's keys.
func ObserveFetches(r metrics.Recorder) func(error) {
	return func(err error) {
		result := "ok"
		if err != nil {
			result = "failed"
		}
		r.Count(metrics.KeyFetches, 1, metrics.Label{Name: "result", Value: result})
	}
}
