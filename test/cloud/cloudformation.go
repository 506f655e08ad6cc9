package cloud

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"slices"
)

// What moto's CloudFormation makes of the template: what keeps something in moto. It skips subscriptions and policies of
// queues, and knows no more of Lambda and API Gateway than how to store what they are told; tables are in DynamoDB Local.
var motoTypes = []string{"AWS::S3::Bucket", "AWS::SNS::Topic", "AWS::SQS::Queue"} //nolint:gochecknoglobals // a constant

// createStack has moto's CloudFormation create what it knows, from the template's own words. It gives the physical ids.
func (s *Stack) createStack(ctx context.Context) (map[string]string, error) {
	resources := map[string]any{}
	for id, r := range s.Template.Resources {
		if !slices.Contains(motoTypes, r.Type) {
			continue
		}
		properties := maps.Clone(r.Properties)
		delete(properties, "NotificationConfiguration") // it names a function, and is for Objects
		resources[id] = map[string]any{"Type": r.Type, "Properties": properties}
	}
	body, err := json.Marshal(map[string]any{"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources})
	if err != nil {
		return nil, err
	}
	if _, err := s.admin.Query(ctx, "cloudformation", "CreateStack", map[string]string{"StackName": "stack", "TemplateBody": string(body)}); err != nil {
		return nil, err
	}
	answer, err := s.admin.Query(ctx, "cloudformation", "DescribeStackResources", map[string]string{"StackName": "stack"})
	if err != nil {
		return nil, err
	}
	var out struct {
		Resources []struct{ LogicalResourceId, PhysicalResourceId string } `xml:"DescribeStackResourcesResult>StackResources>member"` //nolint:revive // the API's names
	}
	if err := xml.Unmarshal([]byte(answer), &out); err != nil {
		return nil, err
	}
	made := map[string]string{}
	for _, r := range out.Resources {
		made[r.LogicalResourceId] = r.PhysicalResourceId
	}
	for id := range resources {
		if made[id] == "" {
			return nil, fmt.Errorf("moto's CloudFormation did not create %s", id)
		}
	}
	return made, nil
}
