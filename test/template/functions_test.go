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

// functions: those there should be, made of what lambdazip packs, seen in traces.
func functions(t *template) (c complaints) {
	want := []string{"Announce", "Apply", "Authorizer", "Ingest", "Lookup", "Team", "Uploads"}
	for i := range want {
		want[i] += "LambdaFunction"
	}
	if diff := cmp.Diff(want, t.of(aFunction)); diff != "" {
		c.add("functions (-want +got):\n%s", diff)
	}
	patterns := strings.Fields(text(t.get("IngestLambdaFunction", "Environment", "Variables", "IGNORED_OBJECTS")))
	if diff := cmp.Diff(events.DefaultIgnoreList(), events.IgnoreList(patterns)); diff != "" {
		c.add("IngestLambdaFunction: the default of ignored objects is not that of the one-machine server (-want +got):\n%s", diff)
	}
	code := map[string]string{}
	for _, id := range t.of(aFunction) {
		if runtime, handler, architectures := t.get(id, "Runtime"), t.get(id, "Handler"), texts(t.get(id, "Architectures")); runtime != "provided.al2023" ||
			handler != "bootstrap" || !slices.Equal(architectures, []string{"arm64"}) {
			c.add("%s: runs %v of a zip on %v with %v", id, handler, architectures, runtime)
		}
		if t.get(id, "TracingConfig", "Mode") != "Active" {
			c.add("%s: leaves no traces", id)
		}
		zip := text(t.get(id, "Code", "S3Key"))
		if other := code[zip]; other != "" || zip == "" {
			c.add("%s: no zip of its own; %q is that of %s", id, zip, other)
		}
		code[zip] = id
		if seconds := number(t.get(id, "Timeout"), 3); seconds > 900 || behindGateway(t, id) && seconds > 29 {
			c.add("%s: a timeout of %v seconds, more than whoever waits for it gives it", id, seconds)
		}
	}
	for _, id := range t.of(aMapping) {
		if queue := target(t.get(id, "EventSourceArn")); t.is(queue, aQueue) && number(t.get(id, "ScalingConfig", "MaximumConcurrency"), 0) < 2 {
			c.add("%s: a full queue takes all of the account's concurrency; no MaximumConcurrency", id)
		}
		// What exceeds it is throttled, and a throttled message is received in vain.
		// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
		function := target(t.get(id, "FunctionName"))
		most := number(t.get(id, "ScalingConfig", "MaximumConcurrency"), 0)
		if reserved := number(t.get(function, "ReservedConcurrentExecutions"), math.Inf(1)); reserved < 2*most {
			c.add("%s: %v of its invocations may run at a time, and %s alone may take %v", function, reserved, id, most)
		}
	}
	return c
}

// hanging: a request to a service that is never answered ends after a while. What is left then must be enough for another one, for
// the pause before it, and for the function to say how it went.
func hanging(t *template) (c complaints) {
	for _, id := range t.of(aFunction) {
		timeout := aws.ResponseTimeout
		switch {
		case id == "AuthorizerLambdaFunction":
			continue // it asks the issuer, with timeouts of its own
		case behindGateway(t, id):
			timeout = clients.ReaderTimeout
		}
		const pause = 2.0 // seconds: the SDK's second at most, and that of package bootstrap
		if has, needs := number(t.get(id, "Timeout"), 3), 2*timeout.Seconds()+pause; has < needs {
			c.add("%s: has %v seconds, and a hung request takes %v: there is no time for another one", id, has, timeout)
		}
	}
	return c
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
	// Key ids, tokens, keys in PEM, and text too random for a name or a URL.
	secretValue = regexp.MustCompile(`\b(AKIA|ASIA)[A-Z0-9]{16}\b|eyJ[A-Za-z0-9_-]{10,}\.|-----BEGIN|gh[pousr]_[A-Za-z0-9]{20,}|[A-Za-z0-9+=]{40,}|://[^/@]*:[^/@]*@`)
	// resolve: is CloudFormation's own way to a secret: what it resolves to is in the function's configuration, in plain.
	dynamicReference = regexp.MustCompile(`\{\{resolve:(secretsmanager|ssm-secure)`)
)

// secrets: everyone who may look at a function reads its environment.
func secrets(t *template) (c complaints) {
	for _, id := range t.of(aFunction) {
		variables, _ := t.get(id, "Environment", "Variables").(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(variables)) {
			value := spelled(variables[name])
			if secretName.MatchString(name) || secretValue.MatchString(value) || dynamicReference.MatchString(value) {
				c.add("%s: %s looks like a secret", id, name)
			}
		}
		for _, name := range []string{"STAGE", "LOG_LEVEL"} {
			if text(variables[name]) == "" {
				c.add("%s: lacks %s", id, name)
			}
		}
	}
	return c
}

// logs: every function has a group made beforehand (Lambda would make one that keeps all for ever), and all groups forget.
func logs(t *template) (c complaints) {
	group := map[string]bool{}
	for _, id := range t.of("AWS::Logs::LogGroup") {
		if number(t.get(id, "RetentionInDays"), 0) == 0 {
			c.add("%s: is kept for ever", id)
		}
		group[text(t.get(id, "LogGroupName"))] = true
	}
	for _, id := range t.of(aFunction) {
		if name := "/aws/lambda/" + text(t.get(id, "FunctionName")); !group[name] {
			c.add("%s: no log group %s", id, name)
		}
		// Metrics are log lines without a level, which count as INFO.
		if level := text(t.get(id, "LoggingConfig", "ApplicationLogLevel")); t.get(id, "LoggingConfig", "LogFormat") != "JSON" || !slices.Contains([]string{"TRACE", "DEBUG", "INFO"}, level) {
			c.add("%s: log lines are not taken as they are: format %v, level %q", id, t.get(id, "LoggingConfig", "LogFormat"), level)
		}
	}
	return c
}
