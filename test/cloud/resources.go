package cloud

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// creator makes a resource of its properties, functions resolved.
type creator func(ctx context.Context, s *Stack, id string, properties map[string]any) (created, error)

// ignored makes nothing, for a reason. Attributes that others ask for are made up.
func ignored(_ string, attrs ...string) creator {
	return func(_ context.Context, _ *Stack, id string, _ map[string]any) (created, error) {
		c := created{ref: id, attrs: map[string]string{}}
		for _, attr := range attrs {
			c.attrs[attr] = arnOf("ignored", id)
		}
		return c, nil
	}
}

// creators is what the harness knows. What is not here stops a deployment.
var creators = map[string]creator{ //nolint:gochecknoglobals // a table
	"AWS::DynamoDB::Table":               createTable,
	"AWS::S3::Bucket":                    createBucket,
	"AWS::SNS::Topic":                    createTopic,
	"AWS::SNS::Subscription":             createSubscription,
	"AWS::SQS::Queue":                    createQueue,
	"AWS::SQS::QueuePolicy":              createQueuePolicy,
	"AWS::IAM::Role":                     createRole,
	"AWS::Lambda::Function":              createFunction,
	"AWS::Lambda::EventInvokeConfig":     createInvokeConfig,
	"AWS::Lambda::EventSourceMapping":    createMapping,
	"AWS::Lambda::Permission":            createPermission,
	"AWS::ApiGateway::RestApi":           gatewayPart("RootResourceId"),
	"AWS::ApiGateway::Resource":          gatewayPart(),
	"AWS::ApiGateway::Method":            gatewayPart(),
	"AWS::ApiGateway::Authorizer":        gatewayPart(),
	"AWS::ApiGateway::GatewayResponse":   gatewayPart(),
	"AWS::ApiGateway::Deployment":        gatewayPart(),
	"AWS::ApiGateway::Stage":             gatewayPart(),
	"AWS::ApiGateway::RequestValidator":  gatewayPart(),
	"AWS::SNS::TopicPolicy":              createTopicPolicy,
	"AWS::S3::BucketPolicy":              ignored("all is plain HTTP here, which it would deny; a test of the template holds it"),
	"AWS::Logs::LogGroup":                ignored("logs are kept by Function", "Arn"),
	"AWS::Logs::MetricFilter":            ignored("no metrics are kept"),
	"AWS::CloudWatch::Alarm":             ignored("no metrics are kept", "Arn"),
	"AWS::CloudWatch::CompositeAlarm":    ignored("no metrics are kept", "Arn"),
	"AWS::CloudWatch::Dashboard":         ignored("nobody looks at it"),
	"AWS::CloudFormation::WaitCondition": ignored("nothing is waited for"),
}

// gatewayPart is made by newGateway, from all parts together. An id is as good as a name here.
func gatewayPart(attrs ...string) creator {
	return func(_ context.Context, _ *Stack, id string, p map[string]any) (created, error) {
		c := created{ref: id, attrs: map[string]string{}}
		if name, ok := p["StageName"].(string); ok && p["DeploymentId"] != nil {
			c.ref = name // of a stage
		}
		for _, attr := range attrs {
			c.attrs[attr] = id + "." + attr
		}
		return c, nil
	}
}

// physical is a name as CloudFormation makes them: no two stacks have the same.
func physical(id string) string { return "stack-" + id + "-" + rand.Text()[:12] }

func createTable(ctx context.Context, s *Stack, id string, p map[string]any) (created, error) {
	in := maps.Clone(p)
	in["TableName"] = cmp.Or(text0(p["TableName"]), physical(id))
	if stream, ok := p["StreamSpecification"].(map[string]any); ok {
		stream = maps.Clone(stream)
		stream["StreamEnabled"] = true // CloudFormation takes it for granted
		in["StreamSpecification"] = stream
	}
	ttl := in["TimeToLiveSpecification"]
	for _, later := range []string{"TimeToLiveSpecification", "PointInTimeRecoverySpecification", "SSESpecification", "DeletionProtectionEnabled", "Tags", "WarmThroughput"} {
		delete(in, later) // no input of CreateTable, or none of DynamoDB Local
	}
	var out struct {
		TableDescription struct{ LatestStreamArn string }
	}
	if err := s.admin.JSON(ctx, targetTable+"CreateTable", in, &out); err != nil {
		return created{}, err
	}
	if ttl != nil {
		if err := s.admin.JSON(ctx, targetTable+"UpdateTimeToLive", map[string]any{"TableName": in["TableName"], "TimeToLiveSpecification": ttl}, nil); err != nil {
			return created{}, err
		}
	}
	name := text(in["TableName"])
	return created{ref: name, attrs: map[string]string{
		"Arn": arnOf("dynamodb", "table/"+name), "StreamArn": strings.Replace(out.TableDescription.LatestStreamArn, localTable, awsTable, 1),
	}}, nil
}

func text0(v any) string { s, _ := v.(string); return s }

// createTopic: moto has made it, with what the template says.
func createTopic(_ context.Context, s *Stack, id string, _ map[string]any) (created, error) {
	arn := s.made[id]
	return created{ref: arn, attrs: map[string]string{"TopicName": arn[strings.LastIndexByte(arn, ':')+1:], "TopicArn": arn}}, nil
}

// createQueue finds the queue that moto has made. Its URL in CloudFormation would lead to Amazon; that of the service
// leads through the Door.
func createQueue(ctx context.Context, s *Stack, id string, _ map[string]any) (created, error) {
	name := s.made[id][strings.LastIndexByte(s.made[id], '/')+1:]
	var out struct{ QueueUrl string } //nolint:revive // the API's name
	err := s.admin.JSON(ctx, targetQueue+"GetQueueUrl", map[string]any{"QueueName": name}, &out)
	return created{ref: out.QueueUrl, attrs: map[string]string{"Arn": arnOf("sqs", name), "QueueName": name, "QueueUrl": out.QueueUrl}}, err
}

func createQueuePolicy(_ context.Context, s *Stack, id string, p map[string]any) (created, error) {
	policy, err := ParsePolicy(p["PolicyDocument"])
	if err != nil {
		return created{}, err
	}
	urls, err := stringList(p["Queues"])
	for _, url := range urls {
		arn := arnOf("sqs", url[strings.LastIndexByte(url, '/')+1:])
		if _, ok := s.queues[arn]; ok {
			return created{}, fmt.Errorf("%s has two policies: the second replaces the first", arn)
		}
		s.queues[arn] = policy
	}
	return created{ref: id}, err
}

// createTopicPolicy keeps the policy for [Stack.MaySubscribe]. Requests to publish are not held against it: functions publish
// by their roles, and over plain HTTP, which it would deny.
func createTopicPolicy(_ context.Context, s *Stack, id string, p map[string]any) (created, error) {
	policy, err := ParsePolicy(p["PolicyDocument"])
	if err != nil {
		return created{}, err
	}
	topics, err := stringList(p["Topics"])
	for _, arn := range topics {
		if _, ok := s.topics[arn]; ok {
			return created{}, fmt.Errorf("%s has two policies: the second replaces the first", arn)
		}
		s.topics[arn] = policy
	}
	return created{ref: id}, err
}

// MaySubscribe returns what a topic's policy decides about a principal, such as "AWS:123456789012", that subscribes an
// endpoint. A principal of the stack's account may subscribe unless the decision is [ExplicitDeny], if its own policies allow it.
func (s *Stack) MaySubscribe(topic, principal, protocol, endpoint string) (Decision, error) {
	return s.topics[topic].Decide(Request{
		Action: "sns:Subscribe", Resource: topic, Principal: principal,
		Context: map[string]string{"sns:Protocol": protocol, "sns:Endpoint": endpoint, "aws:SecureTransport": "true"},
	})
}

// createSubscription also asks the queue's policy, as SNS has to at each delivery: moto doesn't. Nor does moto know of a
// subscription's dead-letter queue; no delivery fails here.
func createSubscription(ctx context.Context, s *Stack, _ string, p map[string]any) (created, error) {
	var in struct {
		TopicArn, Protocol, Endpoint string
		RawMessageDelivery           bool
		FilterPolicyScope            string
		FilterPolicy                 map[string]any
		RedrivePolicy                struct{ DeadLetterTargetArn string }
	}
	if err := convert(p, &in); err != nil {
		return created{}, err
	}
	if in.Protocol != "sqs" {
		return created{}, fmt.Errorf("the protocol %q is not understood here", in.Protocol)
	}
	for _, queue := range []string{in.Endpoint, in.RedrivePolicy.DeadLetterTargetArn} {
		if queue == "" {
			continue
		}
		decision, err := s.queues[queue].Decide(Request{
			Action: "sqs:SendMessage", Resource: queue, Principal: "Service:sns.amazonaws.com", Context: map[string]string{"aws:SourceArn": in.TopicArn},
		})
		if err == nil && decision != Allow {
			err = fmt.Errorf("the policy of %s does not let %s send", queue, in.TopicArn)
		}
		if err != nil {
			return created{}, err
		}
	}
	arn, err := s.Subscribe(ctx, in.TopicArn, in.Endpoint, in.RawMessageDelivery, in.FilterPolicy)
	return created{ref: arn, attrs: map[string]string{"Arn": arn}}, err
}

// Subscribe subscribes a queue to a topic. filter, by message attributes, may be nil.
func (s *Stack) Subscribe(ctx context.Context, topic, queue string, raw bool, filter map[string]any) (arn string, err error) {
	in := map[string]string{"TopicArn": topic, "Protocol": "sqs", "Endpoint": queue, "ReturnSubscriptionArn": "true",
		"Attributes.entry.1.key": "RawMessageDelivery", "Attributes.entry.1.value": text(raw)}
	if filter != nil {
		in["Attributes.entry.2.key"], in["Attributes.entry.2.value"] = "FilterPolicy", text(filter)
	}
	decision, err := s.MaySubscribe(topic, "AWS:"+Account, "sqs", queue)
	if err == nil && decision == ExplicitDeny {
		err = fmt.Errorf("the policy of %s denies subscribing %s", topic, queue)
	}
	if err != nil {
		return "", err
	}
	answer, err := s.admin.Query(ctx, "sns", "Subscribe", in)
	if err != nil {
		return "", err
	}
	var out struct {
		SubscribeResult struct{ SubscriptionArn string }
	}
	return out.SubscribeResult.SubscriptionArn, errors.Join(xml.Unmarshal([]byte(answer), &out))
}

func createRole(_ context.Context, s *Stack, id string, p map[string]any) (created, error) {
	var in struct {
		RoleName, Path, Description string
		AssumeRolePolicyDocument    any
		Policies                    []struct{ PolicyName, PolicyDocument any }
		Tags                        any
	}
	if err := convert(p, &in); err != nil { // managed policies allow what nobody here has read
		return created{}, err
	}
	var all Policy
	for _, one := range in.Policies {
		policy, err := ParsePolicy(one.PolicyDocument)
		if err != nil {
			return created{}, err
		}
		all.Statements = append(all.Statements, policy.Statements...)
	}
	name := cmp.Or(in.RoleName, physical(id))
	arn := strings.Join([]string{"arn", Partition, "iam", "", Account, "role/" + name}, ":")
	s.policies[arn] = all
	return created{ref: name, attrs: map[string]string{"Arn": arn}}, nil
}

// permission is who may invoke a function.
type permission struct {
	Action, FunctionName, Principal, SourceArn, SourceAccount string
}

func createPermission(_ context.Context, s *Stack, id string, p map[string]any) (created, error) {
	var in permission
	err := convert(p, &in)
	s.permissions = append(s.permissions, in)
	return created{ref: id}, err
}

// mayInvoke says whether a service may invoke a function for one of its resources.
// https://docs.aws.amazon.com/lambda/latest/dg/access-control-resource-based.html
func (s *Stack) mayInvoke(f *Function, service, source string) error {
	for _, p := range s.permissions {
		if p.Action == "lambda:InvokeFunction" && p.Principal == service && (p.FunctionName == f.ARN() || p.FunctionName == f.Name) &&
			(p.SourceArn == "" || MatchARN(p.SourceArn, source)) {
			return nil
		}
	}
	return fmt.Errorf("no permission lets %s of %s invoke %s", source, service, f.Name)
}

func createInvokeConfig(_ context.Context, s *Stack, id string, p map[string]any) (created, error) {
	var in struct {
		FunctionName, Qualifier  string
		MaximumRetryAttempts     *int
		MaximumEventAgeInSeconds int // longer than any test
		DestinationConfig        struct{ OnFailure struct{ Destination string } }
	}
	if err := convert(p, &in); err != nil {
		return created{}, err
	}
	f, err := s.functionByARN(in.FunctionName)
	if err != nil {
		return created{}, err
	}
	if in.MaximumRetryAttempts != nil {
		f.Retries = *in.MaximumRetryAttempts
	}
	if to := in.DestinationConfig.OnFailure.Destination; to != "" {
		f.OnFailure = s.sender(f, to)
	}
	return created{ref: id}, nil
}

// sender sends to a queue in the name of a function: Lambda does so by the function's role.
func (s *Stack) sender(f *Function, queue string) func(context.Context, []byte) error {
	caller := Caller{Endpoint: s.Door.URL, Key: f.Key}
	return func(ctx context.Context, record []byte) error {
		url, err := s.queueURL(queue)
		if err != nil {
			return err
		}
		return caller.JSON(ctx, targetQueue+"SendMessage", map[string]any{"QueueUrl": url, "MessageBody": string(record)}, nil)
	}
}

func (s *Stack) queueURL(arn string) (string, error) {
	for _, r := range s.resources {
		if r.attrs["Arn"] == arn && r.attrs["QueueUrl"] != "" {
			return r.ref, nil
		}
	}
	return "", fmt.Errorf("there is no queue %s", arn)
}

// createBucket sets up of a bucket that moto has made what its CloudFormation leaves out: versions, and the notifications.
// S3 asks for the permission to invoke then, so it has to be there before.
func createBucket(ctx context.Context, s *Stack, id string, p map[string]any) (created, error) {
	name := s.made[id]
	arn := "arn:aws:s3:::" + name
	if v, _ := p["VersioningConfiguration"].(map[string]any); v["Status"] == "Enabled" {
		body := []byte(`<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`)
		if _, _, err := s.admin.S3(ctx, http.MethodPut, "/"+name+"?versioning", body, nil); err != nil {
			return created{}, err
		}
	}
	var in struct {
		LambdaConfigurations []struct {
			Event, Function string
			Filter          struct {
				S3Key struct {
					Rules []struct{ Name, Value string }
				}
			}
		}
	}
	if err := convert(p["NotificationConfiguration"], &in); err != nil {
		return created{}, err
	}
	for _, c := range in.LambdaConfigurations {
		f, err := s.functionByARN(c.Function)
		if err == nil {
			err = s.mayInvoke(f, "s3.amazonaws.com", arn)
		}
		if err != nil {
			return created{}, err
		}
		n := notification{bucket: name, event: c.Event, function: f}
		for _, rule := range c.Filter.S3Key.Rules {
			if i := slices.Index([]string{"prefix", "suffix"}, strings.ToLower(rule.Name)); i == 0 {
				n.prefix = rule.Value
			} else if i == 1 {
				n.suffix = rule.Value
			}
		}
		s.Objects.rules = append(s.Objects.rules, n)
	}
	return created{ref: name, attrs: map[string]string{"Arn": arn}}, nil
}
