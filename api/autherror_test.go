package api_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/flavorless/flavorless/api"
)

func TestAuthorizationResult(t *testing.T) {
	for want, err := range map[string]error{
		"allowed":      nil,
		"unauthorized": fmt.Errorf("wrapped: %w", &api.AuthError{Code: "invalid_token"}),
		"forbidden":    &api.AuthError{Code: "insufficient_scope"},
		"unavailable":  errors.Join(api.ErrKeysUnavailable, errors.New("no route to host")),
	} {
		if got := api.AuthorizationResult(err); got != want {
			t.Errorf("AuthorizationResult(%v) = %q, want %q", err, got, want)
		}
	}
}
