// Package authorizer is the Lambda authorizer of the API in API Gateway. It verifies tokens with package api and
// responds in the gateway's format. The gateway caches each response for minutes, by token, and uses it for every
// route, so a response must depend only on the token and not on the route.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-use-lambda-authorizer.html
package authorizer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/aws/aws-lambda-go/events"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/internal/metrics"
	"github.com/flavorless/flavorless/internal/metrics/tokens"
)

// verifier is an *api.Verifier.
type verifier interface {
	Verify(ctx context.Context, authorization string) (api.Claims, error)
}

// Authorizer handles the requests of a TOKEN authorizer.
type Authorizer struct {
	Verifier verifier
	Metrics  metrics.Recorder
	Log      *slog.Logger
}

// ErrUnauthorized makes the gateway respond with 401. The gateway compares its text exactly; any other error is a 500.
var ErrUnauthorized = errors.New("Unauthorized")

// Names of the values in the response's context, which the gateway passes to the functions behind it and to its
// response templates.
const (
	Subject = "sub"   // of the token; missing if it has none
	Scope   = "scope" // scopes of the token, separated by spaces; missing if it has none
	Expires = "exp"   // expiry of the token in seconds since 1970; a cached response can outlive the token
	Reason  = "error" // why the token was denied: an error code of RFC 6750 section 3.1
)

// anonymous is the principal of tokens without a subject, because the gateway requires one.
const anonymous = "-"

// Handle returns a policy that allows everything or, if the token is valid but lacks the scope, denies everything. It
// fails with ErrUnauthorized if the token is invalid, and with another error if the token can't be checked, so that the
// client may retry.
func (a Authorizer) Handle(
	ctx context.Context, request events.APIGatewayCustomAuthorizerRequest,
) (events.APIGatewayCustomAuthorizerResponse, error) {
	var none events.APIGatewayCustomAuthorizerResponse
	stage, err := stageOf(request.MethodArn)
	if err != nil {
		a.Log.ErrorContext(ctx, "invalid request of the gateway", "error", err)
		return none, err
	}
	claims, err := tokens.Verifier{Next: a.Verifier, Recorder: a.Metrics}.Verify(ctx, request.AuthorizationToken)
	var auth *api.AuthError
	switch {
	case err == nil:
		return policy("Allow", stage, claims), nil
	case !errors.As(err, &auth):
		a.Log.WarnContext(ctx, "token can't be verified", "error", err)
		return none, fmt.Errorf("verifying the token: %w", err)
	case auth.Status() == http.StatusForbidden:
		a.Log.InfoContext(ctx, "request refused", "status", http.StatusForbidden, "reason", err)
		denied := policy("Deny", stage, claims)
		denied.Context[Reason] = auth.Code
		return denied, nil
	}
	a.Log.InfoContext(ctx, "request refused", "status", http.StatusUnauthorized, "reason", err)
	return none, ErrUnauthorized
}

// policy returns the response with that effect on all routes of the stage.
func policy(effect, stage string, claims api.Claims) events.APIGatewayCustomAuthorizerResponse {
	principal := claims.Subject
	if principal == "" {
		principal = anonymous
	}
	values := map[string]any{Expires: strconv.FormatInt(claims.Expires.Unix(), 10)}
	if claims.Subject != "" {
		values[Subject] = claims.Subject
	}
	if len(claims.Scopes) > 0 {
		values[Scope] = strings.Join(claims.Scopes, " ")
	}
	return events.APIGatewayCustomAuthorizerResponse{
		PrincipalID: principal,
		Context:     values,
		PolicyDocument: events.APIGatewayCustomAuthorizerPolicy{
			Version: "2012-10-17",
			Statement: []events.IAMPolicyStatement{{
				Effect: effect, Action: []string{"execute-api:Invoke"},
				Resource: []string{stage + "/GET/*", stage + "/HEAD/*"},
			}},
		},
	}
}

// stageOf returns the ARN of the stage in that of a method, such as
// arn:aws:execute-api:region:account:api/stage/GET/path.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/arn-format-reference.html
//
// Its errors don't quote the ARN, because it ends with the request's path, which may contain a person's name.
func stageOf(method string) (string, error) {
	parts := strings.SplitN(method, "/", 4)
	if len(parts) < 3 || !strings.HasPrefix(method, "arn:") || !strings.Contains(parts[0], ":execute-api:") ||
		parts[1] == "" {
		return "", errors.New("methodArn is not the ARN of a method of API Gateway")
	}
	// * and ? are wildcards in a policy. API ids and stage names never contain them.
	if strings.ContainsAny(parts[0]+parts[1], "*?") {
		return "", errors.New("the API or the stage in methodArn contains a wildcard")
	}
	return parts[0] + "/" + parts[1], nil
}
