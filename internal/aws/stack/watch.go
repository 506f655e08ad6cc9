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

// WatchPrefix is the prefix of the names of the queues that Watch creates. If the process is killed, the queue and its
// subscription stay behind and can be recognized by it.
const WatchPrefix = "flavorless-watch-"

const (
	setupTimeout   = 30 * time.Second // for creating the queue and the subscription
	cleanupTimeout = 15 * time.Second // for deleting them
	longPoll       = 20               // seconds; the maximum that SQS allows
)

// Watch calls each with the changes that are announced from now on, at least once per change. It returns nil when ctx
// ends, or the error of each. It creates a queue that is subscribed to the changes topic, and deletes it in the end.
// Ready is called once the queue receives all changes.
func (s *Stack) Watch(ctx context.Context, f events.Filter, ready func(), each func(events.Change) error) (err error) {
	// A signal must not interrupt a request that creates something, or that would be left behind.
	setup, done := context.WithTimeout(context.WithoutCancel(ctx), setupTimeout)
	defer done()
	t := &temporaryQueue{sqs: s.sqs(), sns: s.sns(), name: WatchPrefix + strings.ToLower(rand.Text())}
	defer func() { err = errors.Join(err, t.delete(context.WithoutCancel(ctx))) }()
	topic, err := s.output(outputChangesTopic)
	if err == nil {
		err = t.create(setup, topic, f)
	}
	if err != nil {
		return fmt.Errorf("subscribing to the changes: %w", err)
	}
	ready()
	for {
		changes, received, err := t.receive(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("waiting for changes: %w", err)
		}
		for _, c := range changes {
			if f.Matches(c) { // SNS may need minutes to apply a new filter policy
				if err := each(c); err != nil {
					return err
				}
			}
		}
		if err := t.deleteMessages(ctx, received); err != nil && ctx.Err() == nil {
			return fmt.Errorf("waiting for changes: %w", err)
		}
	}
}

// temporaryQueue is a queue that is subscribed to the changes topic while Watch runs.
type temporaryQueue struct {
	sqs          *sqs.Client
	sns          *sns.Client
	name         string
	url          string
	subscription string // ARN
}

// create creates the queue and its subscription. The queue accepts messages of the topic only, and keeps them for five
// minutes.
func (t *temporaryQueue) create(ctx context.Context, topic string, f events.Filter) error {
	source, err := arn.Parse(topic)
	if err != nil {
		return err
	}
	queue := source
	queue.Service, queue.Resource = "sqs", t.name
	policy, err := json.Marshal(map[string]any{
		"Version": "2012-10-17",
		"Statement": []any{map[string]any{
			"Sid": "FromChanges", "Effect": "Allow", "Principal": map[string]string{"Service": "sns.amazonaws.com"},
			"Action": "sqs:SendMessage", "Resource": queue.String(),
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
		TopicArn: &topic, Protocol: aws.String("sqs"), Endpoint: aws.String(queue.String()), ReturnSubscriptionArn: true,
		Attributes: map[string]string{
			"RawMessageDelivery": "true", "FilterPolicyScope": "MessageAttributes", "FilterPolicy": filter,
		},
	})
	if err != nil {
		return err
	}
	t.subscription = aws.ToString(subscribed.SubscriptionArn)
	return nil
}

// delete deletes the subscription and the queue. Its error names what could not be deleted.
func (t *temporaryQueue) delete(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleanupTimeout)
	defer cancel()
	var errs []error
	if t.subscription != "" {
		if _, err := t.sns.Unsubscribe(ctx, &sns.UnsubscribeInput{SubscriptionArn: &t.subscription}); err != nil {
			errs = append(errs, fmt.Errorf("deleting the subscription %s; delete it yourself: %w", t.subscription, err))
		}
	}
	if t.url != "" {
		if _, err := t.sqs.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: &t.url}); err != nil {
			errs = append(errs, fmt.Errorf("deleting the queue %s; delete it yourself: %w", t.name, err))
		}
	}
	return errors.Join(errs...)
}

// handles say which messages to delete.
type handles = []types.DeleteMessageBatchRequestEntry

func (t *temporaryQueue) receive(ctx context.Context) (changes []events.Change, received handles, err error) {
	out, err := t.sqs.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &t.url, MaxNumberOfMessages: 10, WaitTimeSeconds: longPoll,
	})
	if err != nil {
		return nil, nil, err
	}
	for _, m := range out.Messages {
		c, err := events.DecodeChange([]byte(aws.ToString(m.Body)))
		if err != nil {
			return nil, nil, err
		}
		changes = append(changes, c)
		received = append(received, types.DeleteMessageBatchRequestEntry{Id: m.MessageId, ReceiptHandle: m.ReceiptHandle})
	}
	return changes, received, nil
}

// deleteMessages deletes received messages.
func (t *temporaryQueue) deleteMessages(ctx context.Context, received handles) error {
	if len(received) == 0 {
		return nil
	}
	_, err := t.sqs.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &t.url, Entries: received})
	return err
}
