package topics_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws/queues"
	"github.com/flavorless/flavorless/internal/aws/topics"
	"github.com/flavorless/flavorless/test/conformance"
	"github.com/flavorless/flavorless/test/moto"
)

// TestTopicConformance runs the conformance suite against a topic, a queue and a dead-letter queue that are connected
// as in the deployment: raw delivery and a redrive policy. consume does what Lambda's event source mapping does.
func TestTopicConformance(t *testing.T) {
	access := moto.Access(emulator.URL(t))
	// On a busy machine moto may take longer to answer than the adapters' clients wait. A retry would store a message
	// twice, or find that the first request has made the messages invisible for an hour.
	withoutTimeout := awshttp.NewBuildableClient()
	client := queueClient{sqs.NewFromConfig(access.Config("SQS"), func(o *sqs.Options) { o.HTTPClient = withoutTimeout })}
	var names atomic.Int32
	// moto drops messages that are published while it creates a subscription, and lists them neither as stored nor as
	// failed.
	var subscribing sync.RWMutex
	conformance.TestTopic(t, func(t *testing.T) conformance.Topic {
		const maxReceives = 3
		name := fmt.Sprint("t", names.Add(1))
		ctx := t.Context()
		dead, deadARN := client.create(t, name+"-dead", map[string]string{"VisibilityTimeout": "0"})
		policy := fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":"%d"}`, deadARN, maxReceives)
		queue, queueARN := client.create(t, name, map[string]string{"RedrivePolicy": policy})
		sender := sns.NewFromConfig(access.Config("SNS"), func(o *sns.Options) { o.HTTPClient = withoutTimeout })
		topic, err := sender.CreateTopic(ctx, &sns.CreateTopicInput{Name: &name})
		if err != nil {
			t.Fatal(err)
		}
		protocol := "sqs"
		subscribing.Lock()
		_, err = sender.Subscribe(ctx, &sns.SubscribeInput{TopicArn: topic.TopicArn, Protocol: &protocol, Endpoint: &queueARN,
			Attributes: map[string]string{"RawMessageDelivery": "true"}})
		subscribing.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		letters := queues.DeadLetters{Client: client.Client, URL: dead}
		return conformance.Topic{
			Subject: events.UpdatesType, TooLarge: 256<<10 + 1, TextOnly: true, MaxTries: maxReceives,
			Publish: func(ctx context.Context, messages []events.Message) []error {
				subscribing.RLock()
				defer subscribing.RUnlock()
				return topics.Topic{Client: sender, ARN: *topic.TopicArn}.Publish(ctx, messages)
			},
			Consume: func(ctx context.Context, handle func(context.Context, []conformance.Received) []error) error {
				return client.consume(ctx, queue, letters, handle)
			},
			DeadLetters: func(ctx context.Context) ([]conformance.Received, error) { return client.dead(ctx, dead) },
		}
	})
}

type queueClient struct{ *sqs.Client }

func (q queueClient) create(t *testing.T, name string, attributes map[string]string) (url, arn string) {
	t.Helper()
	out, err := q.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		t.Fatal(err)
	}
	got, err := q.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: out.QueueUrl,
		AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameQueueArn}})
	if err != nil {
		t.Fatal(err)
	}
	return *out.QueueUrl, got.Attributes["QueueArn"]
}

// consume passes the messages of a queue to handle until ctx ends. A failed message becomes visible again at once, and
// a permanent failure goes to the dead-letter queue.
func (q queueClient) consume(ctx context.Context, url string, letters queues.DeadLetters, handle func(context.Context,
	[]conformance.Received) []error) error {
	for ctx.Err() == nil {
		messages, err := q.receive(ctx, url, 1)
		if err != nil {
			return ignoreEnd(ctx, err)
		}
		if len(messages) == 0 {
			continue
		}
		received := make([]conformance.Received, len(messages))
		for i, m := range messages {
			received[i] = asReceived(m)
		}
		errs := handle(ctx, received)
		ctx := context.WithoutCancel(ctx)
		for i, m := range messages {
			if errors.Is(errs[i], events.ErrPermanent) {
				errs[i] = letters.Put(ctx, queues.FailedMessage{Body: received[i].Body, Attributes: received[i].Attributes,
					Reason: errs[i], ID: *m.MessageId})
			}
			if errs[i] == nil {
				_, err = q.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle})
			} else {
				_, err = q.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: &url,
					ReceiptHandle: m.ReceiptHandle})
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// dead returns the dead letters, which stay in the queue.
func (q queueClient) dead(ctx context.Context, url string) ([]conformance.Received, error) {
	messages, err := q.receive(ctx, url, 0)
	received := make([]conformance.Received, len(messages))
	for i, m := range messages {
		received[i] = asReceived(m)
		for name := range received[i].Attributes {
			if strings.HasPrefix(name, "dead-") {
				delete(received[i].Attributes, name)
			}
		}
	}
	return received, err
}

// receive receives messages. If wait is positive, it waits that many seconds for one, and the messages are invisible
// for an hour; otherwise for the queue's visibility timeout.
func (q queueClient) receive(ctx context.Context, url string, wait int32) ([]types.Message, error) {
	in := &sqs.ReceiveMessageInput{
		QueueUrl: &url, MaxNumberOfMessages: 10, WaitTimeSeconds: wait, MessageAttributeNames: []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{
			types.MessageSystemAttributeNameApproximateReceiveCount,
		},
	}
	if wait > 0 {
		in.VisibilityTimeout = 3600
	}
	out, err := q.ReceiveMessage(ctx, in)
	if err != nil {
		return nil, err
	}
	return out.Messages, nil
}

func asReceived(m types.Message) conformance.Received {
	r := conformance.Received{Body: []byte(*m.Body), Attributes: map[string]string{}}
	_ = json.Unmarshal([]byte(m.Attributes["ApproximateReceiveCount"]), &r.Tries)
	for name, value := range m.MessageAttributes {
		r.Attributes[name] = *value.StringValue
	}
	return r
}

func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}
