package template_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

const (
	aDeployment = "AWS::ApiGateway::Deployment"
	aStage      = "AWS::ApiGateway::Stage"
)

var stageRules = []rule{
	{"the stage logs and limits requests and includes all methods", stage, []mutation{
		{"no access log", without("ApiStage", "AccessLogSetting")},
		{"execution log never expires", remove("ExecutionLog")},
		{"claims in the access log", replace("ApiStage", "$context.resourcePath", "$context.authorizer.claims")},
		{"data tracing", set("ApiStage", true, "MethodSettings/0/DataTraceEnabled")},
		{"no rate limit", without("ApiStage", "MethodSettings/0/ThrottlingRateLimit")},
		{"no burst limit of one method", without("ApiStage", "MethodSettings/1/ThrottlingBurstLimit")},
		{"list with the limit of other methods", set("ApiStage", 200.0, "MethodSettings/1/ThrottlingRateLimit")},
		{"another list", replace("ApiStage", "/~1uploads", "/~1upload")},
		{"one method of a list", replace("ApiStage", `"HEAD"`, `"PUT"`)},
		{"path that is not encoded", replace("ApiStage", "/~1team", "/team")},
		{"data tracing of one method", set("ApiStage", true, "MethodSettings/2/DataTraceEnabled")},
		{"one method without metrics", without("ApiStage", "MethodSettings/2/MetricsEnabled")},
		{"deployment before a gateway response", func(t *template) {
			deployment := t.Resources[t.of(aDeployment)[0]]
			deployment.DependsOn = slices.DeleteFunc(list(deployment.DependsOn), func(id any) bool { return id == "Gateway5xx" })
		}},
	}},
	{"the gateway logs no names", nameless, []mutation{
		{"path", replace("ApiStage", "$context.resourcePath", "$context.path")},
		{"path in another field", replace("ApiStage", "$context.requestTime", "$context.requestTime $context.path")},
		{"claim of the token", replace("ApiStage", "$context.authorizer.principalId", "$context.authorizer.email")},
		{"tracing", set("ApiStage", true, "TracingEnabled")},
		{"paths in the execution log", set("ApiStage", "INFO", "MethodSettings/0/LoggingLevel")},
	}},
}

// loggedVariables are the variables that an access log line may have. They contain no name, unlike a path, a query
// string or a claim of a token.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-variables-for-access-logging.html
var loggedVariables = []string{
	"$context.requestId", "$context.requestTime", "$context.identity.sourceIp", "$context.httpMethod",
	"$context.resourcePath", "$context.status",
	"$context.responseLatency", "$context.responseLength", "$context.authorizer.principalId", "$context.authorizer.status",
	"$context.authorizer.error", "$context.error.responseType", "$context.awsEndpointRequestId",
}

// nameless requires that the gateway's logs and traces contain no names of people.
func nameless(t *template) (v violations) {
	for _, id := range t.of(aStage) {
		for _, variable := range contextVariable.FindAllString(text(t.get(id, "AccessLogSetting", "Format")), -1) {
			if !slices.Contains(loggedVariables, variable) {
				v.add("%s: the access log has %s, which may contain a name", id, variable)
			}
		}
		// X-Ray records the whole URL of a request, and there is no way to exclude it.
		// https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-understanding-xray-traces.html
		if t.get(id, "TracingEnabled") == true {
			v.add("%s: tracing is enabled, which records URLs that contain names", id)
		}
		for _, setting := range list(t.get(id, "MethodSettings")) {
			if level := at(setting, "LoggingLevel"); level != "ERROR" && level != "OFF" {
				v.add("%s: LoggingLevel is %v, which logs the path of each request; want ERROR or OFF", id, level)
			}
		}
	}
	return v
}

// stage requires that the stage logs requests without tokens, limits their rate, and includes all methods and gateway
// responses.
func stage(t *template) (v violations) {
	stages, deployments := t.of(aStage), t.of(aDeployment)
	if len(stages) != 1 || len(deployments) != 1 {
		v.add("the template has %d stages and %d deployments; want one of each", len(stages), len(deployments))
		return v
	}
	id, deployment := stages[0], deployments[0]
	if target(t.get(id, "DeploymentId")) != deployment || t.get(deployment, "StageName", "Ref") != "AWS::NoValue" {
		v.add("%s: does not use %s", id, deployment)
	}
	// A deployment is a snapshot, which lacks everything that is created later.
	earlier := texts(t.Resources[deployment].DependsOn)
	for _, needed := range slices.Concat(t.of(aMethod), t.of(aGatewayResponse)) {
		if !slices.Contains(earlier, needed) {
			v.add("%s: DependsOn lacks %s", deployment, needed)
		}
	}
	if !t.is(target(t.get(id, "AccessLogSetting", "DestinationArn")), "AWS::Logs::LogGroup") {
		v.add("%s: no access log", id)
	}
	// If this group does not exist, the gateway creates one that never expires.
	execution := "API-Gateway-Execution-Logs_${ApiGatewayRestApi}/" + text(t.get(id, "StageName"))
	if !slices.ContainsFunc(t.of("AWS::Logs::LogGroup"), func(group string) bool {
		return spelled(t.get(group, "LogGroupName")) == execution && slices.Contains(texts(t.Resources[id].DependsOn), group)
	}) {
		v.add("%s: DependsOn lacks a log group %s", id, execution)
	}
	format := text(t.get(id, "AccessLogSetting", "Format"))
	var line map[string]string
	if err := json.Unmarshal([]byte(format), &line); err != nil || !strings.Contains(format, "$context.requestId") {
		v.add("%s: access log lines are not JSON with a request id: %s", id, format)
	}
	if strings.Contains(strings.ToLower(format), "header") || strings.Contains(format, "claims") {
		v.add("%s: the access log contains tokens: %s", id, format)
	}
	settings := map[string]any{} // by method and path
	for _, setting := range list(t.get(id, "MethodSettings")) {
		method := text(at(setting, "HttpMethod")) + " " + text(at(setting, "ResourcePath"))
		settings[method] = setting
		if at(setting, "DataTraceEnabled") != false {
			v.add("%s: DataTraceEnabled of %s is not false, so it logs tokens", id, method)
		}
		if at(setting, "MetricsEnabled") != true {
			v.add("%s: MetricsEnabled of %s is not true", id, method)
		}
		for _, limit := range limits {
			if number(at(setting, limit), 0) <= 0 {
				v.add("%s: %s has no %s", id, method, limit)
			}
		}
	}
	all := settings["* /*"]
	if all == nil {
		v.add("%s: no settings for all methods", id)
		return v
	}
	// The limits apply to each method separately, so methods that read many items need their own.
	// https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html
	paths, err := lists()
	if err != nil || len(paths) == 0 {
		v.add("api/openapi.yaml: %d paths with a limit, error %v", len(paths), err)
	}
	for _, path := range paths {
		for _, method := range []string{"GET", "HEAD"} {
			setting := settings[method+" /"+strings.ReplaceAll(path, "/", "~1")]
			for _, limit := range limits {
				if number(at(setting, limit), 0) >= number(at(all, limit), 0) || setting == nil {
					v.add("%s: %s of %s %s is not below that of all methods", id, limit, method, path)
				}
			}
		}
	}
	return v
}

var limits = []string{"ThrottlingRateLimit", "ThrottlingBurstLimit"}

// lists returns the documented paths whose responses have a length that the client chooses with the parameter limit.
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
