package template_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

const aTopicPolicy = "AWS::SNS::TopicPolicy"

const subscribe = "sns:Subscribe"

var subscriberRules = []rule{
	{"subscriptions are limited to encrypted protocols and known accounts", subscriptions, []mutation{
		{"http in place of https", replace("ChangesTopicPolicy", `"https"`, `"http"`)},
		{"http as well", replace("ChangesTopicPolicy", `"https"`, `"https","http"`)},
		{"any protocol for subscriber accounts", without("ChangesTopicPolicy", "PolicyDocument/Statement/0/Condition")},
		{"any protocol for principals of the account", withoutStatement("ChangesTopicPolicy", "KnownProtocolsOnly")},
		{"Deny with an exception", set("ChangesTopicPolicy", map[string]any{"aws:username": "admin"},
			"PolicyDocument/Statement/1/Condition/StringEquals")},
		{"queues of any account", withoutStatement("ChangesTopicPolicy", "EndpointsOfSubscribersOnly")},
		{"wildcard for the account", replace("ChangesTopicPolicy", "sqs:*:${account}:*", "sqs:*:*:*")},
		{"functions of any account", set("ChangesTopicPolicy", []any{"sqs"},
			"PolicyDocument/Statement/2/Condition/StringEquals/sns:Protocol")},
		{"other queues on the updates topic", withoutStatement("UpdatesTopicPolicy", "OwnQueuesOnly")},
		{"dead-letter queue on the updates topic", replace("UpdatesTopicPolicy", `"ResumeQueue"`, `"ResumeDead"`)},
	}},
	{"buckets, queues and topics require TLS", transport, []mutation{
		{"bucket", remove("ReportsBucketPolicy")},
		{"queue", withoutStatement("QueuesTakeFromUpdates", "TlsOnly")},
		{"dead-letter queue", remove("DeadLetterQueuesByTlsOnly")},
		{"statement without one queue", set("DeadLetterQueuesByTlsOnly", refs("ApplyDead", "ResumeDead", "IngestDead"),
			"PolicyDocument/Statement/0/Resource")},
		{"policy that is not attached to a queue", set("DeadLetterQueuesByTlsOnly", refs("ApplyDead", "ResumeDead",
			"IngestDead"), "Queues")},
		{"statement about sending to queues only", replace("QueuesTakeFromUpdates", "sqs:*", "sqs:SendMessage")},
		{"topic", withoutStatement("ChangesTopicPolicy", "TlsOnly")},
		{"alarm topic", withoutStatement("AlarmTopicPolicy", "TlsOnly")},
		{"statement about publishing only", set("UpdatesTopicPolicy", "sns:Publish", "PolicyDocument/Statement/0/Action")},
		{"statement about requests with TLS", replace("UpdatesTopicPolicy", `"false"`, `"true"`)},
		{"two policies for one queue", set("DeadLetterQueuesByTlsOnly", refs("ApplyDead", "ResumeDead", "IngestDead",
			"AnnounceDead", "ApplyQueue"), "Queues")},
	}},
	{"wildcard principals have conditions", wildcardPrincipals, []mutation{
		{"everybody may send", set("QueuesTakeFromUpdates", allowEverybody("sqs:SendMessage", "ApplyQueue"),
			"PolicyDocument/Statement/0")},
		{"any role of an account", set("ChangesTopicPolicy", map[string]any{"Effect": "Allow",
			"Principal": map[string]any{"AWS": []any{"arn:aws:iam::210987654321:role/*"}}, "Action": "sns:Subscribe",
			"Resource": ref("ChangesTopic")}, "PolicyDocument/Statement/0")},
		{"everybody is denied", without("UpdatesTopicPolicy", "PolicyDocument/Statement/0/Condition")},
	}},
}

// encryptedProtocols are the allowed protocols for subscriptions of topics whose messages contain names. http is not
// encrypted, and docs/operations.md does not describe application, firehose and sms.
var encryptedProtocols = []string{"email", "https", "lambda", "sqs"}

// subscriptions requires that topics whose messages contain names can only be subscribed by an encrypted protocol, and
// only by queues and functions of accounts that the policy names. Only a Deny limits principals of the stack's own
// account, because their own policies may allow sns:Subscribe.
func subscriptions(t *template) (v violations) {
	for _, topic := range t.of(aTopic) {
		if forAlarms(t, topic) {
			continue
		}
		var byProtocol, byEndpoint bool
		for _, s := range topicStatements(t, topic) {
			switch {
			case !slices.Contains(s.actions, subscribe):
			case s.allows:
				if protocols := texts(at(s.condition, "StringEquals", "sns:Protocol")); !encrypted(protocols) {
					v.add("%s: allows subscriptions by %q; want some of %q", topic, protocols, encryptedProtocols)
				}
			case s.everybody:
				byProtocol = byProtocol || deniesOtherProtocols(s)
				byEndpoint = byEndpoint || deniesOtherAccounts(s)
				if deniesOtherQueues(t, topic, s) {
					byProtocol, byEndpoint = true, true // a queue's protocol is sqs
				}
			}
		}
		if !byProtocol {
			v.add("%s: no statement denies protocols other than %q", topic, encryptedProtocols)
		}
		if !byEndpoint {
			v.add("%s: no statement denies queues and functions of other accounts", topic)
		}
	}
	return v
}

// topicStatements returns the statements about a topic in its policies.
func topicStatements(t *template, topic string) []statement {
	var about []statement
	for _, policy := range t.of(aTopicPolicy) {
		if !mentioned(t.get(policy, "Topics"))[topic] {
			continue
		}
		for _, s := range statements(t.get(policy, "PolicyDocument")) {
			if mentioned(s.resource)[topic] {
				about = append(about, s)
			}
		}
	}
	return about
}

// encrypted reports whether all protocols are encrypted. An empty list is not.
func encrypted(protocols []string) bool {
	return len(protocols) > 0 && subset(protocols, encryptedProtocols)
}

// subset reports whether others contains each of some.
func subset(some, others []string) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(others, s) })
}

// onlyConditions reports whether a condition has exactly these operators with one key each: every further key would
// make a Deny apply to fewer requests.
func onlyConditions(condition any, keys map[string]string) bool {
	operators, _ := condition.(map[string]any)
	if len(operators) != len(keys) {
		return false
	}
	for operator, key := range keys {
		got, _ := operators[operator].(map[string]any)
		if len(got) != 1 || got[key] == nil {
			return false
		}
	}
	return true
}

func deniesOtherProtocols(s statement) bool {
	return onlyConditions(s.condition, map[string]string{"StringNotEquals": "sns:Protocol"}) &&
		encrypted(texts(at(s.condition, "StringNotEquals", "sns:Protocol")))
}

// allowedProtocols returns the protocols that a topic's policy does not deny.
func allowedProtocols(t *template, topic string) []string {
	for _, s := range topicStatements(t, topic) {
		if !s.allows && deniesOtherProtocols(s) {
			return texts(at(s.condition, "StringNotEquals", "sns:Protocol"))
		}
	}
	return nil
}

// accountEndpoint matches the pattern for the queues or the functions of one account.
var accountEndpoint = regexp.MustCompile(`^arn:\$\{AWS::Partition\}:` +
	`(sqs:\*:\$\{account\}:\*|lambda:\*:\$\{account\}:function:\*)$`)

func deniesOtherAccounts(s statement) bool {
	protocols := texts(at(s.condition, "StringEquals", "sns:Protocol"))
	if !onlyConditions(s.condition, map[string]string{"StringEquals": "sns:Protocol", "StringNotLike": "sns:Endpoint"}) ||
		!slices.Contains(protocols, "lambda") || !slices.Contains(protocols, "sqs") {
		return false
	}
	endpoints := list(at(s.condition, "StringNotLike", "sns:Endpoint"))
	return len(endpoints) > 0 && !slices.ContainsFunc(endpoints, func(endpoint any) bool {
		sub := list(at(endpoint, "Fn::Sub"))
		if len(sub) != 2 {
			return true
		}
		account := at(sub[1], "account")
		named := at(account, "Ref") == "AWS::AccountId" || accountNumber.MatchString(text(account))
		return !named || !accountEndpoint.MatchString(text(sub[0]))
	})
}

var accountNumber = regexp.MustCompile(`^\d{12}$`)

// deniesOtherQueues reports whether a statement denies all endpoints except the queues that the stack itself
// subscribes.
func deniesOtherQueues(t *template, topic string, s statement) bool {
	if !onlyConditions(s.condition, map[string]string{"StringNotEquals": "sns:Endpoint"}) {
		return false
	}
	subscribed := map[string]bool{}
	for _, id := range t.of(aSubscription) {
		if target(t.get(id, "TopicArn")) == topic {
			subscribed[target(t.get(id, "Endpoint"))] = true
		}
	}
	named := map[string]bool{}
	for _, endpoint := range list(at(s.condition, "StringNotEquals", "sns:Endpoint")) {
		named[target(endpoint)] = true
	}
	return maps.Equal(subscribed, named)
}

// topicActions are the actions on a topic that its policy can deny.
// https://docs.aws.amazon.com/sns/latest/dg/sns-access-policy-language-api-permissions-reference.html
var topicActions = []string{
	"sns:AddPermission", "sns:DeleteTopic", "sns:GetTopicAttributes", "sns:ListSubscriptionsByTopic", "sns:Publish",
	"sns:RemovePermission",
	"sns:SetTopicAttributes", subscribe,
}

// transport requires that buckets, queues and topics deny requests without TLS. DynamoDB, Lambda and API Gateway have
// no plain HTTP endpoint.
func transport(t *template) (v violations) {
	for _, kind := range []struct {
		resource, policy, attached string
		actions                    []string
	}{
		{aBucket, "AWS::S3::BucketPolicy", "Bucket", []string{"s3:*"}},
		{aQueue, "AWS::SQS::QueuePolicy", "Queues", []string{"sqs:*"}},
		{aTopic, aTopicPolicy, "Topics", topicActions},
	} {
		for _, id := range t.of(kind.resource) {
			policies, denied := 0, false
			for _, policy := range t.of(kind.policy) {
				if !mentioned(t.get(policy, kind.attached))[id] {
					continue
				}
				policies++
				for _, s := range statements(t.get(policy, "PolicyDocument")) {
					denied = denied || deniesPlainHTTP(s, kind.actions) && mentioned(s.resource)[id]
				}
			}
			if !denied {
				v.add("%s: no statement denies requests without TLS", id)
			}
			if policies > 1 {
				v.add("%s: has %d policies; each replaces the one before", id, policies)
			}
		}
	}
	return v
}

func deniesPlainHTTP(s statement, actions []string) bool {
	secure := at(s.condition, "Bool", "aws:SecureTransport")
	return !s.allows && s.everybody && onlyConditions(s.condition, map[string]string{"Bool": "aws:SecureTransport"}) &&
		(secure == "false" || secure == false) &&
		subset(actions, s.actions)
}

// wildcardPrincipals requires a condition in statements of queue and topic policies whose principal is a wildcard.
// Without one they would allow everybody, or deny everybody including the stack's own functions.
func wildcardPrincipals(t *template) (v violations) {
	policies := resourcePolicies(t)
	for _, id := range slices.Sorted(maps.Keys(policies)) {
		if t.is(id, "AWS::S3::BucketPolicy") {
			continue
		}
		for _, s := range policies[id] {
			if conditions, _ := s.condition.(map[string]any); wildcardPrincipal(s.principal) && len(conditions) == 0 {
				v.add("%s: the statement about %s has a wildcard principal and no condition", id, strings.Join(s.actions, ", "))
			}
		}
	}
	return v
}

// wildcardPrincipal reports whether a principal is * or one of its names contains a *.
func wildcardPrincipal(principal any) bool {
	if kinds, ok := principal.(map[string]any); ok {
		for _, names := range kinds {
			if slices.ContainsFunc(list(names), func(name any) bool { return strings.Contains(spelled(name), "*") }) {
				return true
			}
		}
		return false
	}
	return strings.Contains(text(principal), "*")
}
