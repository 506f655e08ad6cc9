package authorizer_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	"github.com/go-jose/go-jose/v4"

	"github.com/flavorless/flavorless/internal/lambda/authorizer"
	"github.com/flavorless/flavorless/internal/metrics"
)

// FuzzAuthorizer: no token but a good one is allowed anything, and no answer reaches beyond the stage that was asked
// about.
func FuzzAuthorizer(f *testing.F) {
	i := newIssuer(f)
	i.Metrics, i.Log = metrics.NewEMF(nowhere{}, "authorizer", "test", now), slog.New(slog.DiscardHandler)
	good := "Bearer " + i.token(f, jose.ES256, nil)
	const arn = "arn:aws:execute-api:eu-central-1:123456789012:a1b2c3d4e5/prod/GET/team"
	for _, token := range []string{"GOOD", "GOOD ", "gOOD", "Bearer " + i.token(f, jose.ES256, map[string]any{"scope": "x"}), "Bearer eyJhbGciOiJub25lIn0.e30.", "Basic x", ""} {
		f.Add(token, arn)
	}
	for _, token := range []string{signHeader(f, i, "crit", nil), signHeader(f, i, "typ", nil), spareBits(strings.TrimPrefix(good, "Bearer "))} {
		f.Add("Bearer "+token, arn)
	}
	for _, method := range []string{"", "arn:", strings.Replace(arn, "prod", "*", 1), strings.Replace(arn, "a1b2c3d4e5", "?", 1), arn + "/ice-cream/*/GET/?", strings.TrimSuffix(arn, "/GET/team")} {
		f.Add("GOOD", method)
	}
	f.Fuzz(func(t *testing.T, token, arn string) {
		token = strings.ReplaceAll(token, "GOOD", good)
		response, err := i.Handle(context.Background(), events.APIGatewayCustomAuthorizerRequest{Type: "TOKEN", AuthorizationToken: token, MethodArn: arn})
		if err != nil {
			if len(response.PolicyDocument.Statement) > 0 || response.PrincipalID != "" {
				t.Errorf("%+v came with %v", response, err)
			}
			if errors.Is(err, authorizer.ErrUnauthorized) && err.Error() != "Unauthorized" {
				t.Errorf("%v: the gateway would answer 500", err)
			}
			return
		}
		for _, s := range response.PolicyDocument.Statement {
			if s.Effect == "Allow" && !strings.Contains(token, good) {
				t.Errorf("%q is allowed", token)
			}
			for _, resource := range s.Resource {
				stage := strings.TrimSuffix(strings.TrimSuffix(resource, "/GET/*"), "/HEAD/*")
				if stage == resource || strings.ContainsAny(stage, "*?") || !strings.HasPrefix(arn, stage+"/") || strings.Count(stage, "/") != 1 {
					t.Errorf("of %q it says %s %q", arn, s.Effect, resource)
				}
			}
		}
	})
}

type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
