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
)

var gatewayRules = []rule{
	{"routes match the OpenAPI document", routes, []mutation{
		{"route removed", remove("ApiGatewayMethodUploadsIdVarGet")},
		{"public route", set("ApiGatewayMethodTeamGet", "NONE", "AuthorizationType")},
		{"public HEAD", set("ApiGatewayMethodTeamHead", "NONE", "AuthorizationType")},
		{"protected health check", set("ApiGatewayMethodHealthzAny", "CUSTOM", "AuthorizationType")},
		{"no authorizer", without("ApiGatewayMethodTeamGet", "AuthorizerId")},
		{"no catch-all route", remove("ApiGatewayMethodProxyVarAny")},
		{"another function", replace("ApiGatewayMethodTeamGet", "TeamLambdaFunction", "LookupLambdaFunction")},
		{"undocumented method", set("ApiGatewayMethodTeamAny", "DELETE", "HttpMethod")},
		{"another path", set("ApiGatewayResourceIceDashcream", "icecream", "PathPart")},
		{"no permission to invoke", remove("TeamLambdaPermissionApiGateway")},
	}},
	{"the authorizer receives every possible token", authorizer, []mutation{
		{"another header", set(theAuthorizer, "method.request.header.X-Token", "IdentitySource")},
		{"cached for an hour", set(theAuthorizer, 3600.0, "AuthorizerResultTtlInSeconds")},
		{"case-sensitive scheme", replace(theAuthorizer, "[Bb][Ee][Aa][Rr][Ee][Rr]", "Bearer")},
		{"any header", set(theAuthorizer, ".*", "IdentityValidationExpression")},
		{"no permission to invoke", remove("AuthorizerLambdaPermissionApiGateway")},
	}},
	{"gateway responses are problem documents", gatewayResponses, []mutation{
		{"response removed", remove("GatewayThrottled")},
		{"unknown type", set("GatewayThrottled", "TOO_MANY", "ResponseType")},
		{"another status", set("GatewayNoRoute", "403", "StatusCode")},
		{"status of a default response", set("Gateway4xx", "400", "StatusCode")},
		{"invalid JSON", replace("Gateway4xx", "$context.error.messageString", "$context.error.message")},
		{"status differs from body", replace("GatewayForbidden", `\"status\":403`, `\"status\":401`)},
		{"another content type", replace("GatewayForbidden", "application/problem+json", "application/json")},
		{"no CORS header", without("Gateway5xx", "ResponseParameters/gatewayresponse.header.Access-Control-Allow-Origin")},
		{"401 without challenge", without("GatewayUnauthorized",
			"ResponseParameters/gatewayresponse.header.WWW-Authenticate")},
		{"502 when throttled", remove("GatewayFunctionFailure")},
		{"500 when throttled", without("GatewayFunctionConfiguration", "StatusCode")},
		{"503 without Retry-After", without("GatewayTimeout", "ResponseParameters/gatewayresponse.header.Retry-After")},
	}},
}

// documented is the part of api/openapi.yaml that concerns the gateway.
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

// protected returns the paths of api/openapi.yaml with whether they require a token.
var protected = sync.OnceValues(func() (map[string]bool, error) {
	document, err := document()
	if err != nil {
		return nil, err
	}
	closed := map[string]bool{}
	for path, item := range document.Paths {
		if item["x-one-machine"] != nil { // not on AWS
			continue
		}
		closed[path] = len(document.Security) > 0
		if security, stated := at(item["get"], "security").([]any); stated {
			closed[path] = len(security) > 0
		}
	}
	return closed, nil
})

// servedBy has the functions of documented routes. Uploads serves the others.
var servedBy = map[string]string{"/team": "Team", "/ice-cream/{person}": "Lookup"}

// routes requires every route of the OpenAPI document, with the authorizer if it requires a token. The catch-all route
// answers all others with a problem document.
func routes(t *template) (v violations) {
	documented, err := protected()
	if err != nil {
		v.add("api/openapi.yaml: %v", err)
		return v
	}
	methods := map[string]string{}
	for _, id := range t.of(aMethod) {
		methods[text(t.get(id, "HttpMethod"))+" "+pathOf(t, t.get(id, "ResourceId"))] = id
	}
	wanted := map[string]string{"ANY /": "NONE", "ANY /{proxy+}": "NONE"}
	for path, closed := range documented {
		wanted["ANY "+path] = "NONE" // answers 405 and preflight requests
		if closed {
			wanted["GET "+path], wanted["HEAD "+path] = "CUSTOM", "CUSTOM"
		}
	}
	for _, route := range slices.Sorted(maps.Keys(wanted)) {
		id, there := methods[route]
		if !there {
			v.add("%s: the route is missing", route)
			continue
		}
		delete(methods, route)
		if got := t.get(id, "AuthorizationType"); got != wanted[route] {
			v.add("%s: %s has AuthorizationType %v; want %s", id, route, got, wanted[route])
		}
		if wanted[route] == "CUSTOM" && !t.is(target(t.get(id, "AuthorizerId")), anAuthorizer) {
			v.add("%s: %s has no authorizer", id, route)
		}
		_, path, _ := strings.Cut(route, " ")
		function := servedBy[path]
		if function == "" {
			function = "Uploads"
		}
		function += "LambdaFunction"
		uri := spelled(t.get(id, "Integration", "Uri"))
		if t.get(id, "Integration", "Type") != "AWS_PROXY" || !strings.Contains(uri, "/${"+function+".Arn}/invocations") {
			v.add("%s: %s invokes %s; want %s", id, route, uri, function)
		}
		if !behindGateway(t, function) {
			v.add("%s: no permission allows the gateway to invoke %s", id, function)
		}
	}
	for _, route := range slices.Sorted(maps.Keys(methods)) {
		v.add("%s: %s is not in api/openapi.yaml", methods[route], route)
	}
	return v
}

// pathOf returns the path of the resource that a method's ResourceId refers to.
func pathOf(t *template, resource any) string {
	id := target(resource)
	if t.is(id, aRestAPI) {
		return "/"
	}
	return strings.TrimSuffix(pathOf(t, t.get(id, "ParentId")), "/") + "/" + text(t.get(id, "PathPart"))
}

// Headers that must reach the authorizer, and headers that the gateway can refuse without it.
var (
	goodHeaders = []string{
		"Bearer eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIn0.c2ln-_nature",
		"bearer eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIn0.c2lnbmF0dXJl", // RFC 7235 section 2.1: any case
		"BEARER  e30.e30.c2ln", // RFC 6750 section 2.1 has one space, RFC 7235 any number
	}
	badHeaders = []string{
		"", "Bearer", "Bearer ", "eyJh.eyJp.c2ln", "Basic YTpi", "Bearer a.b", "Bearer a.b.", "Bearer .b.c", "Bearer a.b.c.d",
		"Bearer a.b.c, Bearer a.b.c", "Bearer a b.c.d", "Bearer a.b.c\nX: y", "xBearer a.b.c", "Bearer a+b.c.d",
		"Bearer a.b.c=",
	}
)

// authorizer requires that every header which may be valid reaches the authorizer, and that its answers are cached, but
// not for long: a revoked token remains valid for that time.
func authorizer(t *template) (v violations) {
	all := t.of(anAuthorizer)
	if len(all) != 1 {
		v.add("the template has %d authorizers; want one", len(all))
	}
	for _, id := range all {
		if typ, source := t.get(id, "Type"), t.get(id, "IdentitySource"); typ != "TOKEN" ||
			source != "method.request.header.Authorization" {
			v.add("%s: type %v, identity source %v; want TOKEN and the Authorization header", id, typ, source)
		}
		if ttl := number(t.get(id, "AuthorizerResultTtlInSeconds"), 300); ttl < 60 || ttl > 300 {
			v.add("%s: caches answers for %v seconds; want 60 to 300", id, ttl)
		}
		if !strings.Contains(spelled(t.get(id, "AuthorizerUri")), "/${AuthorizerLambdaFunction.Arn}/invocations") ||
			!behindGateway(t, "AuthorizerLambdaFunction") {
			v.add("%s: does not invoke AuthorizerLambdaFunction, or has no permission", id)
		}
		expression, err := regexp.Compile(text(t.get(id, "IdentityValidationExpression")))
		if err != nil {
			v.add("%s: %v", id, err)
			continue
		}
		for _, header := range goodHeaders {
			if !expression.MatchString(header) {
				v.add("%s: the gateway refuses %q; want the function to decide", id, header)
			}
		}
		for _, header := range badHeaders {
			if expression.MatchString(header) {
				v.add("%s: the function is invoked for %q; want the gateway to refuse it", id, header)
			}
		}
	}
	return v
}

// gatewayStatuses are the statuses of gateway responses, by type. An empty status keeps the gateway's own.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
var gatewayStatuses = map[string]string{
	"UNAUTHORIZED": "401", "ACCESS_DENIED": "403", "THROTTLED": "429",
	"MISSING_AUTHENTICATION_TOKEN": "404", "RESOURCE_NOT_FOUND": "404", "INVALID_SIGNATURE": "404",
	"AUTHORIZER_FAILURE": "503", "AUTHORIZER_CONFIGURATION_ERROR": "503", "INTEGRATION_TIMEOUT": "503",
	"INTEGRATION_FAILURE": "503", "API_CONFIGURATION_ERROR": "503",
	"DEFAULT_4XX": "", "DEFAULT_5XX": "", // all other types
}

// contextVariable matches a variable in a template of the gateway. The value has quotes if the name ends in String.
var contextVariable = regexp.MustCompile(`\$context\.[A-Za-z.]+`)

// gatewayResponses requires that the gateway answers with problem documents (RFC 9457), which pages of the allowed
// origin can read.
func gatewayResponses(t *template) (v violations) {
	missing := maps.Clone(gatewayStatuses)
	for _, id := range t.of(aGatewayResponse) {
		typ := text(t.get(id, "ResponseType"))
		want, ok := missing[typ]
		if !ok {
			v.add("%s: the type %q is unknown or has two responses", id, typ)
			continue
		}
		delete(missing, typ)
		if got := text(t.get(id, "StatusCode")); got != want {
			v.add("%s: StatusCode is %q; want %q", id, got, want)
		}
		header := func(name string) string { return text(t.get(id, "ResponseParameters", "gatewayresponse.header."+name)) }
		for name, value := range map[string]string{
			"Content-Type": "'application/problem+json'", "Cache-Control": "'no-store'", "X-Content-Type-Options": "'nosniff'",
			"Access-Control-Allow-Origin": "'" + text(t.get("TeamLambdaFunction", "Environment", "Variables",
				"ALLOWED_ORIGIN")) + "'",
		} {
			if got := header(name); got != value {
				v.add("%s: header %s is %s; want %s", id, name, got, value)
			}
		}
		if !strings.Contains(header("Access-Control-Expose-Headers"), "WWW-Authenticate") {
			v.add("%s: Access-Control-Expose-Headers lacks WWW-Authenticate", id)
		}
		for name, types := range map[string]string{"WWW-Authenticate": "401 403", "Retry-After": "429 503"} {
			if want != "" && strings.Contains(types, want) != (header(name) != "") {
				v.add("%s: header %s is %q; want it with status %s only", id, name, header(name), types)
			}
		}
		rendered := contextVariable.ReplaceAllStringFunc(text(t.get(id, "ResponseTemplates", "application/json")),
			func(variable string) string {
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
			v.add("%s: the body is not JSON: %v: %s", id, err, rendered)
		} else if problem.Type == "" || problem.Title == "" || problem.Detail == "" || problem.Instance == "" ||
			problem.Status.String() != want {
			v.add("%s: the body is no problem document with status %q: %s", id, want, rendered)
		}
	}
	for _, typ := range slices.Sorted(maps.Keys(missing)) {
		v.add("ApiGatewayRestApi: no gateway response of type %s", typ)
	}
	return v
}
