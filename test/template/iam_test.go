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

var iamRules = []rule{
	{"one role for each function", roles, []mutation{
		{"shared role", set("TeamLambdaFunction", getAtt("LookupRole", "Arn"), "Role")},
		{"everybody may assume the role", set("TeamRole", map[string]any{"AWS": "*", "Service": "lambda.amazonaws.com"},
			"AssumeRolePolicyDocument/Statement/0/Principal")},
		{"managed policy", set("TeamRole", []any{"arn:aws:iam::aws:policy/AmazonDynamoDBReadOnlyAccess"},
			"ManagedPolicyArns")},
	}},
	{"no wildcards", wildcards, []mutation{
		{"any resource", grant("TeamRole", "dynamodb:Query", "*")},
		{"any queue", grant("ApplyRole", "sqs:SendMessage",
			sub("arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:*"))},
		{"any action", grant("TeamRole", "dynamodb:*", getAtt("FavoritesTable", "Arn"))},
		{"other actions beside X-Ray's", grant("TeamRole", []any{"xray:PutTraceSegments", "s3:GetObject"}, "*")},
	}},
	{"IAM actions exist", actions, []mutation{
		{"misspelled action", replace("IngestRole", "s3:GetObjectVersion", "s3:GetObjectsVersion")},
		{"action without service", replace("QueuesTakeFromUpdates", "sqs:SendMessage", "SendMessage")},
		{"wrong action of a permission", set("TeamLambdaPermissionApiGateway", "lambda:Invoke", "Action")},
	}},
	{"roles match the environment", purposes, []mutation{
		{"resource in the environment only", set("TeamLambdaFunction", ref("UploadsTable"),
			"Environment/Variables/UPLOADS_TABLE")},
		{"resource in the role only", grant("TeamRole", "dynamodb:GetItem", getAtt("UploadsTable", "Arn"))},
		{"no permission to log", revoke("TeamRole", "logs:PutLogEvents")},
		{"no permission to trace", revoke("TeamRole", "xray:PutTraceSegments")},
	}},
	{"roles can read event sources", sources, []mutation{
		{"queue", revoke("ApplyRole", "sqs:DeleteMessage")},
		{"stream", revoke("AnnounceRole", "dynamodb:GetRecords")},
		{"failure destination", revoke("IngestRole", "sqs:SendMessage")},
	}},
	{"services act only for resources of the stack", sourceARNs, []mutation{
		{"queue policy", without("QueuesTakeFromUpdates", "PolicyDocument/Statement/0/Condition")},
		{"policy of the alarm topic", without("AlarmTopicPolicy", "PolicyDocument/Statement/0/Condition")},
		{"permission without source", without("TeamLambdaPermissionApiGateway", "SourceArn")},
		{"permission without account", without("UploadsBucketMayInvokeIngest", "SourceAccount")},
	}},
	{"policies allow nobody else", principals, []mutation{
		{"everybody may send", set("QueuesTakeFromUpdates", allowEverybody("sqs:SendMessage", "ApplyQueue"),
			"PolicyDocument/Statement/0")},
		{"everybody may subscribe", set("ChangesTopicPolicy", allowEverybody("sns:Subscribe", "ChangesTopic"),
			"PolicyDocument/Statement/0")},
		{"everybody may invoke", set("TeamLambdaPermissionApiGateway", "*", "Principal")},
	}},
}

// roles requires one role for each function: a shared role has more permissions than each function needs.
func roles(t *template) (v violations) {
	holder := map[string]string{}
	for _, function := range t.of(aFunction) {
		role := target(t.get(function, "Role"))
		switch other, taken := holder[role]; {
		case !t.is(role, aRole):
			v.add("%s: its role is not in the template", function)
		case taken:
			v.add("%s: shares %s with %s", function, role, other)
		default:
			holder[role] = function
		}
	}
	for _, role := range t.of(aRole) {
		if holder[role] == "" {
			v.add("%s: no function uses it", role)
		}
		for _, s := range statements(t.get(role, "AssumeRolePolicyDocument")) {
			if !slices.Equal(s.services, []string{"lambda.amazonaws.com"}) || len(s.principal.(map[string]any)) != 1 {
				v.add("%s: principals other than Lambda may assume it", role)
			}
		}
		if t.get(role, "ManagedPolicyArns") != nil {
			v.add("%s: has managed policies, which allow more than it needs", role)
		}
	}
	for _, typ := range []string{"AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"} {
		for _, id := range t.of(typ) {
			v.add("%s: is a separate policy; move its statements into the role", id)
		}
	}
	return v
}

// wildcards allows a wildcard only for X-Ray, which has no resources, for the streams of a log group and for the
// objects of a bucket.
func wildcards(t *template) (v violations) {
	for _, role := range t.of(aRole) {
		for _, s := range permissions(t, role) {
			if !s.allows {
				continue
			}
			tracing := true
			for _, action := range s.actions {
				tracing = tracing && strings.HasPrefix(action, "xray:")
				if strings.Contains(action, "*") {
					v.add("%s: allows the wildcard %s", role, action)
				}
			}
			for _, r := range s.resources {
				name := spelled(r)
				switch {
				case name == "*" && tracing:
				case name == "":
					v.add("%s: the resource %v is not understood", role, r)
				case !narrow.MatchString(name):
					v.add("%s: allows %s on %s", role, strings.Join(s.actions, ", "), name)
				}
			}
		}
	}
	return v
}

// narrow matches a resource of the stack, its objects, parts of reports, sorted copies, and its index.
var narrow = regexp.MustCompile(`^(\$\{\w+(\.\w+)?\}(/\*(/rejects/\*\.part|/accepted\.parquet)?|/index/\w+)?` +
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

// actions requires that all actions exist. CloudFormation deploys a misspelled action without an error, and no known
// linter reports it.
func actions(t *template) (v violations) {
	check := func(id string, all []statement) {
		for _, s := range all {
			for _, action := range s.actions {
				switch {
				case !s.allows && strings.HasSuffix(action, ":*"): // denying all actions of a service is fine
				case !wellFormed.MatchString(action):
					v.add("%s: %q does not have the form service:Action", id, action)
				case !known()[strings.ToLower(action)]:
					v.add("%s: there is no action %s", id, action)
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
			v.add("%s: allows %s; want lambda:InvokeFunction", id, action)
		}
	}
	return v
}

// purposes requires that a role has permissions for each resource that the function's environment names, and for no
// other resource except its event sources and failure destinations.
func purposes(t *template) (v violations) {
	for _, function := range t.of(aFunction) {
		allowed := map[string]bool{}
		for _, s := range permissions(t, target(t.get(function, "Role"))) {
			maps.Copy(allowed, mentioned(s.resource))
		}
		named := mentioned(t.get(function, "Environment", "Variables"))
		for _, id := range slices.Sorted(maps.Keys(named)) {
			if !allowed[id] {
				v.add("%s: its environment names %s, for which its role has no permission", function, id)
			}
		}
		maps.Copy(named, sourcesOf(t, function))
		for id := range mentionedBuckets(t) {
			delete(allowed, id)
		}
		for _, id := range slices.Sorted(maps.Keys(allowed)) {
			if !named[id] && t.Resources[id] != nil {
				v.add("%s: its role has permissions for %s, which its environment does not name", function, id)
			}
		}
		group := "log-group:/aws/lambda/" + text(t.get(function, "FunctionName")) + ":*"
		if !may(t, function, "logs:PutLogEvents", func(r any) bool { return strings.HasSuffix(spelled(r), group) }) {
			v.add("%s: its role lacks logs:PutLogEvents on its log group", function)
		}
		if !may(t, function, "xray:PutTraceSegments", func(r any) bool { return r == "*" }) {
			v.add("%s: its role lacks xray:PutTraceSegments", function)
		}
	}
	return v
}

// mentionedBuckets returns the buckets with notifications, which roles name by a text and not by a reference.
func mentionedBuckets(t *template) map[string]bool {
	found := map[string]bool{}
	for _, id := range t.of(aBucket) {
		if t.get(id, "NotificationConfiguration") != nil {
			found[id] = true
		}
	}
	return found
}

// sourcesOf returns a function's event sources and failure destinations.
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

// may reports whether a function's role allows an action on a resource.
func may(t *template, function, action string, on func(any) bool) bool {
	for _, s := range permissions(t, target(t.get(function, "Role"))) {
		if s.allows && slices.Contains(s.actions, action) && slices.ContainsFunc(s.resources, on) {
			return true
		}
	}
	return false
}

// sources requires permissions for event sources and failure destinations, which osls does not add to the template's
// own roles.
func sources(t *template) (v violations) {
	need := func(function, id string, actions ...string) {
		for _, action := range actions {
			if !may(t, function, action, func(r any) bool { return target(r) == id }) {
				v.add("%s: its role lacks %s on %s", function, action, id)
			}
		}
	}
	for _, id := range t.of(aMapping) {
		function, source := target(t.get(id, "FunctionName")), target(t.get(id, "EventSourceArn"))
		if t.is(source, aQueue) {
			need(function, source, "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
		} else {
			need(function, source, "dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator",
				"dynamodb:ListStreams")
		}
	}
	for _, id := range slices.Concat(t.of(aMapping), t.of(anInvokeConf)) {
		if queue := target(t.get(id, "DestinationConfig", "OnFailure", "Destination")); queue != "" {
			need(target(t.get(id, "FunctionName")), queue, "sqs:SendMessage")
		}
	}
	return v
}

// sourceARNs requires a source ARN wherever a service is allowed to act, or the service would also act for other
// accounts.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
func sourceARNs(t *template) (v violations) {
	policies := resourcePolicies(t)
	for _, id := range slices.Sorted(maps.Keys(policies)) {
		for _, s := range policies[id] {
			if s.allows && len(s.services) > 0 && !hasSourceARN(s.condition) {
				v.add("%s: allows %s without the condition aws:SourceArn", id, strings.Join(s.services, ", "))
			}
		}
	}
	for _, id := range t.of(aPermission) {
		if t.get(id, "SourceArn") == nil {
			v.add("%s: allows %s without SourceArn", id, t.get(id, "Principal"))
		}
		if t.get(id, "Principal") == "s3.amazonaws.com" && t.get(id, "SourceAccount") == nil {
			v.add("%s: allows a bucket of the same name in another account; set SourceAccount", id)
		}
	}
	return v
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

// principals requires that no statement allows everybody.
func principals(t *template) (v violations) {
	policies := resourcePolicies(t)
	for _, id := range slices.Sorted(maps.Keys(policies)) {
		for _, s := range policies[id] {
			if s.allows && s.everybody {
				v.add("%s: allows everybody %s", id, strings.Join(s.actions, ", "))
			}
		}
	}
	for _, id := range t.of(aPermission) {
		if t.get(id, "Principal") == "*" {
			v.add("%s: allows everybody to invoke the function", id)
		}
	}
	return v
}
