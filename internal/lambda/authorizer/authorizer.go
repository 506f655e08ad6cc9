// Package authorizer is the Lambda authorizer of API Gateway: the token verification of package api, answered as the
// gateway wants it. The gateway keeps an answer for each token, for minutes, and uses it for every route; so an answer
// is about the token alone, never about the route that happened to be asked first.
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

// Authorizer answers requests of a TOKEN authorizer.
type Authorizer struct {
	Verifier verifier
	Metrics  metrics.Recorder
	Log      *slog.Logger
}

// ErrUnauthorized makes the gateway answer 401. Its text is the contract, letter by letter; any other error is a 500.
var ErrUnauthorized = errors.New("Unauthorized")

// Names in the context that goes with an answer, to the functions behind the gateway and into its templates.
const (
	Subject = "sub"   // of the token; missing if it has none
	Scope   = "scope" // of the token, separated by spaces; missing if it has none
	Expires = "exp"   // of the token, in seconds since 1970: an answer may be kept for longer than its token is good
	Reason  = "error" // why a token was denied, as RFC 6750 section 3.1 calls it
)

// anonymous stands for a token without a subject: the gateway wants a principal.
const anonymous = "-"

// Handle answers 200 with a policy that allows everything or, if the token is good but lacks the scope, nothing; 401 by
// ErrUnauthorized; and with any other error if it can't tell, so that the client may try again.
func (a Authorizer) Handle(ctx context.Context, request events.APIGatewayCustomAuthorizerRequest) (events.APIGatewayCustomAuthorizerResponse, error) {
	var none events.APIGatewayCustomAuthorizerResponse
	stage, err := stageOf(request.MethodArn)
	if err != nil {
		a.Log.ErrorContext(ctx, "request of the gateway not understood", "error", err)
		return none, err
	}
	claims, err := tokens.Verifier{Next: a.Verifier, Recorder: a.Metrics}.Verify(ctx, request.AuthorizationToken)
	var refusal *api.AuthError
	switch {
	case err == nil:
		return answer("Allow", stage, claims), nil
	case !errors.As(err, &refusal):
		a.Log.WarnContext(ctx, "token not verified", "error", err)
		return none, fmt.Errorf("the token can't be verified at the moment: %w", err)
	case refusal.Status() == http.StatusForbidden:
		a.Log.InfoContext(ctx, "request refused", "status", http.StatusForbidden, "reason", err)
		denied := answer("Deny", stage, claims)
		denied.Context[Reason] = refusal.Code
		return denied, nil
	}
	a.Log.InfoContext(ctx, "request refused", "status", http.StatusUnauthorized, "reason", err)
	return none, ErrUnauthorized
}

// answer covers the whole stage.
func answer(effect, stage string, claims api.Claims) events.APIGatewayCustomAuthorizerResponse {
	principal := claims.Subject
	if principal == "" {
		principal = anonymous
	}
	about := map[string]any{Expires: strconv.FormatInt(claims.Expires.Unix(), 10)}
	if claims.Subject != "" {
		about[Subject] = claims.Subject
	}
	if len(claims.Scopes) > 0 {
		about[Scope] = strings.Join(claims.Scopes, " ")
	}
	return events.APIGatewayCustomAuthorizerResponse{
		PrincipalID: principal,
		Context:     about,
		PolicyDocument: events.APIGatewayCustomAuthorizerPolicy{
			Version: "2012-10-17",
			Statement: []events.IAMPolicyStatement{{
				Effect: effect, Action: []string{"execute-api:Invoke"}, Resource: []string{stage + "/GET/*", stage + "/HEAD/*"},
			}},
		},
	}
}

// stageOf takes the stage's ARN out of a method's: arn:aws:execute-api:region:account:api/stage/GET/path.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/arn-format-reference.html
//
// Its errors don't quote the ARN, which ends in the path of the request and so may hold a person's name.
func stageOf(method string) (string, error) {
	parts := strings.SplitN(method, "/", 4)
	if len(parts) < 3 || !strings.HasPrefix(method, "arn:") || !strings.Contains(parts[0], ":execute-api:") || parts[1] == "" {
		return "", errors.New("methodArn is not the ARN of a method of API Gateway")
	}
	// In a policy, * and ? match anything. Neither API ids nor stage names have them.
	if strings.ContainsAny(parts[0]+parts[1], "*?") {
		return "", errors.New("the API or the stage in methodArn has wildcards")
	}
	return parts[0] + "/" + parts[1], nil
}
