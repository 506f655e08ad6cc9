package template_test

import "testing"

// rule is one promise about the deployment. check gives what breaks it, each complaint with the logical id of the culprit.
type rule struct {
	name  string
	check func(*template) complaints
}

var rules = []rule{
	// queues_test.go
	{"visibility timeouts outlast retries", visibilityTimeouts},
	{"partial failures are reported", partialFailures},
	{"every hop has a dead-letter queue", deadLetterQueues},
	{"dead-letter queues keep long and take from their sources", deadLetterStorage},
	{"messages go where they belong", filters},
	{"every trouble has an alarm", alarms},
	{"alarms call someone", alarmActions},
	{"a function that fails with everything is noticed within ten minutes", failures},
	// iam_test.go
	{"one role for each function", roles},
	{"no wildcards", wildcards},
	{"every action exists", actions},
	{"functions may do what they are set up for, and no more", purposes},
	{"event sources can be read", sources},
	{"services act for our resources alone", sourceARNs},
	{"nobody else is let in", principals},
	// subscribers_test.go
	{"subscriptions are limited to encrypted protocols and known accounts", subscriptions},
	{"buckets, queues and topics require TLS", transport},
	{"wildcard principals have conditions", wildcardPrincipals},
	// storage_test.go
	{"buckets are private and encrypted", buckets},
	{"buckets are kept", keptBuckets},
	{"uploads alone trigger", trigger},
	{"only parts of reports are deleted", deletions},
	{"tables are kept", tables},
	{"tables have the adapter's keys", keys},
	{"queues and topics are encrypted", encryption},
	// functions_test.go
	{"functions are what we build", functions},
	{"a hung request can be made again", hanging},
	{"environment holds no secret", secrets},
	{"logs end", logs},
	// loops_test.go
	{"loops are allowed where they are meant", loops},
	// gateway_test.go
	{"routes are those of the description", routes},
	{"the authorizer sees what may be good", authorizer},
	{"the gateway speaks as the API does", gatewayResponses},
	{"the stage logs, limits and shows all", stage},
	{"the gateway logs no names", nameless},
	// metrics_test.go
	{"what is watched is measured", watched},
}

// judge gives the complaints of rules, each with the rule's name.
func judge(t *template, rules ...rule) []string {
	var all []string
	for _, r := range rules {
		for _, complaint := range r.check(t) {
			all = append(all, r.name+": "+complaint)
		}
	}
	return all
}

func TestTemplate(t *testing.T) {
	tpl := compiledTemplate(t)
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, complaint := range r.check(tpl) {
				t.Error(complaint)
			}
		})
	}
}
