package cloud

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"strings"
)

// createTopic returns the topic that moto created.
func createTopic(_ context.Context, s *Stack, id string, _ map[string]any) (created, error) {
	arn := s.physicalIDs[id]
	return created{ref: arn, attrs: map[string]string{"TopicName": arn[strings.LastIndexByte(arn, ':')+1:],
		"TopicArn": arn}}, nil
}

// createQueue returns the queue that moto created. GetQueueUrl returns a URL that leads through the proxy,
// CloudFormation one that leads to Amazon.
func createQueue(ctx context.Context, s *Stack, id string, _ map[string]any) (created, error) {
	name := s.physicalIDs[id][strings.LastIndexByte(s.physicalIDs[id], '/')+1:]
	var out struct{ QueueURL string }
	err := s.admin.JSON(ctx, targetQueue+"GetQueueUrl", map[string]any{"QueueName": name}, &out)
	return created{ref: out.QueueURL, attrs: map[string]string{"Arn": arnOf("sqs", name), "QueueName": name,
		"QueueUrl": out.QueueURL}}, err
}

func createQueuePolicy(_ context.Context, s *Stack, id string, p map[string]any) (created, error) {
	urls, err := stringList(p["Queues"])
	if err != nil {
		return created{}, err
	}
	arns := make([]string, len(urls))
	for i, url := range urls {
		arns[i] = arnOf("sqs", url[strings.LastIndexByte(url, '/')+1:])
	}
	return created{ref: id}, addPolicy(s.queues, arns, p["PolicyDocument"])
}

// createTopicPolicy keeps the policy for [Stack.MaySubscribe]. Requests to publish are not checked against it:
// functions publish by their roles, and over plain HTTP, which it would deny.
func createTopicPolicy(_ context.Context, s *Stack, id string, p map[string]any) (created, error) {
	arns, err := stringList(p["Topics"])
	if err != nil {
		return created{}, err
	}
	return created{ref: id}, addPolicy(s.topics, arns, p["PolicyDocument"])
}

// addPolicy parses the policy of some resources, which must have none yet: on AWS a second policy replaces the first.
func addPolicy(policies map[string]Policy, arns []string, document any) error {
	policy, err := ParsePolicy(document)
	for _, arn := range arns {
		if _, ok := policies[arn]; ok {
			return fmt.Errorf("%s has two policies; put all statements into one", arn)
		}
		policies[arn] = policy
	}
	return err
}

// MaySubscribe returns the decision of a topic's policy about a principal, such as "AWS:123456789012", that subscribes
// an endpoint. A principal of the stack's account may subscribe unless the decision is [ExplicitDeny], if its own
// policies allow it.
func (s *Stack) MaySubscribe(topic, principal, protocol, endpoint string) (Decision, error) {
	return s.topics[topic].Decide(Request{
		Action: "sns:Subscribe", Resource: topic, Principal: principal,
		Context: map[string]string{"sns:Protocol": protocol, "sns:Endpoint": endpoint, "aws:SecureTransport": "true"},
	})
}

// createSubscription also checks the queues' policies, which SNS does at each delivery and moto never does. The
// subscription's dead-letter queue is not used: moto does not support it, and no delivery fails.
func createSubscription(ctx context.Context, s *Stack, _ string, p map[string]any) (created, error) {
	var in struct {
		TopicARN, Protocol, Endpoint string
		RawMessageDelivery           bool
		FilterPolicyScope            string
		FilterPolicy                 map[string]any
		RedrivePolicy                struct{ DeadLetterTargetARN string }
	}
	if err := convert(p, &in); err != nil {
		return created{}, err
	}
	if in.Protocol != "sqs" {
		return created{}, fmt.Errorf("the protocol %q is not supported", in.Protocol)
	}
	for _, queue := range []string{in.Endpoint, in.RedrivePolicy.DeadLetterTargetARN} {
		if queue == "" {
			continue
		}
		decision, err := s.queues[queue].Decide(Request{
			Action: "sqs:SendMessage", Resource: queue, Principal: "Service:sns.amazonaws.com",
			Context: map[string]string{"aws:SourceArn": in.TopicARN},
		})
		if err == nil && decision != Allow {
			err = fmt.Errorf("the policy of %s does not allow %s to send", queue, in.TopicARN)
		}
		if err != nil {
			return created{}, err
		}
	}
	arn, err := s.Subscribe(ctx, in.TopicARN, in.Endpoint, in.RawMessageDelivery, in.FilterPolicy)
	return created{ref: arn, attrs: map[string]string{"Arn": arn}}, err
}

// Subscribe subscribes a queue to a topic. filter, by message attributes, may be nil.
func (s *Stack) Subscribe(ctx context.Context, topic, queue string, raw bool,
	filter map[string]any) (arn string, err error) {
	in := map[string]string{"TopicArn": topic, "Protocol": "sqs", "Endpoint": queue, "ReturnSubscriptionArn": "true",
		"Attributes.entry.1.key": "RawMessageDelivery", "Attributes.entry.1.value": apiText(raw)}
	if filter != nil {
		in["Attributes.entry.2.key"], in["Attributes.entry.2.value"] = "FilterPolicy", apiText(filter)
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
