package cloud_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/flavorless/flavorless/test/cloud"
)

func TestMatchARN(t *testing.T) {
	const method = "arn:aws:execute-api:eu-west-1:123456789012:abc/dev/GET/ice-cream/andy"
	tests := []struct {
		pattern, arn string
		want         bool
	}{
		{"*", method, true},
		{method, method, true},
		{"arn:aws:execute-api:eu-west-1:123456789012:abc/dev/GET/*", method, true},
		{"arn:aws:execute-api:*:*:abc/*/GET/*", method, true},
		{"arn:aws:execute-api:eu-west-1:123456789012:abc/dev/GET/team", method, false},
		{"arn:aws:execute-api:eu-west-1:123456789012:abc/dev/POST/*", method, false},
		{"arn:aws:execute-api:*", method, false},                // too few segments
		{"arn:aws:*:abc/dev/GET/ice-cream/andy", method, false}, // a * stays in its segment
		{"arn:aws:execute-api:eu-west-1:123456789012:abc/dev/GET/ice-cream/and?", method, true},
		{"arn:aws:logs:eu-west-1:1:log-group:/aws/lambda/f:*", "arn:aws:logs:eu-west-1:1:log-group:/aws/lambda/f:x:y", true},
	}
	for _, tt := range tests {
		if got := cloud.MatchARN(tt.pattern, tt.arn); got != tt.want {
			t.Errorf("MatchARN(%q, %q) = %v, want %v", tt.pattern, tt.arn, got, tt.want)
		}
	}
}

func TestDecide(t *testing.T) {
	const topic, queue = "arn:aws:sns:eu-west-1:123456789012:t", "arn:aws:sqs:eu-west-1:123456789012:q"
	const queuePolicy = `{"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
		"Resource": "` + queue + `", "Condition": {"ArnEquals": {"aws:SourceArn": "` + topic + `"}}}`
	const denyPublish = `{"Effect": "Deny", "Action": "sns:Publish", "Resource": "*"}`
	const encrypted = `{"StringNotEquals": {"sns:Protocol": ["https", "sqs"]}}`
	allow := func(action, resource string) string {
		return `{"Effect": "Allow", "Action": ["` + action + `"], "Resource": "` + resource + `"}`
	}
	denyIf := func(condition string) string {
		return `{"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*", "Condition": ` + condition + `}`
	}
	publish := cloud.Request{Action: "sns:Publish", Resource: topic}
	request := func(action, resource, principal, key, value string) cloud.Request {
		return cloud.Request{Action: action, Resource: resource, Principal: principal, Context: map[string]string{key: value}}
	}
	const sns = "Service:sns.amazonaws.com"
	for _, test := range []struct {
		name, statements string
		request          cloud.Request
		want             cloud.Decision
		err              string
	}{
		{"allowed", allow("sns:Publish", topic), publish, cloud.Allow, ""},
		{"actions ignore case", allow("SNS:pub*", topic), publish, cloud.Allow, ""},
		{"another resource", allow("sns:Publish", topic+"x"), publish, cloud.ImplicitDeny, ""},
		{"deny overrides allow", allow("*", "*") + "," + denyPublish, publish, cloud.ExplicitDeny, ""},
		{"queue policy", queuePolicy,
			request("sqs:SendMessage", queue, sns, "aws:SourceArn", topic), cloud.Allow, ""},
		{"queue policy for another topic", queuePolicy,
			request("sqs:SendMessage", queue, sns, "aws:SourceArn", topic+"2"), cloud.ImplicitDeny, ""},
		{"Bool", denyIf(`{"Bool": {"aws:SecureTransport": false}}`),
			request("s3:GetObject", "x", "", "aws:SecureTransport", "true"), cloud.ImplicitDeny, ""},
		{"StringNotEquals with another value", denyIf(encrypted),
			request("sns:Subscribe", topic, "", "sns:Protocol", "http"), cloud.ExplicitDeny, ""},
		{"StringNotEquals with a listed value", denyIf(encrypted),
			request("sns:Subscribe", topic, "", "sns:Protocol", "sqs"), cloud.ImplicitDeny, ""},
		{"negated operator without the key", denyIf(`{"StringNotLike": {"sns:Endpoint": "a*"}}`),
			publish, cloud.ExplicitDeny, ""},
		{"StringNotLike with a matching value", denyIf(`{"StringNotLike": {"sns:Endpoint": "arn:*:q"}}`),
			request("sns:Subscribe", topic, "", "sns:Endpoint", queue), cloud.ImplicitDeny, ""},
		{"unknown operator", denyIf(`{"DateLessThan": {}}`), cloud.Request{}, 0, "DateLessThan"},
		{"unknown member", `{"Effect": "Deny", "NotAction": "*", "Resource": "*"}`, cloud.Request{}, 0, "NotAction"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var document any
			policy := `{"Version": "2012-10-17", "Statement": [` + test.statements + `]}`
			if err := json.Unmarshal([]byte(policy), &document); err != nil {
				t.Fatal(err)
			}
			parsed, err := cloud.ParsePolicy(document)
			var got cloud.Decision
			if err == nil {
				got, err = parsed.Decide(test.request)
			}
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, want one that mentions %q", err, test.err)
				}
				return
			}
			if err != nil || got != test.want {
				t.Errorf("Decide(%+v) = %v, %v, want %v", test.request, got, err, test.want)
			}
		})
	}
}
