package template_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

const aTopicPolicy = "AWS::SNS::TopicPolicy"

const subscribe = "sns:Subscribe"

// encryptedProtocols are the protocols by which a topic with names in it may be subscribed. Messages to http endpoints are not
// encrypted on their way; application, firehose and sms are protocols that docs/operations.md does not describe.
var encryptedProtocols = []string{"email", "https", "lambda", "sqs"}

// subscriptions reports topics with names in them that can be subscribed by another protocol, or that can send to queues
// and functions of an account that the policy does not name. Only a Deny limits the principals of the stack's own account:
// their own policies may allow sns:Subscribe.
func subscriptions(t *template) (c complaints) {
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
					c.add("%s: subscribing is allowed by the protocols %q; want some of %q", topic, protocols, encryptedProtocols)
				}
			case s.everybody:
				byProtocol = byProtocol || deniesOtherProtocols(s)
				byEndpoint = byEndpoint || deniesOtherAccounts(s)
				if deniesOtherQueues(t, topic, s) {
					byProtocol, byEndpoint = true, true // the protocol of a queue is sqs
				}
			}
		}
		if !byProtocol {
			c.add("%s: no statement denies subscribing by protocols other than %q", topic, encryptedProtocols)
		}
		if !byEndpoint {
			c.add("%s: no statement denies subscribing queues and functions of accounts that it does not name", topic)
		}
	}
	return c
}

// topicStatements returns the statements of the policies of a topic that are about the topic.
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

// encrypted reports whether protocols is a list of encrypted protocols, and not empty.
func encrypted(protocols []string) bool {
	return len(protocols) > 0 && subset(protocols, encryptedProtocols)
}

// subset reports whether each of some is among others.
func subset(some, others []string) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(others, s) })
}

// onlyConditions reports whether a condition has these operators with one key each, and nothing else: each further key would
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

// accountEndpoint matches the queues or the functions of one account.
var accountEndpoint = regexp.MustCompile(`^arn:\$\{AWS::Partition\}:(sqs:\*:\$\{account\}:\*|lambda:\*:\$\{account\}:function:\*)$`)

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

// deniesOtherQueues reports whether a statement denies subscribing anything but the queues that the stack itself subscribes.
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

// topicActions are the actions that a topic policy can deny and that read, change or use a topic.
// https://docs.aws.amazon.com/sns/latest/dg/sns-access-policy-language-api-permissions-reference.html
var topicActions = []string{
	"sns:AddPermission", "sns:DeleteTopic", "sns:GetTopicAttributes", "sns:ListSubscriptionsByTopic", "sns:Publish", "sns:RemovePermission",
	"sns:SetTopicAttributes", subscribe,
}

// transport reports buckets, queues and topics that serve requests without TLS. DynamoDB, Lambda and API Gateway have no
// endpoint without it.
func transport(t *template) (c complaints) {
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
				c.add("%s: may be reached without TLS", id)
			}
			if policies > 1 {
				c.add("%s: has %d policies, of which CloudFormation keeps the last", id, policies)
			}
		}
	}
	return c
}

func deniesPlainHTTP(s statement, actions []string) bool {
	secure := at(s.condition, "Bool", "aws:SecureTransport")
	return !s.allows && s.everybody && onlyConditions(s.condition, map[string]string{"Bool": "aws:SecureTransport"}) &&
		(secure == "false" || secure == false) &&
		subset(actions, s.actions)
}

// wildcardPrincipals reports statements of queue and topic policies whose principal is a wildcard and that have no
// condition: they would let everybody in, or shut everybody out, the stack's own functions included.
func wildcardPrincipals(t *template) (c complaints) {
	policies := resourcePolicies(t)
	for _, id := range slices.Sorted(maps.Keys(policies)) {
		if t.is(id, "AWS::S3::BucketPolicy") {
			continue
		}
		for _, s := range policies[id] {
			if conditions, _ := s.condition.(map[string]any); wildcardPrincipal(s.principal) && len(conditions) == 0 {
				c.add("%s: a statement about %s has a wildcard principal and no condition", id, strings.Join(s.actions, ", "))
			}
		}
	}
	return c
}

// wildcardPrincipal reports whether a principal is * or has a * in one of its names, of whatever kind.
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
