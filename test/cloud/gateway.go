package cloud

import (
	"cmp"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
)

// Gateway is the REST API of the template: its routes, authorizers and own responses. Only what the deployment waits for is
// served, since a deployment is a snapshot of what is there when it is made.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-deploy-api.html
type Gateway struct {
	URL string // with the stage, without a slash at the end

	server      *httptest.Server
	id, stage   string
	routes      []route
	authorizers map[string]*authorizer
	responses   map[string]gatewayResponse
	compressAt  int // bytes from which on answers are compressed; 0: never
	binary      []string
}

// route is a resource with methods.
type route struct {
	id       string
	path     string
	segments []string
	methods  map[string]*method
}

// method is AWS::ApiGateway::Method.
type method struct {
	HttpMethod, ResourceId, RestApiId, AuthorizationType, AuthorizerId, OperationName string //nolint:revive // the template's names
	ApiKeyRequired                                                                    bool   //nolint:revive // likewise
	RequestParameters                                                                 map[string]any
	RequestValidatorId, RequestModels, MethodResponses                                any //nolint:revive // likewise
	Integration                                                                       struct {
		Type, IntegrationHttpMethod, Uri, PassthroughBehavior, ContentHandling string //nolint:revive // likewise
		TimeoutInMillis                                                        int
	}

	function *Function
}

// newGateway puts the parts of the template together. A template without a REST API has none.
func newGateway(s *Stack) (*Gateway, error) {
	apis := s.Template.Of("AWS::ApiGateway::RestApi")
	if len(apis) == 0 {
		return nil, nil
	}
	if len(apis) > 1 {
		return nil, fmt.Errorf("there are several REST APIs: %v", apis)
	}
	g := &Gateway{id: apis[0], authorizers: map[string]*authorizer{}, responses: map[string]gatewayResponse{}}
	api, err := s.properties(g.id)
	if err != nil {
		return nil, err
	}
	if size, ok := api["MinimumCompressionSize"].(float64); ok {
		g.compressAt = int(size)
	}
	if g.binary, err = stringList(api["BinaryMediaTypes"]); err != nil {
		return nil, err
	}
	live, err := g.snapshot(s)
	if err != nil {
		return nil, err
	}
	for _, id := range s.Template.Of("AWS::ApiGateway::Authorizer") {
		if g.authorizers[id], err = newAuthorizer(s, g, id); err != nil {
			return nil, fmt.Errorf("%s: %w", id, err)
		}
	}
	for _, id := range s.Template.Of("AWS::ApiGateway::GatewayResponse") {
		if live[id] {
			if err := g.addResponse(s, id); err != nil {
				return nil, fmt.Errorf("%s: %w", id, err)
			}
		}
	}
	for _, id := range s.Template.Of("AWS::ApiGateway::Method") {
		if live[id] {
			if err := g.addMethod(s, id); err != nil {
				return nil, fmt.Errorf("%s: %w", id, err)
			}
		}
	}
	g.server = httptest.NewServer(g)
	g.URL = g.server.URL + "/" + g.stage
	return g, nil
}

// properties gives those of a resource, functions resolved.
func (s *Stack) properties(id string) (map[string]any, error) {
	v, err := s.Template.Resolve(s.Template.Resources[id].Properties, s.lookup)
	p, _ := v.(map[string]any)
	return p, err
}

// snapshot finds the stage, and all that its deployment waits for.
func (g *Gateway) snapshot(s *Stack) (map[string]bool, error) {
	deployment := ""
	for _, id := range s.Template.Of("AWS::ApiGateway::Stage") {
		p, err := s.properties(id)
		if err != nil {
			return nil, err
		}
		deployment, g.stage = text0(p["DeploymentId"]), text0(p["StageName"])
	}
	for _, id := range s.Template.Of("AWS::ApiGateway::Deployment") { // which may have its stage with it
		p, err := s.properties(id)
		if err != nil {
			return nil, err
		}
		if name := text0(p["StageName"]); name != "" {
			deployment, g.stage = id, name
		}
	}
	if deployment == "" || g.stage == "" {
		return nil, fmt.Errorf("the REST API has no stage")
	}
	live := map[string]bool{}
	var visit func(id string) error
	visit = func(id string) error {
		if live[id] {
			return nil
		}
		live[id] = true
		needs, err := s.Template.Needs(id)
		for _, need := range needs {
			if err == nil {
				err = visit(need)
			}
		}
		return err
	}
	return live, visit(deployment)
}

func (g *Gateway) addMethod(s *Stack, id string) error {
	p, err := s.properties(id)
	if err != nil {
		return err
	}
	m := &method{}
	if err := convert(p, m); err != nil {
		return err
	}
	path, err := g.path(s, m.ResourceId)
	if err != nil {
		return err
	}
	switch m.Integration.Type {
	case "AWS_PROXY":
		if m.function, err = s.invocation(m.Integration.Uri); err != nil {
			return err
		}
		source := arnOf("execute-api", strings.Join([]string{g.id, g.stage, cmp.Or(strings.Replace(m.HttpMethod, "ANY", "*", 1), "*"), strings.TrimPrefix(path, "/")}, "/"))
		if err := s.mayInvoke(m.function, "apigateway.amazonaws.com", source); err != nil {
			return err
		}
	default:
		return fmt.Errorf("the integration %q is not understood here", m.Integration.Type)
	}
	if m.AuthorizationType != "NONE" && (m.AuthorizationType != "CUSTOM" || g.authorizers[m.AuthorizerId] == nil) {
		return fmt.Errorf("the authorization %s by %q is not understood here", m.AuthorizationType, m.AuthorizerId)
	}
	i := slices.IndexFunc(g.routes, func(r route) bool { return r.path == path })
	if i < 0 {
		i = len(g.routes)
		segments := strings.Split(path[1:], "/")
		if path == "/" {
			segments = nil
		}
		g.routes = append(g.routes, route{id: m.ResourceId, path: path, segments: segments, methods: map[string]*method{}})
	}
	if g.routes[i].methods[m.HttpMethod] != nil {
		return fmt.Errorf("%s has %s twice", path, m.HttpMethod)
	}
	g.routes[i].methods[m.HttpMethod] = m
	return nil
}

// path puts a resource's path together from its parents.
func (g *Gateway) path(s *Stack, id string) (string, error) {
	if id == g.id+".RootResourceId" {
		return "/", nil
	}
	p, err := s.properties(id)
	if err != nil {
		return "", err
	}
	parent, err := g.path(s, text0(p["ParentId"]))
	return strings.TrimSuffix(parent, "/") + "/" + text0(p["PathPart"]), err
}

// invocation finds the function of an integration's URI.
func (s *Stack) invocation(uri string) (*Function, error) {
	_, rest, ok := strings.Cut(uri, ":lambda:path/2015-03-31/functions/")
	arn, ends := strings.CutSuffix(rest, "/invocations")
	if !ok || !ends {
		return nil, fmt.Errorf("the URI %q is not understood here", uri)
	}
	return s.functionByARN(arn)
}

func (g *Gateway) close() {
	if g.server != nil {
		g.server.CloseClientConnections()
		g.server.Close()
	}
}
