package stack

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/go-json-experiment/json"

	"github.com/flavorless/flavorless/events"
)

// WatchPrefix begins the names of the queues that Watch makes. One that was killed outright leaves its queue behind, with
// the subscription; both are recognised by it.
const WatchPrefix = "flavorless-watch-"

const (
	setupTime   = 30 * time.Second // to make queue and subscription
	cleanupTime = 15 * time.Second // to remove them
	longPoll    = 20               // seconds, the most there is
)

// Watch hands over the changes that are announced from now on, at least once each, until ctx ends (then the error is nil)
// or each fails (then it is that error). It watches by a queue that it makes, subscribes to the changes topic, and removes
// again whatever happens. Ready is called as soon as nothing is missed any more.
func (s *Stack) Watch(ctx context.Context, f events.Filter, ready func(), each func(events.Change) error) (err error) {
	// A signal must not leave behind what a request is just making.
	setup, done := context.WithTimeout(context.WithoutCancel(ctx), setupTime)
	defer done()
	t := &temporary{sqs: s.sqs(), sns: s.sns(), name: WatchPrefix + strings.ToLower(rand.Text())}
	defer func() { err = errors.Join(err, t.remove(context.WithoutCancel(ctx))) }()
	topic, err := s.output(outputChangesTopic)
	if err == nil {
		err = t.make(setup, topic, f)
	}
	if err != nil {
		return fmt.Errorf("subscribing to the changes: %w", err)
	}
	ready()
	for {
		changes, handles, err := t.receive(ctx)
		if ctx.Err() != nil {
			return nil // told to stop
		}
		if err != nil {
			return fmt.Errorf("waiting for changes: %w", err)
		}
		for _, c := range changes {
			if f.Matches(c) { // a new filter policy takes minutes until it holds everywhere
				if err := each(c); err != nil {
					return err
				}
			}
		}
		if err := t.delete(ctx, handles); err != nil && ctx.Err() == nil {
			return fmt.Errorf("waiting for changes: %w", err)
		}
	}
}

// temporary is a queue that lives as long as somebody watches, and its subscription.
type temporary struct {
	sqs          *sqs.Client
	sns          *sns.Client
	name         string
	url          string
	subscription string // ARN
}

// make makes both. The queue takes messages of the topic alone, and its content is gone after minutes in any case.
func (t *temporary) make(ctx context.Context, topic string, f events.Filter) error {
	source, err := arn.Parse(topic)
	if err != nil {
		return err
	}
	queue := arn.ARN{Partition: source.Partition, Service: "sqs", Region: source.Region, AccountID: source.AccountID, Resource: t.name}.String()
	policy, err := json.Marshal(map[string]any{
		"Version": "2012-10-17",
		"Statement": []any{map[string]any{
			"Sid": "FromChanges", "Effect": "Allow", "Principal": map[string]string{"Service": "sns.amazonaws.com"},
			"Action": "sqs:SendMessage", "Resource": queue,
			"Condition": map[string]any{"ArnEquals": map[string]string{"aws:SourceArn": topic}},
		}},
	})
	if err != nil {
		return err
	}
	filter, err := filterPolicy(f)
	if err != nil {
		return err
	}
	made, err := t.sqs.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &t.name, Attributes: map[string]string{
		string(types.QueueAttributeNamePolicy):                 string(policy),
		string(types.QueueAttributeNameSqsManagedSseEnabled):   "true",
		string(types.QueueAttributeNameMessageRetentionPeriod): "300",
	}})
	if err != nil {
		return err
	}
	t.url = aws.ToString(made.QueueUrl)
	subscribed, err := t.sns.Subscribe(ctx, &sns.SubscribeInput{
		TopicArn: &topic, Protocol: aws.String("sqs"), Endpoint: &queue, ReturnSubscriptionArn: true,
		Attributes: map[string]string{"RawMessageDelivery": "true", "FilterPolicyScope": "MessageAttributes", "FilterPolicy": filter},
	})
	if err != nil {
		return err
	}
	t.subscription = aws.ToString(subscribed.SubscriptionArn)
	return nil
}

// remove removes what was made, and says what it could not remove.
func (t *temporary) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleanupTime)
	defer cancel()
	var errs []error
	if t.subscription != "" {
		if _, err := t.sns.Unsubscribe(ctx, &sns.UnsubscribeInput{SubscriptionArn: &t.subscription}); err != nil {
			errs = append(errs, fmt.Errorf("the subscription %s is left behind; remove it: %w", t.subscription, err))
		}
	}
	if t.url != "" {
		if _, err := t.sqs.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: &t.url}); err != nil {
			errs = append(errs, fmt.Errorf("the queue %s is left behind; remove it: %w", t.name, err))
		}
	}
	return errors.Join(errs...)
}

func (t *temporary) receive(ctx context.Context) (changes []events.Change, handles []types.DeleteMessageBatchRequestEntry, err error) {
	out, err := t.sqs.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &t.url, MaxNumberOfMessages: 10, WaitTimeSeconds: longPoll})
	if err != nil {
		return nil, nil, err
	}
	for _, m := range out.Messages {
		c, err := events.DecodeChange([]byte(aws.ToString(m.Body)))
		if err != nil {
			return nil, nil, err
		}
		changes = append(changes, c)
		handles = append(handles, types.DeleteMessageBatchRequestEntry{Id: m.MessageId, ReceiptHandle: m.ReceiptHandle})
	}
	return changes, handles, nil
}

// delete forgets messages. One that it fails to comes again, as any may.
func (t *temporary) delete(ctx context.Context, handles []types.DeleteMessageBatchRequestEntry) error {
	if len(handles) == 0 {
		return nil
	}
	_, err := t.sqs.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &t.url, Entries: handles})
	return err
}
