package template_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// fault breaks a good template in one way.
type fault struct {
	rule  string // which must tell
	name  string
	plant func(*template)
}

// set gives what is at a path another value. A path has names and, in lists, positions.
func set(id string, value any, path ...any) func(*template) {
	return func(t *template) {
		parent := any(t.Resources[id].Properties)
		for _, step := range path[:len(path)-1] {
			parent = stepInto(parent, step)
		}
		switch last := path[len(path)-1].(type) {
		case string:
			parent.(map[string]any)[last] = value
		case int:
			parent.([]any)[last] = value
		}
	}
}

func stepInto(v, step any) any {
	if i, ok := step.(int); ok {
		return v.([]any)[i]
	}
	return v.(map[string]any)[step.(string)]
}

// without removes a property.
func without(id string, path ...any) func(*template) {
	return func(t *template) {
		parent := any(t.Resources[id].Properties)
		for _, step := range path[:len(path)-1] {
			parent = stepInto(parent, step)
		}
		delete(parent.(map[string]any), path[len(path)-1].(string))
	}
}

// remove takes whole resources away.
func remove(ids ...string) func(*template) {
	return func(t *template) {
		for _, id := range ids {
			delete(t.Resources, id)
		}
	}
}

// replace writes over a text wherever it stands in the properties of a resource.
func replace(id, old, with string) func(*template) {
	return func(t *template) {
		src, err := json.Marshal(t.Resources[id].Properties)
		if err != nil {
			panic(err)
		}
		t.Resources[id].Properties = nil
		if err := json.Unmarshal([]byte(strings.ReplaceAll(string(src), old, with)), &t.Resources[id].Properties); err != nil {
			panic(err)
		}
	}
}

// grant adds a statement to a role's policy.
func grant(role string, actions, resource any) func(*template) {
	return func(t *template) {
		document := t.get(role, "Policies").([]any)[0].(map[string]any)["PolicyDocument"].(map[string]any)
		document["Statement"] = append(document["Statement"].([]any), map[string]any{"Effect": "Allow", "Action": actions, "Resource": resource})
	}
}

// revoke takes an action out of all statements of a role.
func revoke(role, action string) func(*template) {
	return func(t *template) {
		for _, s := range list(at(list(t.get(role, "Policies"))[0], "PolicyDocument", "Statement")) {
			left := slices.DeleteFunc(texts(at(s, "Action")), func(a string) bool { return a == action })
			s.(map[string]any)["Action"] = left
		}
	}
}

// withoutStatement removes a statement of a resource policy by its Sid.
func withoutStatement(id, sid string) func(*template) {
	return func(t *template) {
		document := t.Resources[id].Properties["PolicyDocument"].(map[string]any)
		document["Statement"] = slices.DeleteFunc(list(document["Statement"]), func(s any) bool { return at(s, "Sid") == sid })
	}
}

// byAnybody is a statement for a resource policy.
func byAnybody(action, resource string) map[string]any {
	return map[string]any{"Effect": "Allow", "Principal": "*", "Action": action, "Resource": map[string]any{"Ref": resource}}
}

const (
	failuresRule    = "a function that fails with everything is noticed within ten minutes"
	protocolsRule   = "subscriptions are limited to encrypted protocols and known accounts"
	tlsRule         = "buckets, queues and topics require TLS"
	applyMapping    = "ApplyEventSourceMappingSQSApplyQueue"
	announceMapping = "AnnounceEventSourceMappingDynamodbFavoritesTable"
	theAuthorizer   = "AuthorizerApiGatewayAuthorizer"
	bearer          = `^[Bb][Ee][Aa][Rr][Ee][Rr] +[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+ *$`
)

func ref(id string) map[string]any { return map[string]any{"Ref": id} }

var faults = []fault{
	{"visibility timeouts outlast retries", "a lower visibility timeout", set("ApplyQueue", 179.0, "VisibilityTimeout")},
	{"visibility timeouts outlast retries", "a slower function", set("IngestLambdaFunction", 301.0, "Timeout")},
	{"visibility timeouts outlast retries", "a batching window", set(applyMapping, 5.0, "MaximumBatchingWindowInSeconds")},
	{"visibility timeouts outlast retries", "the service's own timeout", without("ResumeQueue", "VisibilityTimeout")},

	{"partial failures are reported", "a queue that takes all back", without(applyMapping, "FunctionResponseTypes")},
	{"partial failures are reported", "a stream that takes all back", set(announceMapping, []any{}, "FunctionResponseTypes")},
	{"partial failures are reported", "no bisecting", set(announceMapping, false, "BisectBatchOnFunctionError")},

	{"every hop has a dead-letter queue", "a queue without", without("ApplyQueue", "RedrivePolicy")},
	{"every hop has a dead-letter queue", "the dead-letter queue gone", remove("ResumeDead")},
	{"every hop has a dead-letter queue", "a subscription without", without("ApplySubscription", "RedrivePolicy")},
	{"every hop has a dead-letter queue", "a stream without", without(announceMapping, "DestinationConfig")},
	{"every hop has a dead-letter queue", "a stream that never gives up", without(announceMapping, "MaximumRetryAttempts")},
	{"every hop has a dead-letter queue", "asynchronous events without", remove("IngestLambdaEvConf")},
	{"every hop has a dead-letter queue", "two tries", set("ApplyQueue", 2.0, "RedrivePolicy", "maxReceiveCount")},

	{"dead-letter queues keep long and take from their sources", "four days", without("IngestDead", "MessageRetentionPeriod")},
	{"dead-letter queues keep long and take from their sources", "no queue policy", remove("QueuesTakeFromUpdates")},

	{"messages go where they belong", "spans for apply", set("ApplySubscription", []any{"flavorless.span.v1"}, "FilterPolicy", "type")},
	{"messages go where they belong", "no filter", without("ResumeSubscription", "FilterPolicy")},
	{"messages go where they belong", "a filter on bodies", set("ApplySubscription", "MessageBody", "FilterPolicyScope")},
	{"messages go where they belong", "wrapped", without("ApplySubscription", "RawMessageDelivery")},
	{"messages go where they belong", "nobody resumes", remove("ResumeSubscription")},

	{"every trouble has an alarm", "of a dead-letter queue", remove("AnnounceDeadAlarm")},
	{"every trouble has an alarm", "on another queue", set("ApplyDeadAlarm", map[string]any{"Fn::GetAtt": []any{"ResumeDead", "QueueName"}}, "Dimensions", 0, "Value")},
	{"every trouble has an alarm", "of a queue's age", remove("ApplyQueueAgeAlarm")},
	{"every trouble has an alarm", "of the stream's age", remove("AnnounceIteratorAgeAlarm")},
	{"every trouble has an alarm", "of errors", remove("TeamErrorsAlarm")},
	{"every trouble has an alarm", "of throttles", remove("ApplyThrottlesAlarm")},
	{"every trouble has an alarm", "of lost events", remove("IngestDestinationAlarm")},
	{"every trouble has an alarm", "of the API", remove("Api5xxAlarm")},
	{"every trouble has an alarm", "of failed uploads", remove("UploadsFailedAlarm")},
	{"every trouble has an alarm", "of keys", remove("AuthorizerUnavailableAlarm")},

	{"alarms call someone", "nobody", without("ApplyDeadAlarm", "AlarmActions")},
	{"alarms call someone", "no such topic", remove("AlarmTopic")},
	{"alarms call someone", "at night, for nothing", set("ApplyErrorsAlarm", "breaching", "TreatMissingData")},
	{"alarms call someone", "at the tenth dead letter", set("ApplyDeadAlarm", 9.0, "Threshold")},

	{"loops are allowed where they are meant", "no setting", without("IngestLambdaFunction", "RecursiveLoop")},
	{"loops are allowed where they are meant", "the service's own setting", set("IngestLambdaFunction", "Terminate", "RecursiveLoop")},
	{"loops are allowed where they are meant", "allowed for nothing", set("ApplyLambdaFunction", "Allow", "RecursiveLoop")},
	{"loops are allowed where they are meant", "through a topic", grant("ApplyRole", "sns:Publish", ref("UpdatesTopic"))},
	{"loops are allowed where they are meant", "through a queue by its name", grant("ApplyRole", []any{"sqs:SendMessage"}, map[string]any{"Fn::Sub": "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:flavorless-test-apply"})},
	{"loops are allowed where they are meant", "through another function", grant("ApplyRole", "s3:PutObject", map[string]any{"Fn::Sub": "${UploadsBucket.Arn}/*"})},
	{failuresRule, "errors alone", remove("ApplyRetriesAlarm")},
	{failuresRule, "of a stream", remove("AnnounceRetriesAlarm")},
	{failuresRule, "of the resume queue", remove("IngestRetriesAlarm")},
	{failuresRule, "on another function", replace("ApplyRetriesAlarm", `"apply"`, `"ingest"`)},
	{failuresRule, "on another metric", set("ApplyRetriesAlarm", "dead_letters", "MetricName")},
	{failuresRule, "at the tenth failure in a minute", set("ApplyRetriesAlarm", 9.0, "Threshold")},
	{failuresRule, "on an average", set("AnnounceRetriesAlarm", "Average", "Statistic")},
	{failuresRule, "a longer period", set("ApplyRetriesAlarm", 300.0, "Period")},
	{failuresRule, "failures in five minutes of five", set("ApplyRetriesAlarm", 5.0, "DatapointsToAlarm")},
	{failuresRule, "a longer visibility timeout", set("ApplyQueue", 360.0, "VisibilityTimeout")},
	{failuresRule, "two failures of what comes every half an hour", set("IngestRetriesAlarm", 2.0, "EvaluationPeriods")},
	{failuresRule, "a slower function", set("IngestLambdaFunction", 600.0, "Timeout")},

	{"one role for each function", "a shared role", set("TeamLambdaFunction", map[string]any{"Fn::GetAtt": []any{"LookupRole", "Arn"}}, "Role")},
	{"one role for each function", "for anybody to assume", set("TeamRole", map[string]any{"AWS": "*", "Service": "lambda.amazonaws.com"}, "AssumeRolePolicyDocument", "Statement", 0, "Principal")},
	{"one role for each function", "a managed policy", set("TeamRole", []any{"arn:aws:iam::aws:policy/AmazonDynamoDBReadOnlyAccess"}, "ManagedPolicyArns")},

	{"no wildcards", "any resource", grant("TeamRole", "dynamodb:Query", "*")},
	{"no wildcards", "any queue", grant("ApplyRole", "sqs:SendMessage", map[string]any{"Fn::Sub": "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:*"})},
	{"no wildcards", "any action", grant("TeamRole", "dynamodb:*", map[string]any{"Fn::GetAtt": []any{"FavoritesTable", "Arn"}})},
	{"no wildcards", "more under the traces' cloak", grant("TeamRole", []any{"xray:PutTraceSegments", "s3:GetObject"}, "*")},

	{"every action exists", "misspelt", replace("IngestRole", "s3:GetObjectVersion", "s3:GetObjectsVersion")},
	{"every action exists", "not of the form", replace("QueuesTakeFromUpdates", "sqs:SendMessage", "SendMessage")},
	{"every action exists", "of a permission", set("TeamLambdaPermissionApiGateway", "lambda:Invoke", "Action")},

	{"functions may do what they are set up for, and no more", "told, not allowed", set("TeamLambdaFunction", ref("UploadsTable"), "Environment", "Variables", "UPLOADS_TABLE")},
	{"functions may do what they are set up for, and no more", "allowed, not told", grant("TeamRole", "dynamodb:GetItem", map[string]any{"Fn::GetAtt": []any{"UploadsTable", "Arn"}})},
	{"functions may do what they are set up for, and no more", "no log", revoke("TeamRole", "logs:PutLogEvents")},
	{"functions may do what they are set up for, and no more", "no traces", revoke("TeamRole", "xray:PutTraceSegments")},

	{"event sources can be read", "a queue can't", revoke("ApplyRole", "sqs:DeleteMessage")},
	{"event sources can be read", "a stream can't", revoke("AnnounceRole", "dynamodb:GetRecords")},
	{"event sources can be read", "failures can't be put aside", revoke("IngestRole", "sqs:SendMessage")},

	{"services act for our resources alone", "of a queue's policy", without("QueuesTakeFromUpdates", "PolicyDocument", "Statement", 0, "Condition")},
	{"services act for our resources alone", "of the alarms' topic", without("AlarmTopicPolicy", "PolicyDocument", "Statement", 0, "Condition")},
	{"services act for our resources alone", "of a permission", without("TeamLambdaPermissionApiGateway", "SourceArn")},
	{"services act for our resources alone", "of the bucket's account", without("UploadsBucketMayInvokeIngest", "SourceAccount")},

	{"nobody else is let in", "anybody may send", set("QueuesTakeFromUpdates", byAnybody("sqs:SendMessage", "ApplyQueue"), "PolicyDocument", "Statement", 0)},
	{"nobody else is let in", "anybody may subscribe", set("ChangesTopicPolicy", byAnybody("sns:Subscribe", "ChangesTopic"), "PolicyDocument", "Statement", 0)},
	{"nobody else is let in", "anybody may invoke", set("TeamLambdaPermissionApiGateway", "*", "Principal")},

	{protocolsRule, "http", replace("ChangesTopicPolicy", `"https"`, `"http"`)},
	{protocolsRule, "http beside the others", replace("ChangesTopicPolicy", `"https"`, `"https","http"`)},
	{protocolsRule, "any protocol for subscriber accounts", without("ChangesTopicPolicy", "PolicyDocument", "Statement", 0, "Condition")},
	{protocolsRule, "any protocol for principals of the account", withoutStatement("ChangesTopicPolicy", "KnownProtocolsOnly")},
	{protocolsRule, "a Deny that spares one principal", set("ChangesTopicPolicy", map[string]any{"aws:username": "admin"}, "PolicyDocument", "Statement", 1, "Condition", "StringEquals")},
	{protocolsRule, "queues of any account", withoutStatement("ChangesTopicPolicy", "EndpointsOfSubscribersOnly")},
	{protocolsRule, "a wildcard for the account", replace("ChangesTopicPolicy", "sqs:*:${account}:*", "sqs:*:*:*")},
	{protocolsRule, "functions of any account", set("ChangesTopicPolicy", []any{"sqs"}, "PolicyDocument", "Statement", 2, "Condition", "StringEquals", "sns:Protocol")},
	{protocolsRule, "other queues on the updates topic", withoutStatement("UpdatesTopicPolicy", "OwnQueuesOnly")},
	{protocolsRule, "a dead-letter queue on the updates topic", replace("UpdatesTopicPolicy", `"ResumeQueue"`, `"ResumeDead"`)},

	{tlsRule, "a bucket", remove("ReportsBucketPolicy")},
	{tlsRule, "a queue", withoutStatement("QueuesTakeFromUpdates", "TlsOnly")},
	{tlsRule, "a dead-letter queue", remove("DeadLetterQueuesByTlsOnly")},
	{tlsRule, "one queue of several", set("DeadLetterQueuesByTlsOnly", []any{ref("ApplyDead"), ref("ResumeDead"), ref("IngestDead")}, "PolicyDocument", "Statement", 0, "Resource")},
	{tlsRule, "a queue that the policy is not attached to", set("DeadLetterQueuesByTlsOnly", []any{ref("ApplyDead"), ref("ResumeDead"), ref("IngestDead")}, "Queues")},
	{tlsRule, "sending to a queue alone", replace("QueuesTakeFromUpdates", "sqs:*", "sqs:SendMessage")},
	{tlsRule, "a topic", withoutStatement("ChangesTopicPolicy", "TlsOnly")},
	{tlsRule, "the alarms' topic", withoutStatement("AlarmTopicPolicy", "TlsOnly")},
	{tlsRule, "publishing alone", set("UpdatesTopicPolicy", "sns:Publish", "PolicyDocument", "Statement", 0, "Action")},
	{tlsRule, "the other way round", replace("UpdatesTopicPolicy", `"false"`, `"true"`)},
	{tlsRule, "two policies on one queue", set("DeadLetterQueuesByTlsOnly", []any{ref("ApplyDead"), ref("ResumeDead"), ref("IngestDead"), ref("AnnounceDead"), ref("ApplyQueue")}, "Queues")},

	{"wildcard principals have conditions", "anybody may send", set("QueuesTakeFromUpdates", byAnybody("sqs:SendMessage", "ApplyQueue"), "PolicyDocument", "Statement", 0)},
	{"wildcard principals have conditions", "any role of an account", set("ChangesTopicPolicy", map[string]any{"Effect": "Allow", "Principal": map[string]any{"AWS": []any{"arn:aws:iam::210987654321:role/*"}}, "Action": "sns:Subscribe", "Resource": ref("ChangesTopic")}, "PolicyDocument", "Statement", 0)},
	{"wildcard principals have conditions", "everybody is denied", without("UpdatesTopicPolicy", "PolicyDocument", "Statement", 0, "Condition")},

	{"buckets are private and encrypted", "not encrypted", without("ReportsBucket", "BucketEncryption")},
	{"buckets are private and encrypted", "may be public", set("UploadsBucket", false, "PublicAccessBlockConfiguration", "BlockPublicPolicy")},

	{"buckets are kept", "goes with the stack", func(t *template) { t.Resources["UploadsBucket"].DeletionPolicy = "Delete" }},
	{"buckets are kept", "no versions", without("UploadsBucket", "VersioningConfiguration")},
	{"buckets are kept", "for ever", without("UploadsBucket", "LifecycleConfiguration")},
	{"buckets are kept", "objects of others", set("UploadsBucket", "ObjectWriter", "OwnershipControls", "Rules", 0, "ObjectOwnership")},

	{"uploads alone trigger", "any key", without("UploadsBucket", "NotificationConfiguration", "LambdaConfigurations", 0, "Filter")},
	{"uploads alone trigger", "no trigger", without("UploadsBucket", "NotificationConfiguration")},
	{"uploads alone trigger", "no permission", remove("UploadsBucketMayInvokeIngest")},
	{"uploads alone trigger", "no versions to read", revoke("IngestRole", "s3:GetObjectVersion")},
	{"uploads alone trigger", "403 for what is gone", revoke("IngestRole", "s3:ListBucket")},

	{"only parts of reports are deleted", "whole reports", grant("IngestRole", "s3:DeleteObject", map[string]any{"Fn::Sub": "${ReportsBucket.Arn}/*"})},
	{"only parts of reports are deleted", "old versions", grant("IngestRole", "s3:DeleteObjectVersion", map[string]any{"Fn::Sub": "${ReportsBucket.Arn}/*/rejects/*.part"})},
	{"only parts of reports are deleted", "no parts either", revoke("IngestRole", "s3:DeleteObject")},
	{"only parts of reports are deleted", "parts can't be listed", revoke("IngestRole", "s3:ListBucket")},

	{"tables are kept", "goes with the stack", func(t *template) { t.Resources["FavoritesTable"].DeletionPolicy = "" }},
	{"tables are kept", "is replaced", func(t *template) { t.Resources["UploadsTable"].UpdateReplacePolicy = "Delete" }},
	{"tables are kept", "no deletion protection", set("FavoritesTable", false, "DeletionProtectionEnabled")},
	{"tables are kept", "no restoring", without("UploadsTable", "PointInTimeRecoverySpecification")},
	{"tables are kept", "not encrypted", without("UploadsTable", "SSESpecification")},
	{"tables are kept", "another time to live", set("FavoritesTable", "ttl", "TimeToLiveSpecification", "AttributeName")},

	{"tables have the adapter's keys", "another key", set("FavoritesTable", "name", "KeySchema", 1, "AttributeName")},
	{"tables have the adapter's keys", "no old images", set("FavoritesTable", "NEW_IMAGE", "StreamSpecification", "StreamViewType")},
	{"tables have the adapter's keys", "another index", set("UploadsTable", "latest", "GlobalSecondaryIndexes", 0, "IndexName")},

	{"queues and topics are encrypted", "a queue", without("ApplyQueue", "SqsManagedSseEnabled")},
	{"queues and topics are encrypted", "a topic", without("ChangesTopic", "KmsMasterKeyId")},
	{"queues and topics are encrypted", "the alarms', with a key that CloudWatch has not", set("AlarmTopic", "alias/aws/sns", "KmsMasterKeyId")},

	{"functions are what we build", "one missing", remove("AnnounceLambdaFunction")},
	{"functions are what we build", "another processor", set("TeamLambdaFunction", []any{"x86_64"}, "Architectures")},
	{"functions are what we build", "no traces", without("TeamLambdaFunction", "TracingConfig")},
	{"functions are what we build", "longer than the gateway waits", set("TeamLambdaFunction", 30.0, "Timeout")},
	{"functions are what we build", "all of the account's concurrency", without(applyMapping, "ScalingConfig")},
	{"functions are what we build", "less reserved than its queue may take", set("IngestLambdaFunction", 10.0, "ReservedConcurrentExecutions")},

	{"a hung request can be made again", "a reader with as long as one request", set("LookupLambdaFunction", 2.0, "Timeout")},
	{"a hung request can be made again", "a faster apply", set("ApplyLambdaFunction", 20.0, "Timeout")},

	{"environment holds no secret", "by name", set("TeamLambdaFunction", "x", "Environment", "Variables", "CLIENT_SECRET")},
	{"environment holds no secret", "by value", set("TeamLambdaFunction", "AKIA"+"ABCDEFGHIJKLMNOP", "Environment", "Variables", "SOMETHING")},
	{"environment holds no secret", "in a URL", set("TeamLambdaFunction", "https://me:hush@example.com/", "Environment", "Variables", "SOMETHING")},
	{"environment holds no secret", "resolved by CloudFormation", set("TeamLambdaFunction", "{{resolve:secretsmanager:s}}", "Environment", "Variables", "SOMETHING")},

	{"logs end", "kept for ever", without("TeamLogGroup", "RetentionInDays")},
	{"logs end", "no group", remove("TeamLogGroup")},
	{"logs end", "metrics are swallowed", set("TeamLambdaFunction", "WARN", "LoggingConfig", "ApplicationLogLevel")},

	{"routes are those of the description", "one missing", remove("ApiGatewayMethodUploadsIdVarGet")},
	{"routes are those of the description", "open", set("ApiGatewayMethodTeamGet", "NONE", "AuthorizationType")},
	{"routes are those of the description", "open to HEAD", set("ApiGatewayMethodTeamHead", "NONE", "AuthorizationType")},
	{"routes are those of the description", "closed health", set("ApiGatewayMethodHealthzAny", "CUSTOM", "AuthorizationType")},
	{"routes are those of the description", "without authorizer", without("ApiGatewayMethodTeamGet", "AuthorizerId")},
	{"routes are those of the description", "no catch-all", remove("ApiGatewayMethodProxyVarAny")},
	{"routes are those of the description", "to another function", replace("ApiGatewayMethodTeamGet", "TeamLambdaFunction", "LookupLambdaFunction")},
	{"routes are those of the description", "not documented", set("ApiGatewayMethodTeamAny", "DELETE", "HttpMethod")},
	{"routes are those of the description", "another path", set("ApiGatewayResourceIceDashcream", "icecream", "PathPart")},
	{"routes are those of the description", "not to be invoked", remove("TeamLambdaPermissionApiGateway")},

	{"the authorizer sees what may be good", "another header", set(theAuthorizer, "method.request.header.X-Token", "IdentitySource")},
	{"the authorizer sees what may be good", "for an hour", set(theAuthorizer, 3600.0, "AuthorizerResultTtlInSeconds")},
	{"the authorizer sees what may be good", "only capitals", set(theAuthorizer, strings.Replace(bearer, "[Bb][Ee][Aa][Rr][Ee][Rr]", "Bearer", 1), "IdentityValidationExpression")},
	{"the authorizer sees what may be good", "anything", set(theAuthorizer, ".*", "IdentityValidationExpression")},
	{"the authorizer sees what may be good", "not to be invoked", remove("AuthorizerLambdaPermissionApiGateway")},

	{"the gateway speaks as the API does", "its own words", remove("GatewayThrottled")},
	{"the gateway speaks as the API does", "no such type", set("GatewayThrottled", "TOO_MANY", "ResponseType")},
	{"the gateway speaks as the API does", "another status", set("GatewayNoRoute", "403", "StatusCode")},
	{"the gateway speaks as the API does", "one status for all", set("Gateway4xx", "400", "StatusCode")},
	{"the gateway speaks as the API does", "not JSON", replace("Gateway4xx", "$context.error.messageString", "$context.error.message")},
	{"the gateway speaks as the API does", "status and body differ", replace("GatewayForbidden", `\"status\":403`, `\"status\":401`)},
	{"the gateway speaks as the API does", "plain JSON", replace("GatewayForbidden", "application/problem+json", "application/json")},
	{"the gateway speaks as the API does", "unreadable to pages", without("Gateway5xx", "ResponseParameters", "gatewayresponse.header.Access-Control-Allow-Origin")},
	{"the gateway speaks as the API does", "401 without a challenge", without("GatewayUnauthorized", "ResponseParameters", "gatewayresponse.header.WWW-Authenticate")},
	{"the gateway speaks as the API does", "502 for want of concurrency", remove("GatewayFunctionFailure")},
	{"the gateway speaks as the API does", "500 for want of concurrency", without("GatewayFunctionConfiguration", "StatusCode")},
	{"the gateway speaks as the API does", "503 without a time", without("GatewayTimeout", "ResponseParameters", "gatewayresponse.header.Retry-After")},

	{"the stage logs, limits and shows all", "no access log", without("ApiStage", "AccessLogSetting")},
	{"the stage logs, limits and shows all", "errors are kept for ever", remove("ExecutionLog")},
	{"the stage logs, limits and shows all", "tokens in the log", replace("ApiStage", "$context.resourcePath", "$context.authorizer.claims")},
	{"the stage logs, limits and shows all", "tokens in traces", set("ApiStage", true, "MethodSettings", 0, "DataTraceEnabled")},
	{"the stage logs, limits and shows all", "no limit", without("ApiStage", "MethodSettings", 0, "ThrottlingRateLimit")},
	{"the stage logs, limits and shows all", "no limit of one method", without("ApiStage", "MethodSettings", 1, "ThrottlingBurstLimit")},
	{"the stage logs, limits and shows all", "lists as often as people", set("ApiStage", 200.0, "MethodSettings", 1, "ThrottlingRateLimit")},
	{"the stage logs, limits and shows all", "another list", replace("ApiStage", "/~1uploads", "/~1upload")},
	{"the stage logs, limits and shows all", "only one method of a list", replace("ApiStage", `"HEAD"`, `"PUT"`)},
	{"the stage logs, limits and shows all", "a path without its encoding", replace("ApiStage", "/~1team", "/team")},
	{"the stage logs, limits and shows all", "tokens in traces of one method", set("ApiStage", true, "MethodSettings", 2, "DataTraceEnabled")},
	{"the stage logs, limits and shows all", "one method without metrics", without("ApiStage", "MethodSettings", 2, "MetricsEnabled")},
	{"the stage logs, limits and shows all", "shown too early", func(t *template) {
		deployment := t.Resources[t.of(aDeployment)[0]]
		deployment.DependsOn = slices.DeleteFunc(list(deployment.DependsOn), func(id any) bool { return id == "Gateway5xx" })
	}},

	{"the gateway logs no names", "the path", replace("ApiStage", "$context.resourcePath", "$context.path")},
	{"the gateway logs no names", "the path in another field", replace("ApiStage", "$context.requestTime", "$context.requestTime $context.path")},
	{"the gateway logs no names", "an e-mail address of the token", replace("ApiStage", "$context.authorizer.principalId", "$context.authorizer.email")},
	{"the gateway logs no names", "URLs in traces", set("ApiStage", true, "TracingEnabled")},
	{"the gateway logs no names", "paths in the execution log", set("ApiStage", "INFO", "MethodSettings", 0, "LoggingLevel")},

	{"what is watched is measured", "an alarm on a result that is not", replace("AuthorizerUnavailableAlarm", "unavailable", "unreachable")},
	{"what is watched is measured", "an alarm on a metric that is not", replace("UploadsFailedAlarm", `"uploads"`, `"upload"`)},
	{"what is watched is measured", "a picture of a metric that is not", replace("Dashboard", "superseded", "superceded")},
	{"what is watched is measured", "a picture of another stage", replace("Dashboard", `\"stage\",\"test\"`, `\"stage\",\"prod\"`)},
	{"what is watched is measured", "another API", replace("Api5xxAlarm", "flavorless-test", "test-flavorless")},
}

// TestFaults plants each fault by itself, and wants the rule to tell: a rule that can't fail holds nothing.
func TestFaults(t *testing.T) {
	planted := map[string]bool{}
	for _, f := range faults {
		planted[f.rule] = true
		t.Run(f.rule+"/"+f.name, func(t *testing.T) {
			tpl := compiledTemplate(t)
			i := slices.IndexFunc(rules, func(r rule) bool { return r.name == f.rule })
			if i < 0 {
				t.Fatal("there is no such rule")
			}
			before := marshaled(t, tpl)
			f.plant(tpl)
			if marshaled(t, tpl) == before {
				t.Fatal("nothing was broken")
			}
			if len(rules[i].check(tpl)) == 0 {
				t.Error("the rule does not tell")
			}
		})
	}
	for _, r := range rules {
		if !planted[r.name] {
			t.Errorf("nothing breaks the rule %q", r.name)
		}
	}
}

func marshaled(t *testing.T, v any) string {
	t.Helper()
	src, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(src)
}
