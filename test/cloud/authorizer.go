package cloud

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"
)

// authorizer is a Lambda authorizer by token, AWS::ApiGateway::Authorizer. What it answered is kept for every later request
// with the same token, whatever route that is for: a policy for one method alone then denies all others.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-use-lambda-authorizer.html
type authorizer struct {
	function *Function
	header   string
	valid    *regexp.Regexp
	ttl      time.Duration

	mu     sync.Mutex
	cached map[string]grant
	asked  int
}

// grant is what an authorizer answered.
type grant struct {
	principal string
	policy    Policy
	context   map[string]any
	until     time.Time
}

func newAuthorizer(s *Stack, g *Gateway, id string) (*authorizer, error) {
	var p struct {
		Name, Type, IdentitySource, IdentityValidationExpression, AuthorizerUri, RestApiId string //nolint:revive // the template's names
		AuthorizerResultTtlInSeconds                                                       *int   //nolint:revive // likewise
	}
	properties, err := s.properties(id)
	if err == nil {
		err = convert(properties, &p)
	}
	if err != nil {
		return nil, err
	}
	a := &authorizer{ttl: 300 * time.Second, cached: map[string]grant{}}
	if p.AuthorizerResultTtlInSeconds != nil {
		a.ttl = time.Duration(*p.AuthorizerResultTtlInSeconds) * time.Second
	}
	var ok bool
	if a.header, ok = strings.CutPrefix(p.IdentitySource, "method.request.header."); !ok || p.Type != "TOKEN" {
		return nil, fmt.Errorf("an authorizer of the type %q by %q is not understood here", p.Type, p.IdentitySource)
	}
	if a.valid, err = regexp.Compile(`^(?:` + p.IdentityValidationExpression + `)$`); err != nil {
		return nil, err
	}
	if a.function, err = s.invocation(p.AuthorizerUri); err != nil {
		return nil, err
	}
	return a, s.mayInvoke(a.function, "apigateway.amazonaws.com", arnOf("execute-api", g.id+"/authorizers/"+id))
}

// allows decides about a request: problem is the type of the gateway's response if it may not pass.
func (a *authorizer) allows(g *Gateway, e *exchange) (context map[string]any, problem, message string) {
	token := e.r.Header.Get(a.header)
	if token == "" || !a.valid.MatchString(token) {
		return nil, "UNAUTHORIZED", "Unauthorized"
	}
	arn := arnOf("execute-api", strings.Join([]string{g.id, g.stage, e.r.Method, e.path[1:]}, "/"))
	granted, problem := a.grant(e, token, arn)
	if problem == "UNAUTHORIZED" {
		return nil, problem, "Unauthorized"
	} else if problem != "" {
		return nil, problem, "Internal server error"
	}
	decision, err := granted.policy.Decide(Request{Action: "execute-api:Invoke", Resource: arn})
	switch {
	case err != nil:
		return nil, "AUTHORIZER_CONFIGURATION_ERROR", "Internal server error"
	case decision == ExplicitDeny:
		return nil, "ACCESS_DENIED", "User is not authorized to access this resource with an explicit deny in an identity-based policy"
	case decision != Allow:
		return nil, "ACCESS_DENIED", "User is not authorized to access this resource"
	}
	context = map[string]any{"principalId": granted.principal, "integrationLatency": 1}
	for name, value := range granted.context {
		context[name] = value
	}
	return context, "", ""
}

func (a *authorizer) grant(e *exchange, token, arn string) (granted grant, problem string) {
	a.mu.Lock()
	granted, ok := a.cached[token]
	a.mu.Unlock()
	if ok && time.Now().Before(granted.until) {
		return granted, ""
	}
	payload, err := json.Marshal(map[string]string{"type": "TOKEN", "methodArn": arn, "authorizationToken": token})
	if err != nil {
		return grant{}, "AUTHORIZER_FAILURE"
	}
	done, ok := invokeWithin(e.r.Context(), a.function, payload, integrationLimit)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	switch {
	case !ok:
		return grant{}, "AUTHORIZER_FAILURE"
	case done.Failed != "":
		var failed struct{ ErrorMessage string }
		if err := json.Unmarshal(done.Answer, &failed); err == nil && failed.ErrorMessage == "Unauthorized" { // exactly this
			return grant{}, "UNAUTHORIZED"
		}
		return grant{}, "AUTHORIZER_FAILURE"
	}
	if granted, err = parseGrant(done.Answer); err != nil {
		return grant{}, "AUTHORIZER_CONFIGURATION_ERROR"
	}
	granted.until = time.Now().Add(a.ttl)
	if a.ttl > 0 {
		a.cached[token] = granted
	}
	return granted, ""
}

// https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-output.html
func parseGrant(answer []byte) (grant, error) {
	var out struct {
		PrincipalId        string //nolint:revive // as in the answer
		PolicyDocument     any
		Context            map[string]any
		UsageIdentifierKey string
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		return grant{}, err
	}
	if out.PrincipalId == "" {
		return grant{}, fmt.Errorf("the answer names no principal: %s", answer)
	}
	for name, value := range out.Context {
		switch value.(type) {
		case string, float64, bool:
		default:
			return grant{}, fmt.Errorf("the context's %s is neither text, number nor truth value", name)
		}
	}
	policy, err := ParsePolicy(out.PolicyDocument)
	return grant{principal: out.PrincipalId, policy: policy, context: out.Context}, err
}

// Asked says how often authorizers were asked; requests that were answered from a cache don't count.
func (g *Gateway) Asked() (n int) {
	for _, a := range g.authorizers {
		a.mu.Lock()
		n += a.asked
		a.mu.Unlock()
	}
	return n
}
