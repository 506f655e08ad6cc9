package cloud

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
)

// Gateway emulates the template's API Gateway REST API: routes, token authorizers with their cached policies, Lambda
// proxy integrations, and the gateway responses to what an authorizer or a function refuses. It leaves out what
// TestDeployment does not need, such as throttling, compression, binary media types and the remapping of headers. Rules
// of test/template check the stage's limits, and that the deployment includes every method and gateway response.
type Gateway struct {
	URL string // with the stage, without a trailing slash

	server      *httptest.Server
	id, stage   string
	mux         *http.ServeMux
	authorizers map[string]*authorizer     // by logical id
	responses   map[string]gatewayResponse // by response type
}

// method is AWS::ApiGateway::Method, without the properties that change nothing here.
type method struct {
	HTTPMethod, ResourceID, RestAPIID, AuthorizationType, AuthorizerID, OperationName string
	APIKeyRequired                                                                    bool
	RequestParameters                                                                 map[string]any
	RequestValidatorID, RequestModels, MethodResponses                                any
	Integration                                                                       struct {
		Type, IntegrationHTTPMethod, URI, PassthroughBehavior, ContentHandling string
	}

	path     string
	function *Function
}

// newGateway starts the REST API of the template, which must have one.
func newGateway(s *Stack) (*Gateway, error) {
	apis := s.Template.Of("AWS::ApiGateway::RestApi")
	if len(apis) != 1 {
		return nil, fmt.Errorf("the template has %d REST APIs, want 1", len(apis))
	}
	g := &Gateway{
		id: apis[0], mux: http.NewServeMux(), authorizers: map[string]*authorizer{}, responses: map[string]gatewayResponse{},
	}
	for _, add := range []struct {
		kind string
		part func(s *Stack, id string) error
	}{
		{"Stage", g.addStage}, {"Authorizer", g.addAuthorizer}, {"GatewayResponse", g.addResponse}, {"Method", g.addMethod},
	} {
		for _, id := range s.Template.Of("AWS::ApiGateway::" + add.kind) {
			if err := add.part(s, id); err != nil {
				return nil, fmt.Errorf("%s: %w", id, err)
			}
		}
	}
	g.server = httptest.NewServer(g.mux)
	g.URL = g.server.URL + "/" + g.stage
	return g, nil
}

func (g *Gateway) close() {
	g.server.CloseClientConnections()
	g.server.Close()
}

func (g *Gateway) addStage(s *Stack, id string) error {
	p, err := s.properties(id)
	g.stage = stringOf(p["StageName"])
	return err
}

func (g *Gateway) addMethod(s *Stack, id string) error {
	m := &method{}
	if err := s.convertProperties(id, m); err != nil {
		return err
	}
	var err error
	if m.path, err = g.path(s, m.ResourceID); err != nil {
		return err
	}
	if m.Integration.Type != "AWS_PROXY" {
		return fmt.Errorf("integrations of type %q are not supported", m.Integration.Type)
	}
	if m.AuthorizationType != "NONE" && g.authorizers[m.AuthorizerID] == nil {
		return fmt.Errorf("authorization %s by %q is not supported", m.AuthorizationType, m.AuthorizerID)
	}
	if m.function, err = s.integrationFunction(m.Integration.URI); err != nil {
		return err
	}
	verb := strings.Replace(m.HTTPMethod, "ANY", "*", 1)
	source := arnOf("execute-api", strings.Join([]string{g.id, g.stage, verb, strings.TrimPrefix(m.path, "/")}, "/"))
	if err := s.mayInvoke(m.function, "apigateway.amazonaws.com", source); err != nil {
		return err
	}
	// A pattern of net/http prefers what API Gateway prefers: a literal segment to a parameter, a method to ANY.
	pattern := "/" + g.stage + strings.Replace(m.path, "+}", "...}", 1)
	if m.path == "/" {
		pattern += "{$}"
	}
	g.mux.HandleFunc(strings.TrimPrefix(m.HTTPMethod+" ", "ANY ")+pattern, func(w http.ResponseWriter, r *http.Request) {
		g.serve(w, r, m)
	})
	return nil
}

// path returns the full path of an AWS::ApiGateway::Resource.
func (g *Gateway) path(s *Stack, id string) (string, error) {
	if id == g.id+".RootResourceId" {
		return "/", nil
	}
	p, err := s.properties(id)
	if err != nil {
		return "", err
	}
	parent, err := g.path(s, stringOf(p["ParentId"]))
	return strings.TrimSuffix(parent, "/") + "/" + stringOf(p["PathPart"]), err
}

// integrationFunction returns the function that an integration's URI names.
func (s *Stack) integrationFunction(uri string) (*Function, error) {
	_, rest, ok := strings.Cut(uri, ":lambda:path/2015-03-31/functions/")
	arn, ends := strings.CutSuffix(rest, "/invocations")
	if !ok || !ends {
		return nil, fmt.Errorf("the integration URI %q is not supported", uri)
	}
	return s.functionByARN(arn)
}

func (g *Gateway) serve(w http.ResponseWriter, r *http.Request, m *method) {
	event, err := g.event(r, m)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	// An integration continues when its client disconnects.
	ctx := context.WithoutCancel(r.Context())
	if a := g.authorizers[m.AuthorizerID]; a != nil {
		authorized, problem := a.authorize(ctx, g, event)
		if problem != "" {
			g.respond(w, event, problem)
			return
		}
		event.RequestContext.Authorizer = authorized
	}
	payload, err := json.Marshal(event)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	done := m.function.Invoke(ctx, payload)
	var answer events.APIGatewayProxyResponse
	if done.Failed != "" || json.Unmarshal(done.Answer, &answer) != nil || answer.StatusCode < http.StatusOK {
		g.respond(w, event, "DEFAULT_5XX")
		return
	}
	maps.Copy(w.Header(), answer.MultiValueHeaders)
	for name, value := range answer.Headers {
		w.Header().Set(name, value)
	}
	w.WriteHeader(answer.StatusCode)
	_, _ = io.WriteString(w, answer.Body) // an error means that the client is gone
}

// event returns what a function receives: version 1.0 of the proxy integration's format.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
//
// The path stays escaped, and its parameters are unescaped once. The documentation does not mention the latter and
// people report both, so a function should not rely on the parameters.
func (g *Gateway) event(r *http.Request, m *method) (*events.APIGatewayProxyRequest, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	headers := r.Header.Clone()
	headers.Set("Host", r.Host)
	source, _, _ := net.SplitHostPort(r.RemoteAddr)
	headers.Set("X-Forwarded-For", source)
	headers.Set("X-Forwarded-Proto", "https")
	event := &events.APIGatewayProxyRequest{
		Resource: m.path, Path: strings.TrimPrefix(r.URL.EscapedPath(), "/"+g.stage), HTTPMethod: r.Method,
		Body:    string(body),
		Headers: lastValues(headers), MultiValueHeaders: headers, PathParameters: map[string]string{},
		QueryStringParameters: lastValues(r.URL.Query()), MultiValueQueryStringParameters: r.URL.Query(),
		RequestContext: events.APIGatewayProxyRequestContext{
			AccountID: Account, APIID: g.id, Stage: g.stage, DomainName: r.Host, RequestID: strings.ToLower(rand.Text()),
			ResourceID: m.ResourceID, ResourcePath: m.path, Path: r.URL.EscapedPath(), HTTPMethod: r.Method, Protocol: r.Proto,
			RequestTime: now.Format("02/Jan/2006:15:04:05 -0700"), RequestTimeEpoch: now.UnixMilli(),
			Identity: events.APIGatewayRequestIdentity{SourceIP: source, UserAgent: r.UserAgent()},
		},
	}
	for segment := range strings.SplitSeq(m.path, "/") {
		if name, ok := strings.CutPrefix(segment, "{"); ok {
			name = strings.TrimRight(name, "+}")
			event.PathParameters[name] = r.PathValue(name)
		}
	}
	return event, nil
}

func lastValues(values map[string][]string) map[string]string {
	last := map[string]string{}
	for name, all := range values {
		last[name] = all[len(all)-1]
	}
	return last
}

// gatewayResponse is what the gateway itself answers: AWS::ApiGateway::GatewayResponse.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
type gatewayResponse struct {
	status  int
	headers map[string]string
	body    string
}

func (g *Gateway) addResponse(s *Stack, id string) error {
	var p struct {
		RestAPIID, ResponseType, StatusCode   string
		ResponseParameters, ResponseTemplates map[string]string
	}
	if err := s.convertProperties(id, &p); err != nil {
		return err
	}
	response := gatewayResponse{status: http.StatusBadGateway, headers: map[string]string{},
		body: p.ResponseTemplates["application/json"]}
	if p.StatusCode != "" {
		var err error
		if response.status, err = strconv.Atoi(p.StatusCode); err != nil {
			return err
		}
	}
	for name, value := range p.ResponseParameters {
		// A literal is in single quotes.
		response.headers[strings.TrimPrefix(name, "gatewayresponse.header.")] = strings.Trim(value, "'")
	}
	g.responses[p.ResponseType] = response
	return nil
}

// respond answers with the gateway response of a type, or with status 500 if the template does not have it.
func (g *Gateway) respond(w http.ResponseWriter, event *events.APIGatewayProxyRequest, kind string) {
	response, ok := g.responses[kind]
	if !ok {
		http.Error(w, "the template has no gateway response "+kind, http.StatusInternalServerError)
		return
	}
	for name, value := range response.headers {
		w.Header().Set(name, value)
	}
	w.WriteHeader(response.status)
	_, _ = io.WriteString(w, strings.ReplaceAll(response.body, "$context.requestId", event.RequestContext.RequestID))
}
