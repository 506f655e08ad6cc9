package api_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/flavorless/flavorless/api"
)

func TestVerdict(t *testing.T) {
	for want, err := range map[string]error{
		"allowed":      nil,
		"unauthorized": fmt.Errorf("wrapped: %w", &api.Refusal{Code: "invalid_token"}),
		"forbidden":    &api.Refusal{Code: "insufficient_scope"},
		"unavailable":  errors.Join(api.ErrKeysUnavailable, errors.New("no route to host")),
	} {
		if got := api.Verdict(err); got != want {
			t.Errorf("of %v: %s, want %s", err, got, want)
		}
	}
}
