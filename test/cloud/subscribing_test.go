package cloud_test

import (
	"testing"

	"github.com/flavorless/flavorless/test/cloud"
)

// testSubscribing checks that the topics' policies allow the subscriptions that docs/operations.md describes, and deny
// others.
func testSubscribing(t *testing.T, d *deployment) {
	const own, other = "AWS:" + cloud.Account, "AWS:210987654321"
	arn := func(service, account, resource string) string {
		return "arn:aws:" + service + ":" + cloud.Region + ":" + account + ":" + resource
	}
	for _, test := range []struct {
		name, topic, principal, protocol, endpoint string
		want                                       cloud.Decision
	}{
		{"email", "ChangesTopic", own, "email", "me@example.com", cloud.Allow},
		{"HTTPS", "ChangesTopic", own, "https", "https://example.com/changes", cloud.Allow},
		{"queue", "ChangesTopic", own, "sqs", arn("sqs", cloud.Account, "flavorless-watch-x"), cloud.Allow},
		{"function", "ChangesTopic", own, "lambda", arn("lambda", cloud.Account, "function:greet"), cloud.Allow},
		{"plain HTTP", "ChangesTopic", own, "http", "http://example.com/changes", cloud.ExplicitDeny},
		{"text message", "ChangesTopic", own, "sms", "+15550100", cloud.ExplicitDeny},
		{"queue of another account", "ChangesTopic", own, "sqs", arn("sqs", "210987654321", "q"), cloud.ExplicitDeny},
		{"function of another account", "ChangesTopic", own, "lambda", arn("lambda", "210987654321", "function:greet"),
			cloud.ExplicitDeny},
		{"another account subscribes", "ChangesTopic", other, "https", "https://example.com/changes", cloud.ImplicitDeny},
		{"updates: queue of the stack", "UpdatesTopic", own, "sqs", d.Attr("ApplyQueue", "Arn"), cloud.ImplicitDeny},
		{"updates: another queue", "UpdatesTopic", own, "sqs", arn("sqs", cloud.Account, "q"), cloud.ExplicitDeny},
		{"updates: HTTPS", "UpdatesTopic", own, "https", "https://example.com/updates", cloud.ExplicitDeny},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := d.MaySubscribe(d.Ref(test.topic), test.principal, test.protocol, test.endpoint)
			if err != nil || got != test.want {
				t.Errorf("MaySubscribe(%s, %s, %s, %s) = %v, %v, want %v", test.topic, test.principal, test.protocol, test.endpoint,
					got, err, test.want)
			}
		})
	}
}
