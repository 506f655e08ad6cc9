package template_test

import (
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws"
	"github.com/flavorless/flavorless/internal/lambda/clients"
)

var functionRules = []rule{
	{"functions match the build", functions, []mutation{
		{"function removed", remove("AnnounceLambdaFunction")},
		{"another processor", set("TeamLambdaFunction", []any{"x86_64"}, "Architectures")},
		{"no tracing", without("TeamLambdaFunction", "TracingConfig")},
		{"longer than the gateway waits", set("TeamLambdaFunction", 30.0, "Timeout")},
		{"unlimited concurrency of a queue", without(applyMapping, "ScalingConfig")},
		{"less reserved than the queue may use", set("IngestLambdaFunction", 10.0, "ReservedConcurrentExecutions")},
	}},
	{"timeouts leave time to retry a hung request", hanging, []mutation{
		{"reader with time for one request", set("LookupLambdaFunction", 2.0, "Timeout")},
		{"faster apply", set("ApplyLambdaFunction", 20.0, "Timeout")},
	}},
	{"environment variables hold no secrets", secrets, []mutation{
		{"by name", set("TeamLambdaFunction", "x", "Environment/Variables/CLIENT_SECRET")},
		{"by value", set("TeamLambdaFunction", "AKIA"+"ABCDEFGHIJKLMNOP", "Environment/Variables/SOMETHING")},
		{"in a URL", set("TeamLambdaFunction", "https://me:hush@example.com/", "Environment/Variables/SOMETHING")},
		{"resolved by CloudFormation", set("TeamLambdaFunction", "{{resolve:secretsmanager:s}}",
			"Environment/Variables/SOMETHING")},
	}},
	{"logs expire", logs, []mutation{
		{"never expires", without("TeamLogGroup", "RetentionInDays")},
		{"no group", remove("TeamLogGroup")},
		{"metrics suppressed", set("TeamLambdaFunction", "WARN", "LoggingConfig/ApplicationLogLevel")},
	}},
	{"recursive loops are allowed only where intended", loops, []mutation{
		{"no setting", without("IngestLambdaFunction", "RecursiveLoop")},
		{"default setting", set("IngestLambdaFunction", "Terminate", "RecursiveLoop")},
		{"allowed without a loop", set("ApplyLambdaFunction", "Allow", "RecursiveLoop")},
		{"through a topic", grant("ApplyRole", "sns:Publish", ref("UpdatesTopic"))},
		{"through a queue that is named by a text", grant("ApplyRole", []any{"sqs:SendMessage"},
			sub("arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:flavorless-test-apply"))},
		{"through another function", grant("ApplyRole", "s3:PutObject", sub("${UploadsBucket.Arn}/*"))},
	}},
}

// functions requires the functions that cmd/lambda has, each with its own zip for lambdazip's platform, tracing and
// limits.
func functions(t *template) (v violations) {
	want := []string{"Announce", "Apply", "Authorizer", "Ingest", "Lookup", "Team", "Uploads"}
	for i := range want {
		want[i] += "LambdaFunction"
	}
	if diff := cmp.Diff(want, t.of(aFunction)); diff != "" {
		v.add("functions (-want +got):\n%s", diff)
	}
	patterns := strings.Fields(text(t.get("IngestLambdaFunction", "Environment", "Variables", "IGNORED_OBJECTS")))
	if diff := cmp.Diff(events.DefaultIgnoreList(), events.IgnoreList(patterns)); diff != "" {
		v.add("IngestLambdaFunction: IGNORED_OBJECTS differs from the default of the one-machine server (-want +got):\n%s",
			diff)
	}
	code := map[string]string{}
	for _, id := range t.of(aFunction) {
		platform := append(texts(t.get(id, "Architectures")), text(t.get(id, "Runtime")), text(t.get(id, "Handler")))
		if want := []string{"arm64", "provided.al2023", "bootstrap"}; !slices.Equal(platform, want) {
			v.add("%s: architectures, runtime and handler are %q; want %q", id, platform, want)
		}
		if t.get(id, "TracingConfig", "Mode") != "Active" {
			v.add("%s: tracing is not active", id)
		}
		zip := text(t.get(id, "Code", "S3Key"))
		if other := code[zip]; other != "" || zip == "" {
			v.add("%s: its zip %q is also that of %q", id, zip, other)
		}
		code[zip] = id
		if seconds := number(t.get(id, "Timeout"), 3); seconds > 900 || behindGateway(t, id) && seconds > 29 {
			v.add("%s: Timeout is %v seconds, longer than Lambda or API Gateway waits", id, seconds)
		}
	}
	for _, id := range t.of(aMapping) {
		if queue := target(t.get(id, "EventSourceArn")); t.is(queue, aQueue) &&
			number(t.get(id, "ScalingConfig", "MaximumConcurrency"), 0) < 2 {
			v.add("%s: no MaximumConcurrency, so a full queue takes all of the account's concurrency", id)
		}
		// Messages beyond the function's concurrency are throttled, and each throttled delivery counts as a receive.
		// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
		function := target(t.get(id, "FunctionName"))
		limit := number(t.get(id, "ScalingConfig", "MaximumConcurrency"), 0)
		if reserved := number(t.get(function, "ReservedConcurrentExecutions"), math.Inf(1)); reserved < 2*limit {
			v.add("%s: ReservedConcurrentExecutions is %v; want at least twice the %v of %s", function, reserved, limit, id)
		}
	}
	return v
}

// hanging requires timeouts that leave time to retry a request which a service never answers, and to report the result.
func hanging(t *template) (v violations) {
	for _, id := range t.of(aFunction) {
		timeout := aws.ResponseTimeout
		switch {
		case id == "AuthorizerLambdaFunction":
			continue // it calls the issuer, with its own timeouts
		case behindGateway(t, id):
			timeout = clients.ReaderTimeout
		}
		const pause = 2.0 // seconds: up to one for the SDK's backoff, and one that package shell reserves
		if has, needs := number(t.get(id, "Timeout"), 3), 2*timeout.Seconds()+pause; has < needs {
			v.add("%s: Timeout is %v seconds; want at least %v for two requests of %v each", id, has, needs, timeout)
		}
	}
	return v
}

func behindGateway(t *template, function string) bool {
	for _, id := range t.of(aPermission) {
		if target(t.get(id, "FunctionName")) == function && t.get(id, "Principal") == "apigateway.amazonaws.com" {
			return true
		}
	}
	return false
}

var (
	secretName = regexp.MustCompile(`(?i)secret|passw|credential|private|api_?key|access_?key|^token$|_token$`)
	// Access key ids, tokens, PEM keys, passwords in URLs, and text that is too random for a name.
	secretValue = regexp.MustCompile(`\b(AKIA|ASIA)[A-Z0-9]{16}\b|eyJ[A-Za-z0-9_-]{10,}\.|-----BEGIN|` +
		`gh[pousr]_[A-Za-z0-9]{20,}|[A-Za-z0-9+=]{40,}|://[^/@]*:[^/@]*@`)
	// CloudFormation resolves these to plain text in the function's configuration.
	dynamicReference = regexp.MustCompile(`\{\{resolve:(secretsmanager|ssm-secure)`)
)

// secrets requires that environment variables contain no secrets, because everybody who may view a function can read
// them.
func secrets(t *template) (v violations) {
	for _, id := range t.of(aFunction) {
		variables, _ := t.get(id, "Environment", "Variables").(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(variables)) {
			value := spelled(variables[name])
			if secretName.MatchString(name) || secretValue.MatchString(value) || dynamicReference.MatchString(value) {
				v.add("%s: the variable %s looks like a secret", id, name)
			}
		}
		for _, name := range []string{"STAGE", "LOG_LEVEL"} {
			if text(variables[name]) == "" {
				v.add("%s: the variable %s is not set", id, name)
			}
		}
	}
	return v
}

// logs requires that all log groups expire, and that each function has one: Lambda would create one that never expires.
func logs(t *template) (v violations) {
	group := map[string]bool{}
	for _, id := range t.of("AWS::Logs::LogGroup") {
		if number(t.get(id, "RetentionInDays"), 0) == 0 {
			v.add("%s: never expires; set RetentionInDays", id)
		}
		group[text(t.get(id, "LogGroupName"))] = true
	}
	for _, id := range t.of(aFunction) {
		if name := "/aws/lambda/" + text(t.get(id, "FunctionName")); !group[name] {
			v.add("%s: no log group %s", id, name)
		}
		// Metrics are log lines without a level, which Lambda treats as INFO.
		level, format := text(t.get(id, "LoggingConfig", "ApplicationLogLevel")), t.get(id, "LoggingConfig", "LogFormat")
		if format != "JSON" || !slices.Contains([]string{"TRACE", "DEBUG", "INFO"}, level) {
			v.add("%s: log format %v, level %q; want JSON with INFO or lower", id, format, level)
		}
	}
	return v
}
