package template_test

import (
	_ "embed"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
)

const aRole = "AWS::IAM::Role"

// statement is one of a policy document, with everything that may be one or several made several.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html
type statement struct {
	allows    bool
	actions   []string
	resources []any
	services  []string // of its principal
	everybody bool     // its principal is *

	resource, condition, principal any
}

func statements(document any) []statement {
	var all []statement
	for _, s := range list(at(document, "Statement")) {
		principal := at(s, "Principal")
		all = append(all, statement{
			allows:    at(s, "Effect") == "Allow",
			actions:   texts(at(s, "Action")),
			resources: list(at(s, "Resource")),
			services:  texts(at(principal, "Service")),
			everybody: principal == "*" || slices.Contains(texts(at(principal, "AWS")), "*"),
			resource:  at(s, "Resource"),
			condition: at(s, "Condition"),
			principal: principal,
		})
	}
	return all
}

// permissions gives the statements of a role's policies.
func permissions(t *template, role string) []statement {
	var all []statement
	for _, policy := range list(t.get(role, "Policies")) {
		all = append(all, statements(at(policy, "PolicyDocument"))...)
	}
	return all
}

// resourcePolicies gives the statements of policies on buckets, queues and topics, by the policy's logical id.
func resourcePolicies(t *template) map[string][]statement {
	found := map[string][]statement{}
	for _, typ := range []string{"AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"} {
		for _, id := range t.of(typ) {
			found[id] = statements(t.get(id, "PolicyDocument"))
		}
	}
	return found
}

// roles: a role that two functions share has what either needs; one that nobody has is a door left open.
func roles(t *template) (c complaints) {
	holder := map[string]string{}
	for _, function := range t.of(aFunction) {
		role := target(t.get(function, "Role"))
		switch other, taken := holder[role]; {
		case !t.is(role, aRole):
			c.add("%s: its role is none of ours", function)
		case taken:
			c.add("%s: shares %s with %s", function, role, other)
		default:
			holder[role] = function
		}
	}
	for _, role := range t.of(aRole) {
		if holder[role] == "" {
			c.add("%s: no function has it", role)
		}
		for _, s := range statements(t.get(role, "AssumeRolePolicyDocument")) {
			if !slices.Equal(s.services, []string{"lambda.amazonaws.com"}) || len(s.principal.(map[string]any)) != 1 {
				c.add("%s: may be assumed by others than Lambda", role)
			}
		}
		if t.get(role, "ManagedPolicyArns") != nil {
			c.add("%s: a managed policy gives more than is needed", role)
		}
	}
	for _, typ := range []string{"AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"} {
		for _, id := range t.of(typ) {
			c.add("%s: what a role may do belongs into the role", id)
		}
	}
	return c
}

// wildcards: X-Ray knows no resources, so its actions have *. Else a star may only stand behind what is ours: for the streams
// of a log group, and for the objects of a bucket.
func wildcards(t *template) (c complaints) {
	for _, role := range t.of(aRole) {
		for _, s := range permissions(t, role) {
			if !s.allows {
				continue
			}
			traces := true
			for _, action := range s.actions {
				traces = traces && strings.HasPrefix(action, "xray:")
				if strings.Contains(action, "*") {
					c.add("%s: allows %s", role, action)
				}
			}
			for _, r := range s.resources {
				name := spelled(r)
				switch {
				case name == "*" && traces:
				case name == "":
					c.add("%s: a resource that can't be read: %v", role, r)
				case !narrow.MatchString(name):
					c.add("%s: allows %s on %s", role, strings.Join(s.actions, ", "), name)
				}
			}
		}
	}
	return c
}

var narrow = regexp.MustCompile(`^(\$\{\w+(\.\w+)?\}(/\*(/rejects/\*\.part)?|/index/\w+)?` + // a resource of the stack; its objects; parts of reports; its index
	`|arn:\$\{AWS::Partition\}:logs:[^*]+:log-group:[^*]+:\*` +
	`|arn:\$\{AWS::Partition\}:s3:::[^*]+(/[^*]+/\*)?)$`)

//go:embed testdata/actions.txt
var knownActions string

var known = sync.OnceValue(func() map[string]bool {
	all := map[string]bool{}
	for line := range strings.Lines(knownActions) {
		all[strings.TrimSpace(line)] = !strings.HasPrefix(line, "#")
	}
	return all
})

var wellFormed = regexp.MustCompile(`^[a-z0-9-]+:[A-Z][A-Za-z0-9]+$`)

// actions: CloudFormation deploys a misspelt action without a word, and no linter that we know tells.
func actions(t *template) (c complaints) {
	check := func(id string, all []statement) {
		for _, s := range all {
			for _, action := range s.actions {
				switch {
				case !s.allows && strings.HasSuffix(action, ":*"): // to refuse everything of a service is well
				case !wellFormed.MatchString(action):
					c.add("%s: %q is not of the form service:Action", id, action)
				case !known()[strings.ToLower(action)]:
					c.add("%s: there is no action %s", id, action)
				}
			}
		}
	}
	for _, role := range t.of(aRole) {
		check(role, append(permissions(t, role), statements(t.get(role, "AssumeRolePolicyDocument"))...))
	}
	policies := resourcePolicies(t)
	for _, id := range slices.Sorted(maps.Keys(policies)) {
		check(id, policies[id])
	}
	for _, id := range t.of(aPermission) {
		if action := text(t.get(id, "Action")); action != "lambda:InvokeFunction" {
			c.add("%s: allows %s; want lambda:InvokeFunction", id, action)
		}
	}
	return c
}

// purposes: what the environment of a function names is what it works with. It may do something with each of those, and
// nothing with any other, except with its event sources and where its failures go.
func purposes(t *template) (c complaints) {
	for _, function := range t.of(aFunction) {
		allowed := map[string]bool{} // to be worked with
		for _, s := range permissions(t, target(t.get(function, "Role"))) {
			maps.Copy(allowed, mentioned(s.resource))
		}
		named := mentioned(t.get(function, "Environment", "Variables"))
		for _, id := range slices.Sorted(maps.Keys(named)) {
			if !allowed[id] {
				c.add("%s: is told of %s, and may do nothing with it", function, id)
			}
		}
		maps.Copy(named, sourcesOf(t, function))
		for id := range mentionedBuckets(t) {
			delete(allowed, id)
		}
		for _, id := range slices.Sorted(maps.Keys(allowed)) {
			if !named[id] && t.Resources[id] != nil {
				c.add("%s: may do something with %s, of which it is not told", function, id)
			}
		}
		group := "log-group:/aws/lambda/" + text(t.get(function, "FunctionName")) + ":*"
		if !may(t, function, "logs:PutLogEvents", func(r any) bool { return strings.HasSuffix(spelled(r), group) }) {
			c.add("%s: can't write its log", function)
		}
		if !may(t, function, "xray:PutTraceSegments", func(r any) bool { return r == "*" }) {
			c.add("%s: can't send its traces", function)
		}
	}
	return c
}

// mentionedBuckets gives buckets with notifications: their names are spelled out in roles, not referred to.
func mentionedBuckets(t *template) map[string]bool {
	found := map[string]bool{}
	for _, id := range t.of(aBucket) {
		if t.get(id, "NotificationConfiguration") != nil {
			found[id] = true
		}
	}
	return found
}

// sourcesOf gives what a function's events come from, and where its failures go.
func sourcesOf(t *template, function string) map[string]bool {
	found := map[string]bool{}
	for _, id := range slices.Concat(t.of(aMapping), t.of(anInvokeConf)) {
		if target(t.get(id, "FunctionName")) == function {
			maps.Copy(found, mentioned(t.get(id, "EventSourceArn")))
			maps.Copy(found, mentioned(t.get(id, "DestinationConfig")))
		}
	}
	return found
}

// may tells whether a function's role allows an action on a resource.
func may(t *template, function, action string, on func(any) bool) bool {
	for _, s := range permissions(t, target(t.get(function, "Role"))) {
		if s.allows && slices.Contains(s.actions, action) && slices.ContainsFunc(s.resources, on) {
			return true
		}
	}
	return false
}

// sources: osls gives roles of ours none of this by itself.
func sources(t *template) (c complaints) {
	need := func(function, id string, actions ...string) {
		for _, action := range actions {
			if !may(t, function, action, func(r any) bool { return target(r) == id }) {
				c.add("%s: lacks %s on %s", function, action, id)
			}
		}
	}
	for _, id := range t.of(aMapping) {
		function, source := target(t.get(id, "FunctionName")), target(t.get(id, "EventSourceArn"))
		if t.is(source, aQueue) {
			need(function, source, "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
		} else {
			need(function, source, "dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams")
		}
	}
	for _, id := range slices.Concat(t.of(aMapping), t.of(anInvokeConf)) {
		if queue := target(t.get(id, "DestinationConfig", "OnFailure", "Destination")); queue != "" {
			need(target(t.get(id, "FunctionName")), queue, "sqs:SendMessage")
		}
	}
	return c
}

// sourceARNs: a service acts for whoever asks it to. Only what is ours may have it act on our resources.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
func sourceARNs(t *template) (c complaints) {
	policies := resourcePolicies(t)
	for _, id := range slices.Sorted(maps.Keys(policies)) {
		for _, s := range policies[id] {
			if s.allows && len(s.services) > 0 && !hasSourceARN(s.condition) {
				c.add("%s: lets %s act for anybody; no aws:SourceArn", id, strings.Join(s.services, ", "))
			}
		}
	}
	for _, id := range t.of(aPermission) {
		if t.get(id, "SourceArn") == nil {
			c.add("%s: lets %s act for anybody; no SourceArn", id, t.get(id, "Principal"))
		}
		if t.get(id, "Principal") == "s3.amazonaws.com" && t.get(id, "SourceAccount") == nil {
			c.add("%s: a bucket of the same name in another account would do; no SourceAccount", id)
		}
	}
	return c
}

func hasSourceARN(condition any) bool {
	operators, _ := condition.(map[string]any)
	for name, operator := range operators {
		if strings.HasPrefix(name, "Arn") && at(operator, "aws:SourceArn") != nil {
			return true
		}
	}
	return false
}

// principals: everybody may be refused, never allowed.
func principals(t *template) (c complaints) {
	policies := resourcePolicies(t)
	for _, id := range slices.Sorted(maps.Keys(policies)) {
		for _, s := range policies[id] {
			if s.allows && s.everybody {
				c.add("%s: allows %s to everybody", id, strings.Join(s.actions, ", "))
			}
		}
	}
	for _, id := range t.of(aPermission) {
		if t.get(id, "Principal") == "*" {
			c.add("%s: allows everybody", id)
		}
	}
	return c
}
