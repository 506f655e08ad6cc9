package template_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
)

const (
	aRestAPI         = "AWS::ApiGateway::RestApi"
	aMethod          = "AWS::ApiGateway::Method"
	anAuthorizer     = "AWS::ApiGateway::Authorizer"
	aGatewayResponse = "AWS::ApiGateway::GatewayResponse"
	aDeployment      = "AWS::ApiGateway::Deployment"
	aStage           = "AWS::ApiGateway::Stage"
)

// documented is api/openapi.yaml, as far as the gateway is concerned.
type documented struct {
	Security []any                     `yaml:"security"`
	Paths    map[string]map[string]any `yaml:"paths"`
}

var document = sync.OnceValues(func() (document documented, err error) {
	src, err := os.ReadFile(filepath.Join(root, "api", "openapi.yaml"))
	if err != nil {
		return document, err
	}
	return document, yaml.Unmarshal(src, &document)
})

// lists returns the documented paths whose answers are as long as the client asks, by the parameter limit.
func lists() ([]string, error) {
	document, err := document()
	var paths []string
	for _, path := range slices.Sorted(maps.Keys(document.Paths)) {
		for _, parameter := range list(at(document.Paths[path]["get"], "parameters")) {
			if at(parameter, "name") == "limit" {
				paths = append(paths, path)
			}
		}
	}
	return paths, err
}

// description gives the routes of api/openapi.yaml: by path, whether a token is wanted.
var description = sync.OnceValues(func() (map[string]bool, error) {
	document, err := document()
	if err != nil {
		return nil, err
	}
	closed := map[string]bool{}
	for path, item := range document.Paths {
		if item["x-one-machine"] != nil { // has no gateway
			continue
		}
		closed[path] = len(document.Security) > 0
		if security, stated := at(item["get"], "security").([]any); stated {
			closed[path] = len(security) > 0
		}
	}
	return closed, nil
})

// servedBy is which function answers a documented route.
var servedBy = map[string]string{"/team": "Team", "/ice-cream/{person}": "Lookup"} // the others by Uploads

// routes: what the description has is there, behind the authorizer where it says so; what it has not is a 404 of ours.
func routes(t *template) (c complaints) {
	documented, err := description()
	if err != nil {
		c.add("api/openapi.yaml: %v", err)
		return c
	}
	methods := map[string]string{}
	for _, id := range t.of(aMethod) {
		methods[text(t.get(id, "HttpMethod"))+" "+pathOf(t, t.get(id, "ResourceId"))] = id
	}
	// The catch-all route serves its own 404; GET of any other path must not get there, nor be open by a slip.
	wanted := map[string]string{"ANY /": "NONE", "ANY /{proxy+}": "NONE"}
	for path, closed := range documented {
		wanted["ANY "+path] = "NONE" // 405, preflight
		if closed {
			wanted["GET "+path], wanted["HEAD "+path] = "CUSTOM", "CUSTOM"
		}
	}
	for _, route := range slices.Sorted(maps.Keys(wanted)) {
		id, there := methods[route]
		if !there {
			c.add("%s: no such route", route)
			continue
		}
		delete(methods, route)
		if got := t.get(id, "AuthorizationType"); got != wanted[route] {
			c.add("%s: %s has authorization %v; want %s", id, route, got, wanted[route])
		}
		if wanted[route] == "CUSTOM" && !t.is(target(t.get(id, "AuthorizerId")), anAuthorizer) {
			c.add("%s: %s has no authorizer", id, route)
		}
		_, path, _ := strings.Cut(route, " ")
		function := servedBy[path]
		if function == "" {
			function = "Uploads"
		}
		function += "LambdaFunction"
		if uri := spelled(t.get(id, "Integration", "Uri")); t.get(id, "Integration", "Type") != "AWS_PROXY" || !strings.Contains(uri, "/${"+function+".Arn}/invocations") {
			c.add("%s: %s does not get to %s but to %s", id, route, function, uri)
		}
		if !behindGateway(t, function) {
			c.add("%s: %s may not be invoked by the gateway", id, function)
		}
	}
	for _, route := range slices.Sorted(maps.Keys(methods)) {
		c.add("%s: %s is not in api/openapi.yaml", methods[route], route)
	}
	return c
}

// pathOf spells the path of what a method's ResourceId refers to.
func pathOf(t *template, resource any) string {
	id := target(resource)
	if t.is(id, aRestAPI) {
		return "/"
	}
	return strings.TrimSuffix(pathOf(t, t.get(id, "ParentId")), "/") + "/" + text(t.get(id, "PathPart"))
}

// Headers that must get to the authorizer, and such that can be refused without it.
var (
	goodHeaders = []string{
		"Bearer eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIn0.c2ln-_nature",
		"bearer eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIn0.c2lnbmF0dXJl", // RFC 7235 section 2.1: any case
		"BEARER  e30.e30.c2ln", // RFC 6750 section 2.1 has one space, RFC 7235 any number
	}
	badHeaders = []string{
		"", "Bearer", "Bearer ", "eyJh.eyJp.c2ln", "Basic YTpi", "Bearer a.b", "Bearer a.b.", "Bearer .b.c", "Bearer a.b.c.d",
		"Bearer a.b.c, Bearer a.b.c", "Bearer a b.c.d", "Bearer a.b.c\nX: y", "xBearer a.b.c", "Bearer a+b.c.d", "Bearer a.b.c=",
	}
)

// authorizer: it sees every header that could be good, and its answers are kept for a while, but not long: so long a token
// that was withdrawn still reads.
func authorizer(t *template) (c complaints) {
	all := t.of(anAuthorizer)
	if len(all) != 1 {
		c.add("%d authorizers; want one", len(all))
	}
	for _, id := range all {
		if typ, source := t.get(id, "Type"), t.get(id, "IdentitySource"); typ != "TOKEN" || source != "method.request.header.Authorization" {
			c.add("%s: of type %v, looks at %v", id, typ, source)
		}
		if ttl := number(t.get(id, "AuthorizerResultTtlInSeconds"), 300); ttl < 60 || ttl > 300 {
			c.add("%s: keeps answers for %v seconds; want 60 to 300", id, ttl)
		}
		if !strings.Contains(spelled(t.get(id, "AuthorizerUri")), "/${AuthorizerLambdaFunction.Arn}/invocations") || !behindGateway(t, "AuthorizerLambdaFunction") {
			c.add("%s: does not ask AuthorizerLambdaFunction, or may not", id)
		}
		expression, err := regexp.Compile(text(t.get(id, "IdentityValidationExpression")))
		if err != nil {
			c.add("%s: %v", id, err)
			continue
		}
		for _, header := range goodHeaders {
			if !expression.MatchString(header) {
				c.add("%s: refuses %q unseen", id, header)
			}
		}
		for _, header := range badHeaders {
			if expression.MatchString(header) {
				c.add("%s: asks the function about %q", id, header)
			}
		}
	}
	return c
}

// gatewayStatuses are what the API answers where the gateway answers by itself. "" keeps the gateway's own.
// The types there are: https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
var gatewayStatuses = map[string]string{
	"UNAUTHORIZED": "401", "ACCESS_DENIED": "403", "THROTTLED": "429",
	"MISSING_AUTHENTICATION_TOKEN": "404", "RESOURCE_NOT_FOUND": "404", "INVALID_SIGNATURE": "404",
	"AUTHORIZER_FAILURE": "503", "AUTHORIZER_CONFIGURATION_ERROR": "503", "INTEGRATION_TIMEOUT": "503",
	"INTEGRATION_FAILURE": "503", "API_CONFIGURATION_ERROR": "503",
	"DEFAULT_4XX": "", "DEFAULT_5XX": "", // all others: each would be none of ours to have another status
}

// contextVariable is what a template of the gateway has filled in: quoted by itself where its name ends in String.
var contextVariable = regexp.MustCompile(`\$context\.[A-Za-z.]+`)

// gatewayResponses: the gateway speaks as the API does: RFC 9457, readable by pages of the allowed origin.
func gatewayResponses(t *template) (c complaints) {
	missing := maps.Clone(gatewayStatuses)
	for _, id := range t.of(aGatewayResponse) {
		typ := text(t.get(id, "ResponseType"))
		want, known := gatewayStatuses[typ]
		if _, open := missing[typ]; !known || !open {
			c.add("%s: %q is no type that we answer, or twice", id, typ)
			continue
		}
		delete(missing, typ)
		if got := text(t.get(id, "StatusCode")); got != want {
			c.add("%s: status %q; want %q", id, got, want)
		}
		header := func(name string) string { return text(t.get(id, "ResponseParameters", "gatewayresponse.header."+name)) }
		for name, value := range map[string]string{
			"Content-Type": "'application/problem+json'", "Cache-Control": "'no-store'", "X-Content-Type-Options": "'nosniff'",
			"Access-Control-Allow-Origin": "'" + text(t.get("TeamLambdaFunction", "Environment", "Variables", "ALLOWED_ORIGIN")) + "'",
		} {
			if got := header(name); got != value {
				c.add("%s: header %s is %s; want %s", id, name, got, value)
			}
		}
		if !strings.Contains(header("Access-Control-Expose-Headers"), "WWW-Authenticate") {
			c.add("%s: pages can't see WWW-Authenticate", id)
		}
		for name, types := range map[string]string{"WWW-Authenticate": "401 403", "Retry-After": "429 503"} {
			if want != "" && strings.Contains(types, want) != (header(name) != "") {
				c.add("%s: header %s is %q", id, name, header(name))
			}
		}
		rendered := contextVariable.ReplaceAllStringFunc(text(t.get(id, "ResponseTemplates", "application/json")), func(variable string) string {
			if strings.HasSuffix(variable, "String") {
				return `"text"`
			}
			return "id"
		})
		var problem struct {
			Type, Title, Detail, Instance string
			Status                        json.Number
		}
		if err := json.Unmarshal([]byte(rendered), &problem); err != nil {
			c.add("%s: its body is not JSON: %v: %s", id, err, rendered)
		} else if problem.Type == "" || problem.Title == "" || problem.Detail == "" || problem.Instance == "" || problem.Status.String() != want {
			c.add("%s: its body is no problem document of status %q: %s", id, want, rendered)
		}
	}
	for _, typ := range slices.Sorted(maps.Keys(missing)) {
		c.add("ApiGatewayRestApi: says %s in its own words", typ)
	}
	return c
}

// loggedVariables are the variables that an access log line may have. None of them holds a name from the table: a path or a
// query string does, and a claim of a token may hold the reader's.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-variables-for-access-logging.html
var loggedVariables = []string{
	"$context.requestId", "$context.requestTime", "$context.identity.sourceIp", "$context.httpMethod", "$context.resourcePath", "$context.status",
	"$context.responseLatency", "$context.responseLength", "$context.authorizer.principalId", "$context.authorizer.status",
	"$context.authorizer.error", "$context.error.responseType", "$context.awsEndpointRequestId",
}

// nameless reports logs and traces of the gateway that would hold the names of people.
func nameless(t *template) (c complaints) {
	for _, id := range t.of(aStage) {
		for _, variable := range contextVariable.FindAllString(text(t.get(id, "AccessLogSetting", "Format")), -1) {
			if !slices.Contains(loggedVariables, variable) {
				c.add("%s: %s is in the access log and may hold a name", id, variable)
			}
		}
		// X-Ray has the whole URL of a request, query string included, and no way to leave it out.
		// https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-understanding-xray-traces.html
		if t.get(id, "TracingEnabled") == true {
			c.add("%s: the gateway's traces hold URLs, and so names", id)
		}
		for _, setting := range list(t.get(id, "MethodSettings")) {
			if level := at(setting, "LoggingLevel"); level != "ERROR" && level != "OFF" {
				c.add("%s: the execution log has the path of each request at level %v; want ERROR or OFF", id, level)
			}
		}
	}
	return c
}

// stage: it logs who read what but no token, holds back a flood, and shows the API as it is in the template.
func stage(t *template) (c complaints) {
	stages, deployments := t.of(aStage), t.of(aDeployment)
	if len(stages) != 1 || len(deployments) != 1 {
		c.add("%d stages of %d deployments; want one of one", len(stages), len(deployments))
		return c
	}
	id, deployment := stages[0], deployments[0]
	if target(t.get(id, "DeploymentId")) != deployment || t.get(deployment, "StageName", "Ref") != "AWS::NoValue" {
		c.add("%s: is not what %s is shown by", id, deployment)
	}
	// A deployment is a snapshot: what is made after it is not in it.
	earlier := texts(t.Resources[deployment].DependsOn)
	for _, needed := range slices.Concat(t.of(aMethod), t.of(aGatewayResponse)) {
		if !slices.Contains(earlier, needed) {
			c.add("%s: may be made before %s", deployment, needed)
		}
	}
	if !t.is(target(t.get(id, "AccessLogSetting", "DestinationArn")), "AWS::Logs::LogGroup") {
		c.add("%s: no access log", id)
	}
	// The gateway makes this group by itself if it is not there, and such a one keeps all for ever.
	execution := "API-Gateway-Execution-Logs_${ApiGatewayRestApi}/" + text(t.get(id, "StageName"))
	if !slices.ContainsFunc(t.of("AWS::Logs::LogGroup"), func(group string) bool {
		return spelled(t.get(group, "LogGroupName")) == execution && slices.Contains(texts(t.Resources[id].DependsOn), group)
	}) {
		c.add("%s: no log group %s before it", id, execution)
	}
	format := text(t.get(id, "AccessLogSetting", "Format"))
	var line map[string]string
	if err := json.Unmarshal([]byte(format), &line); err != nil || !strings.Contains(format, "$context.requestId") {
		c.add("%s: access log lines are not JSON with a request id: %s", id, format)
	}
	if strings.Contains(strings.ToLower(format), "header") || strings.Contains(format, "claims") {
		c.add("%s: the access log tells tokens: %s", id, format)
	}
	settings := map[string]any{} // by method and path
	for _, setting := range list(t.get(id, "MethodSettings")) {
		method := text(at(setting, "HttpMethod")) + " " + text(at(setting, "ResourcePath"))
		settings[method] = setting
		if at(setting, "DataTraceEnabled") != false {
			c.add("%s: %s logs whole requests, tokens and all", id, method)
		}
		if at(setting, "MetricsEnabled") != true {
			c.add("%s: %s has no metrics by route", id, method)
		}
		for _, limit := range limits {
			if number(at(setting, limit), 0) <= 0 {
				c.add("%s: %s has no %s", id, method, limit)
			}
		}
	}
	all := settings["* /*"]
	if all == nil {
		c.add("%s: settings are not of all methods", id)
		return c
	}
	// The limits are those of each method, so one that reads much needs its own.
	// https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html
	paths, err := lists()
	if err != nil || len(paths) == 0 {
		c.add("api/openapi.yaml: %d lists, %v", len(paths), err)
	}
	for _, path := range paths {
		for _, method := range []string{"GET", "HEAD"} {
			setting := settings[method+" /"+strings.ReplaceAll(path, "/", "~1")]
			for _, limit := range limits {
				if number(at(setting, limit), 0) >= number(at(all, limit), 0) || setting == nil {
					c.add("%s: %s %s may be asked for as often as what is cheap: %s", id, method, path, limit)
				}
			}
		}
	}
	return c
}

var limits = []string{"ThrottlingRateLimit", "ThrottlingBurstLimit"}
