package authorizer_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"

	"github.com/flavorless/flavorless/internal/lambda/authorizer"
	"github.com/flavorless/flavorless/internal/metrics"
)

// FuzzAuthorizer checks that only the valid token is allowed, and that policies cover only the stage of the request.
func FuzzAuthorizer(f *testing.F) {
	i := newIssuer(f)
	i.Metrics, i.Log = metrics.NewEMF(io.Discard, "authorizer", "test", now), slog.New(slog.DiscardHandler)
	good := "Bearer " + i.token(f, "ES256", nil)
	const arn = "arn:aws:execute-api:eu-central-1:123456789012:a1b2c3d4e5/prod/GET/team"
	for _, token := range []string{
		"VALID", "VALID ", "vALID", "Bearer " + i.token(f, "ES256", map[string]any{"scope": "x"}),
		"Bearer eyJhbGciOiJub25lIn0.e30.", "Basic x", "",
	} {
		f.Add(token, arn)
	}
	for _, token := range []string{
		signHeader(f, i, "crit", nil), signHeader(f, i, "typ", nil), spareBits(strings.TrimPrefix(good, "Bearer ")),
	} {
		f.Add("Bearer "+token, arn)
	}
	for _, method := range []string{
		"", "arn:", strings.Replace(arn, "prod", "*", 1), strings.Replace(arn, "a1b2c3d4e5", "?", 1),
		arn + "/ice-cream/*/GET/?", strings.TrimSuffix(arn, "/GET/team"),
	} {
		f.Add("VALID", method)
	}
	f.Fuzz(func(t *testing.T, token, arn string) {
		token = strings.ReplaceAll(token, "VALID", good)
		response, err := i.Handle(context.Background(), events.APIGatewayCustomAuthorizerRequest{
			Type: "TOKEN", AuthorizationToken: token, MethodArn: arn,
		})
		if err != nil {
			if len(response.PolicyDocument.Statement) > 0 || response.PrincipalID != "" {
				t.Errorf("response = %+v with error %v, want none", response, err)
			}
			if errors.Is(err, authorizer.ErrUnauthorized) && err.Error() != "Unauthorized" {
				t.Errorf("error = %q, want Unauthorized: the gateway would respond with 500", err)
			}
			return
		}
		for _, s := range response.PolicyDocument.Statement {
			if s.Effect == "Allow" && !strings.Contains(token, good) {
				t.Errorf("token %q is allowed, want an error", token)
			}
			for _, resource := range s.Resource {
				stage := strings.TrimSuffix(strings.TrimSuffix(resource, "/GET/*"), "/HEAD/*")
				if stage == resource || strings.ContainsAny(stage, "*?") || !strings.HasPrefix(arn, stage+"/") ||
					strings.Count(stage, "/") != 1 {
					t.Errorf("policy for %q has %s %q, want the stage only", arn, s.Effect, resource)
				}
			}
		}
	})
}
