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
	tests := []struct {
		name, statements string
		request          cloud.Request
		want             cloud.Decision
		err              string
	}{
		{name: "allowed", statements: `{"Effect": "Allow", "Action": "sns:Publish", "Resource": "` + topic + `"}`,
			request: cloud.Request{Action: "sns:Publish", Resource: topic}, want: cloud.Allow},
		{name: "actions ignore case", statements: `{"Effect": "Allow", "Action": ["SNS:pub*"], "Resource": ["` + topic +
			`"]}`,
			request: cloud.Request{Action: "sns:Publish", Resource: topic}, want: cloud.Allow},
		{name: "another resource", statements: `{"Effect": "Allow", "Action": "sns:Publish", "Resource": "` + topic + `x"}`,
			request: cloud.Request{Action: "sns:Publish", Resource: topic}},
		{name: "deny overrides allow",
			statements: `{"Effect": "Allow", "Action": "*", "Resource": "*"}, {"Effect": "Deny", "Action": "sns:Publish", "Resource": "*"}`,
			request:    cloud.Request{Action: "sns:Publish", Resource: topic}, want: cloud.ExplicitDeny},
		{name: "queue policy", statements: `{"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
			"Resource": "` + queue + `", "Condition": {"ArnEquals": {"aws:SourceArn": "` + topic + `"}}}`,
			request: cloud.Request{Action: "sqs:SendMessage", Resource: queue, Principal: "Service:sns.amazonaws.com",
				Context: map[string]string{"aws:SourceArn": topic}}, want: cloud.Allow},
		{name: "queue policy for another topic", statements: `{"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
			"Resource": "` + queue + `", "Condition": {"ArnEquals": {"aws:SourceArn": "` + topic + `"}}}`,
			request: cloud.Request{Action: "sqs:SendMessage", Resource: queue, Principal: "Service:sns.amazonaws.com",
				Context: map[string]string{"aws:SourceArn": topic + "2"}}},
		{name: "Bool", statements: `{"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": false}}}`,
			request: cloud.Request{Action: "s3:GetObject", Resource: "x",
				Context: map[string]string{"aws:SecureTransport": "true"}}},
		{name: "StringNotEquals with another value",
			statements: `{"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"StringNotEquals": {"sns:Protocol": ["https", "sqs"]}}}`,
			request: cloud.Request{Action: "sns:Subscribe", Resource: topic,
				Context: map[string]string{"sns:Protocol": "http"}},
			want: cloud.ExplicitDeny},
		{name: "StringNotEquals with a listed value",
			statements: `{"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"StringNotEquals": {"sns:Protocol": ["https", "sqs"]}}}`,
			request: cloud.Request{Action: "sns:Subscribe", Resource: topic,
				Context: map[string]string{"sns:Protocol": "sqs"}}},
		{name: "negated operator without the key",
			statements: `{"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"StringNotLike": {"sns:Endpoint": "a*"}}}`,
			request:    cloud.Request{Action: "sns:Subscribe", Resource: topic}, want: cloud.ExplicitDeny},
		{name: "StringNotLike with a matching value",
			statements: `{"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"StringNotLike": {"sns:Endpoint": "arn:*:q"}}}`,
			request: cloud.Request{Action: "sns:Subscribe", Resource: topic,
				Context: map[string]string{"sns:Endpoint": queue}}},
		{name: "unknown operator",
			statements: `{"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"DateLessThan": {}}}`,
			err:        "DateLessThan"},
		{name: "unknown member", statements: `{"Effect": "Deny", "NotAction": "*", "Resource": "*"}`, err: "NotAction"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var document any
			if err := json.Unmarshal([]byte(`{"Version": "2012-10-17", "Statement": [`+tt.statements+`]}`),
				&document); err != nil {
				t.Fatal(err)
			}
			policy, err := cloud.ParsePolicy(document)
			var got cloud.Decision
			if err == nil {
				got, err = policy.Decide(tt.request)
			}
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want one with %q", err, tt.err)
				}
				return
			}
			if err != nil || got != tt.want {
				t.Errorf("Decide(%+v) = %v, %v, want %v", tt.request, got, err, tt.want)
			}
		})
	}
}
