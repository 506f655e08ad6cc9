package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws/queues"
	"github.com/flavorless/flavorless/internal/aws/topics"
)

// moveTask moves one message each time that it is listed, so that tests can observe its progress.
type moveTask struct {
	started     int64
	from, to    string // URLs
	moved       int64
	total       int64
	done        bool
	destination string
}

func (c *cloud) startMove(w http.ResponseWriter, r *http.Request) {
	var in struct{ SourceArn, DestinationArn string }
	c.mu.Lock()
	defer c.mu.Unlock()
	err := json.NewDecoder(r.Body).Decode(&in)
	task := &moveTask{started: time.Now().UnixMilli(), from: c.urlOf(in.SourceArn), to: c.urlOf(in.DestinationArn),
		destination: in.DestinationArn}
	if running := c.tasks[in.SourceArn]; err == nil && running != nil && !running.done {
		err = errors.New("there is already a task running")
	}
	if err == nil {
		task.total = int64(c.depth(task.from))
		c.tasks[in.SourceArn] = task
	}
	c.answer(w, err, map[string]string{"TaskHandle": "handle"})
}

func (c *cloud) listMoves(w http.ResponseWriter, r *http.Request) {
	var in struct{ SourceArn string }
	c.mu.Lock()
	defer c.mu.Unlock()
	err := json.NewDecoder(r.Body).Decode(&in)
	results := []map[string]any{}
	if task := c.tasks[in.SourceArn]; task != nil {
		if !task.done {
			task.step(c)
		}
		status := "RUNNING"
		if task.done {
			status = "COMPLETED"
		}
		if c.fails != "" {
			task.done, status = true, "FAILED"
		}
		results = append(results, map[string]any{
			"FailureReason": c.fails, "SourceArn": in.SourceArn, "DestinationArn": task.destination, "Status": status,
			"StartedTimestamp":                 task.started,
			"ApproximateNumberOfMessagesMoved": task.moved, "ApproximateNumberOfMessagesToMove": task.total,
		})
	}
	c.answer(w, err, map[string]any{"Results": results})
}

func (task *moveTask) step(c *cloud) {
	messages := c.take(task.from, 1)
	task.done = len(messages) == 0
	for _, m := range messages {
		c.send(task.to, *m.Body, m.MessageAttributes)
		task.moved++
	}
}

func (c *cloud) answer(w http.ResponseWriter, err error, answer any) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		answer = map[string]string{"__type": "com.amazonaws.sqs#InvalidParameterValue", "message": err.Error()}
	}
	body, _ := json.Marshal(answer)
	_, _ = io.Copy(w, bytes.NewReader(body))
}

// urlOf returns the URL of the queue with an ARN.
func (c *cloud) urlOf(arn string) string {
	name := arn[strings.LastIndex(arn, ":")+1:]
	out, err := queues.Client(c.access).GetQueueUrl(c.t.Context(), &sqs.GetQueueUrlInput{QueueName: &name})
	if err != nil {
		c.t.Errorf("GetQueueUrl of %s = %v, want a URL", arn, err)
		return ""
	}
	return *out.QueueUrl
}

// url returns the URL of one of the stack's queues.
func (c *cloud) url(queue string) string { return c.urlOf(c.stack + "-" + queue) }

func (c *cloud) arn(queue string) string {
	return "arn:aws:sqs:us-east-1:123456789012:" + c.stack + "-" + queue
}

func (c *cloud) depth(url string) int {
	c.t.Helper()
	out, err := queues.Client(c.access).GetQueueAttributes(c.t.Context(),
		&sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []sqstypes.QueueAttributeName{"All"}})
	if err != nil {
		c.t.Fatal(err)
	}
	var visible, taken int
	_, err = fmt.Sscan(out.Attributes["ApproximateNumberOfMessages"]+" "+
		out.Attributes["ApproximateNumberOfMessagesNotVisible"], &visible, &taken)
	if err != nil {
		c.t.Fatal(err)
	}
	return visible + taken
}

// take receives messages from a queue, and deletes them.
func (c *cloud) take(url string, most int32) []sqstypes.Message {
	client := queues.Client(c.access)
	out, err := client.ReceiveMessage(c.t.Context(),
		&sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: most, MessageAttributeNames: []string{"All"}})
	if err != nil {
		c.t.Error(err)
		return nil
	}
	for _, m := range out.Messages {
		if _, err := client.DeleteMessage(c.t.Context(),
			&sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle}); err != nil {
			c.t.Error(err)
		}
	}
	return out.Messages
}

// send puts one message into a queue. It disables the retries of the SDK, which would duplicate a message when an
// answer is lost, because tests count messages.
func (c *cloud) send(url, body string, attributes map[string]sqstypes.MessageAttributeValue) {
	c.t.Helper()
	before := c.depth(url)
	for tries := 1; ; tries++ {
		_, err := queues.Client(c.access).SendMessage(c.t.Context(),
			&sqs.SendMessageInput{QueueUrl: &url, MessageBody: &body, MessageAttributes: attributes},
			func(o *sqs.Options) { o.RetryMaxAttempts = 1 })
		if err == nil {
			return
		}
		arrived := c.depth(url) > before
		c.t.Logf("SendMessage(%q), try %d = %v; arrived: %t", body, tries, err, arrived)
		if arrived {
			return
		}
		if tries == 3 {
			c.t.Error(err)
			return
		}
	}
}

// subscribed creates a queue, subscribes it to a topic, and returns its URL.
func (c *cloud) subscribed(topic string) string {
	c.t.Helper()
	name := c.stack + "-subscriber-" + topic[strings.LastIndex(topic, "-")+1:]
	queue, err := queues.Client(c.access).CreateQueue(c.t.Context(), &sqs.CreateQueueInput{QueueName: &name})
	if err != nil {
		c.t.Fatal(err)
	}
	arn := strings.Replace(topic[:strings.LastIndex(topic, ":")+1], ":sns:", ":sqs:", 1) + name
	_, err = topics.Client(c.access).Subscribe(c.t.Context(),
		&sns.SubscribeInput{TopicArn: &topic, Protocol: aws.String("sqs"), Endpoint: &arn,
			Attributes: map[string]string{"RawMessageDelivery": "true"}})
	if err != nil {
		c.t.Fatal(err)
	}
	return *queue.QueueUrl
}

// change returns a change caused by a row of an upload.
func change(t *testing.T, person, previous, flavor string, row int64) events.Change {
	t.Helper()
	origin, err := events.Object{Bucket: "b", Key: "k", Sequencer: "0055", Time: time.UnixMilli(1795424400123)}.Origin()
	if err != nil {
		t.Fatal(err)
	}
	c, ok := events.NewChange(person, previous, flavor, origin.At(row))
	if !ok {
		t.Fatalf("NewChange(%q, %q, %q) is not a change, want one", person, previous, flavor)
	}
	return c
}

// publish publishes changes to the changes topic.
func (c *cloud) publish(changes ...events.Change) {
	c.t.Helper()
	messages := make([]events.Message, len(changes))
	for i, change := range changes {
		messages[i] = change.Message()
	}
	topic := topics.Topic{Client: topics.Client(c.access), ARN: c.outputs["ChangesTopicArn"]}
	if err := errors.Join(topic.Publish(c.t.Context(), messages)...); err != nil {
		c.t.Fatal(err)
	}
}

type sqsAttribute = sqstypes.QueueAttributeName

// snsAttributes and sqsAttributes return message attributes for pairs of a name and a value.
func snsAttributes(pairs ...string) map[string]snstypes.MessageAttributeValue {
	values := map[string]snstypes.MessageAttributeValue{}
	for i := 0; i < len(pairs); i += 2 {
		values[pairs[i]] = snstypes.MessageAttributeValue{DataType: new("String"), StringValue: &pairs[i+1]}
	}
	return values
}

func sqsAttributes(pairs ...string) map[string]sqstypes.MessageAttributeValue {
	values := map[string]sqstypes.MessageAttributeValue{}
	for i := 0; i < len(pairs); i += 2 {
		values[pairs[i]] = sqstypes.MessageAttributeValue{DataType: new("String"), StringValue: &pairs[i+1]}
	}
	return values
}
