package cloud

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
)

// creator creates a resource from its resolved properties.
type creator func(ctx context.Context, s *Stack, id string, properties map[string]any) (created, error)

// ignored returns a creator that creates nothing, for a reason. It invents the attributes that other resources refer
// to.
func ignored(_ string, attrs ...string) creator {
	return func(_ context.Context, _ *Stack, id string, _ map[string]any) (created, error) {
		c := created{ref: id, attrs: map[string]string{}}
		for _, attr := range attrs {
			c.attrs[attr] = arnOf("ignored", id)
		}
		return c, nil
	}
}

// creators are the supported types of resources. Any other type fails the deployment.
var creators = map[string]creator{
	"AWS::DynamoDB::Table":              createTable,
	"AWS::S3::Bucket":                   createBucket,
	"AWS::SNS::Topic":                   createTopic,
	"AWS::SNS::TopicPolicy":             createTopicPolicy,
	"AWS::SNS::Subscription":            createSubscription,
	"AWS::SQS::Queue":                   createQueue,
	"AWS::SQS::QueuePolicy":             createQueuePolicy,
	"AWS::IAM::Role":                    createRole,
	"AWS::Lambda::Function":             createFunction,
	"AWS::Lambda::EventInvokeConfig":    createInvokeConfig,
	"AWS::Lambda::EventSourceMapping":   createMapping,
	"AWS::Lambda::Permission":           createPermission,
	"AWS::ApiGateway::RestApi":          createGatewayPart,
	"AWS::ApiGateway::Resource":         createGatewayPart,
	"AWS::ApiGateway::Method":           createGatewayPart,
	"AWS::ApiGateway::Authorizer":       createGatewayPart,
	"AWS::ApiGateway::GatewayResponse":  createGatewayPart,
	"AWS::ApiGateway::Deployment":       createGatewayPart,
	"AWS::ApiGateway::Stage":            createGatewayPart,
	"AWS::ApiGateway::RequestValidator": createGatewayPart,
	"AWS::S3::BucketPolicy":             ignored("it denies plain HTTP, which this package uses"),
	"AWS::Logs::LogGroup":               ignored("Function keeps its logs", "Arn"),
	"AWS::CloudWatch::Alarm":            ignored("there are no metrics", "Arn"),
	"AWS::CloudWatch::Dashboard":        ignored("there are no metrics"),
}

// createGatewayPart only invents identifiers: newGateway reads all parts together.
func createGatewayPart(_ context.Context, _ *Stack, id string, p map[string]any) (created, error) {
	c := created{ref: id, attrs: map[string]string{"RootResourceId": id + ".RootResourceId"}}
	if p["DeploymentId"] != nil { // a stage
		c.ref = stringOf(p["StageName"])
	}
	return c, nil
}

// physicalName returns a unique name, as CloudFormation does.
func physicalName(id string) string { return "stack-" + id + "-" + rand.Text()[:12] }

func createTable(ctx context.Context, s *Stack, id string, p map[string]any) (created, error) {
	in := maps.Clone(p)
	name := cmp.Or(stringOf(p["TableName"]), physicalName(id))
	in["TableName"] = name
	if stream, ok := p["StreamSpecification"].(map[string]any); ok {
		stream = maps.Clone(stream)
		stream["StreamEnabled"] = true // CloudFormation implies it
		in["StreamSpecification"] = stream
	}
	ttl := in["TimeToLiveSpecification"]
	for _, later := range []string{
		"TimeToLiveSpecification", "PointInTimeRecoverySpecification", "SSESpecification", "DeletionProtectionEnabled",
		"Tags", "WarmThroughput",
	} {
		delete(in, later) // CreateTable, or that of DynamoDB Local, does not take it
	}
	var out struct {
		TableDescription struct{ LatestStreamArn string }
	}
	if err := s.admin.JSON(ctx, targetTable+"CreateTable", in, &out); err != nil {
		return created{}, err
	}
	if ttl != nil {
		in := map[string]any{"TableName": name, "TimeToLiveSpecification": ttl}
		if err := s.admin.JSON(ctx, targetTable+"UpdateTimeToLive", in, nil); err != nil {
			return created{}, err
		}
	}
	return created{ref: name, attrs: map[string]string{
		"Arn":       arnOf("dynamodb", "table/"+name),
		"StreamArn": strings.Replace(out.TableDescription.LatestStreamArn, localTable, awsTable, 1),
	}}, nil
}

// createBucket configures what moto's CloudFormation leaves out of a bucket: versioning and event notifications. S3
// checks the permission to invoke a function when a notification is configured, so it must exist before.
func createBucket(ctx context.Context, s *Stack, id string, p map[string]any) (created, error) {
	name := s.physicalIDs[id]
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
		n := notificationRule{bucket: name, event: c.Event, function: f}
		for _, rule := range c.Filter.S3Key.Rules {
			if rule.Name != "prefix" {
				return created{}, fmt.Errorf("the filter rule %q is not supported", rule.Name)
			}
			n.prefix = rule.Value
		}
		s.Notifications.rules = append(s.Notifications.rules, n)
	}
	return created{ref: name, attrs: map[string]string{"Arn": arn}}, nil
}

// stringOf returns v if it is a string, or else "".
func stringOf(v any) string { s, _ := v.(string); return s }

// apiText returns a property as the string that an API of the query protocol takes: a document becomes JSON.
func apiText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	}
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // it comes from JSON
	}
	return string(body)
}
