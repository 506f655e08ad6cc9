package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/events"
)

// authorizer emulates a Lambda authorizer of type TOKEN: AWS::ApiGateway::Authorizer. The policy that the function
// returns is cached for every later request with the same token, whatever its route: a policy that allows only one
// method denies all others.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-use-lambda-authorizer.html
type authorizer struct {
	function *Function
	header   string
	valid    *regexp.Regexp
	ttl      time.Duration

	mu          sync.Mutex
	cached      map[string]grant // by token
	invocations int
}

// grant is what an authorizer's function returned.
type grant struct {
	policy  Policy
	context map[string]any
	until   time.Time
}

func (g *Gateway) addAuthorizer(s *Stack, id string) error {
	var p struct {
		Name, Type, IdentitySource, IdentityValidationExpression, AuthorizerURI, RestAPIID string
		AuthorizerResultTTLInSeconds                                                       int
	}
	if err := s.convertProperties(id, &p); err != nil {
		return err
	}
	header, ok := strings.CutPrefix(p.IdentitySource, "method.request.header.")
	if !ok || p.Type != "TOKEN" {
		return fmt.Errorf("authorizers of type %q with identity source %q are not supported", p.Type, p.IdentitySource)
	}
	valid, err := regexp.Compile(`^(?:` + p.IdentityValidationExpression + `)$`)
	if err != nil {
		return err
	}
	f, err := s.integrationFunction(p.AuthorizerURI)
	if err != nil {
		return err
	}
	g.authorizers[id] = &authorizer{
		function: f, header: header, valid: valid, ttl: time.Duration(p.AuthorizerResultTTLInSeconds) * time.Second,
		cached: map[string]grant{},
	}
	return s.mayInvoke(f, "apigateway.amazonaws.com", arnOf("execute-api", g.id+"/authorizers/"+id))
}

// authorize returns the context that the authorizer passes to the function, or the type of the gateway response that
// refuses the request.
func (a *authorizer) authorize(ctx context.Context, g *Gateway,
	event *events.APIGatewayProxyRequest) (map[string]any, string) {
	token := event.Headers[a.header]
	if !a.valid.MatchString(token) {
		return nil, "UNAUTHORIZED"
	}
	arn := arnOf("execute-api", strings.Join([]string{g.id, g.stage, event.HTTPMethod, event.Path[1:]}, "/"))
	granted, problem := a.grant(ctx, token, arn)
	if problem != "" {
		return nil, problem
	}
	switch decision, err := granted.policy.Decide(Request{Action: "execute-api:Invoke", Resource: arn}); {
	case err != nil:
		return nil, "AUTHORIZER_CONFIGURATION_ERROR"
	case decision != Allow:
		return nil, "ACCESS_DENIED"
	}
	return granted.context, ""
}

// grant returns the cached grant of a token, or else asks the function.
func (a *authorizer) grant(ctx context.Context, token, arn string) (granted grant, problem string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if granted, ok := a.cached[token]; ok && time.Now().Before(granted.until) {
		return granted, ""
	}
	payload, err := json.Marshal(events.APIGatewayCustomAuthorizerRequest{Type: "TOKEN", MethodArn: arn,
		AuthorizationToken: token})
	if err != nil {
		return grant{}, "AUTHORIZER_FAILURE"
	}
	a.invocations++
	done := a.function.Invoke(ctx, payload)
	if done.Failed != "" {
		var failure struct{ ErrorMessage string }
		// exactly this text
		if err := json.Unmarshal(done.Answer, &failure); err == nil && failure.ErrorMessage == "Unauthorized" {
			return grant{}, "UNAUTHORIZED"
		}
		return grant{}, "AUTHORIZER_FAILURE"
	}
	if granted, err = parseGrant(done.Answer); err != nil {
		return grant{}, "AUTHORIZER_CONFIGURATION_ERROR"
	}
	granted.until = time.Now().Add(a.ttl)
	a.cached[token] = granted
	return granted, ""
}

// https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-output.html
func parseGrant(answer []byte) (grant, error) {
	var out struct {
		PrincipalID    string
		PolicyDocument any
		Context        map[string]any
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		return grant{}, err
	}
	if out.PrincipalID == "" {
		return grant{}, errors.New("the answer has no principalId")
	}
	for name, value := range out.Context {
		switch value.(type) {
		case string, float64, bool:
		default:
			return grant{}, fmt.Errorf("%s in the context is not a string, a number or a boolean", name)
		}
	}
	policy, err := ParsePolicy(out.PolicyDocument)
	granted := grant{policy: policy, context: map[string]any{"principalId": out.PrincipalID}}
	maps.Copy(granted.context, out.Context)
	return granted, err
}

// AuthorizerInvocations returns how often the functions of authorizers were invoked. Requests answered from a cache
// don't count.
func (g *Gateway) AuthorizerInvocations() (n int) {
	for _, a := range g.authorizers {
		a.mu.Lock()
		n += a.invocations
		a.mu.Unlock()
	}
	return n
}
