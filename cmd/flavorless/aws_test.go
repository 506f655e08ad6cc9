package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	lambdaevents "github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	ours "github.com/flavorless/flavorless/internal/aws"
	"github.com/flavorless/flavorless/internal/lambda/stages"
	"github.com/flavorless/flavorless/internal/metrics"
	"github.com/flavorless/flavorless/test/moto"
)

var judge moto.Server

// cloud stands for an account of Amazon's with one stack: moto, and in front of it what moto lacks, which is running
// functions (the real handlers do) and moving messages between queues.
type cloud struct {
	t       *testing.T
	access  ours.Access
	stack   string
	outputs map[string]string

	mu       sync.Mutex
	ingested []string             // keys of the objects that ingest was given
	tasks    map[string]*moveTask // by ARN of the dead-letter queue
	fails    string               // lets tasks fail with this reason
}

// deployed deploys a stack, and points the environment of the test at it. Outputs are those that differ from what the
// template makes.
func deployed(t *testing.T, outputs map[string]string) *cloud {
	t.Helper()
	c := &cloud{t: t, stack: "flavorless-" + strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name())), tasks: map[string]*moveTask{}}
	behind, err := url.Parse(judge.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(behind)
	proxy.ErrorLog = log.New(io.Discard, "", 0) // a watcher that is told to stop breaks off its request
	mux := http.NewServeMux()
	mux.HandleFunc("POST /2015-03-31/functions/{name}/invocations", c.invoke)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("X-Amz-Target") {
		case "AmazonSQS.StartMessageMoveTask":
			c.startMove(w, r)
		case "AmazonSQS.ListMessageMoveTasks":
			c.listMoves(w, r)
		default:
			proxy.ServeHTTP(w, r)
		}
	})
	front := httptest.NewServer(mux)
	t.Cleanup(front.Close)
	c.access = moto.Access(judge.URL(t))
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": front.URL, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
	} {
		t.Setenv(name, value)
	}
	c.deploy(outputs)
	return c
}

// deploy makes a stack with the queues and topics of resources/messaging.yml. test/template holds the names of its outputs.
func (c *cloud) deploy(outputs map[string]string) {
	c.t.Helper()
	queue := func(name string, rest map[string]any) map[string]any {
		properties := map[string]any{"QueueName": c.stack + "-" + name}
		for k, v := range rest {
			properties[k] = v
		}
		return map[string]any{"Type": "AWS::SQS::Queue", "Properties": properties}
	}
	topic := func(name string) map[string]any {
		return map[string]any{"Type": "AWS::SNS::Topic", "Properties": map[string]any{"TopicName": c.stack + "-" + name}}
	}
	ref := func(id string) map[string]any { return map[string]any{"Ref": id} }
	redrive := func(id string) map[string]any {
		return map[string]any{"RedrivePolicy": map[string]any{"deadLetterTargetArn": map[string]any{"Fn::GetAtt": []string{id, "Arn"}}, "maxReceiveCount": 8}}
	}
	values := map[string]any{
		"ServiceEndpoint": "https://api.invalid/dev", "UploadsBucketName": "uploads", "UpdatesTopicArn": ref("Updates"), "ChangesTopicArn": ref("Changes"),
		"IngestFunctionName": c.stack + "-ingest", "AnnounceFunctionName": c.stack + "-announce", "ApplyDeadUrl": ref("ApplyDead"),
		"ResumeDeadUrl": ref("ResumeDead"), "UpdatesUndeliveredUrl": ref("Undelivered"), "IngestDeadUrl": ref("IngestDead"), "AnnounceDeadUrl": ref("AnnounceDead"),
	}
	for name, value := range outputs {
		values[name] = value
	}
	out := map[string]any{}
	for name, value := range values {
		if value != "" {
			out[name] = map[string]any{"Value": value}
		}
	}
	template, err := json.Marshal(map[string]any{
		"Resources": map[string]any{
			"Updates": topic("updates"), "Changes": topic("changes"),
			"ApplyDead": queue("apply-dead", nil), "Apply": queue("apply", redrive("ApplyDead")),
			"ResumeDead": queue("resume-dead", nil), "Resume": queue("resume", redrive("ResumeDead")),
			"Undelivered": queue("updates-undelivered", nil), "IngestDead": queue("ingest-dead", nil), "AnnounceDead": queue("announce-dead", nil),
		},
		"Outputs": out,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	client := cloudformation.NewFromConfig(c.access.Config("CLOUDFORMATION"))
	if _, err := client.CreateStack(c.t.Context(), &cloudformation.CreateStackInput{StackName: &c.stack, TemplateBody: aws.String(string(template))}); err != nil {
		c.t.Fatal(err)
	}
	described, err := client.DescribeStacks(c.t.Context(), &cloudformation.DescribeStacksInput{StackName: &c.stack})
	if err != nil || described.Stacks[0].StackStatus != types.StackStatusCreateComplete {
		c.t.Fatalf("the stack is not there: %+v, %v", described, err)
	}
	c.outputs = map[string]string{}
	for _, o := range described.Stacks[0].Outputs {
		c.outputs[*o.OutputKey] = *o.OutputValue
	}
}

// Ingest implements the ingester of stages: it keeps what it is given, and fails for good on poison.
func (c *cloud) Ingest(_ context.Context, o events.Object) error {
	if strings.Contains(o.Key, "poison") {
		return fmt.Errorf("%w: poison", events.ErrPermanent)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ingested = append(c.ingested, o.Key)
	return nil
}

// Resume is what nobody here asks for.
func (c *cloud) Resume(context.Context, events.Span) error {
	return errors.New("no spans come by this way")
}

// invoke runs a function as Lambda does.
func (c *cloud) invoke(w http.ResponseWriter, r *http.Request) {
	payload, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	common := func(queue string) stages.Common {
		return stages.Common{
			Dead: ours.DeadLetters{Client: c.access.SQS(), URL: c.outputs[queue]}, Metrics: metrics.NewEMF(io.Discard, "f", "test", time.Now),
			Log: slog.New(slog.DiscardHandler),
		}
	}
	var answer any
	switch name := r.PathValue("name"); name {
	case c.outputs["IngestFunctionName"]:
		if r.Header.Get("X-Amz-Invocation-Type") != "Event" {
			err = errors.New("ingest is invoked synchronously")
			break
		}
		if _, err = (stages.Ingest{Common: common("IngestDeadUrl"), Ingester: c}).Handle(r.Context(), payload); err == nil {
			w.WriteHeader(http.StatusAccepted)
			return
		}
	case c.outputs["AnnounceFunctionName"]:
		var event lambdaevents.DynamoDBEvent
		if err = json.Unmarshal(payload, &event); err == nil {
			topic := ours.Topic{Client: c.access.SNS(), ARN: c.outputs["ChangesTopicArn"]}
			announce := stages.Announce{Common: common("AnnounceDeadUrl"), Announcer: &ingest.Announcer{Changes: topic, Log: slog.New(slog.DiscardHandler)}}
			answer, err = announce.Handle(r.Context(), event)
		}
	default:
		w.Header().Set("X-Amzn-ErrorType", "ResourceNotFoundException")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, `{"Message":"Function not found: %s"}`, name)
		return
	}
	if err != nil {
		w.Header().Set("X-Amz-Function-Error", "Unhandled")
		answer = map[string]string{"errorMessage": err.Error()}
	}
	body, _ := json.Marshal(answer)
	_, _ = w.Write(body)
}

// moveTask moves messages when it is looked at, one a look, so that its progress can be seen.
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
	task := &moveTask{started: time.Now().UnixMilli(), from: c.urlOf(in.SourceArn), to: c.urlOf(in.DestinationArn), destination: in.DestinationArn}
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
			"FailureReason": c.fails, "SourceArn": in.SourceArn, "DestinationArn": task.destination, "Status": status, "StartedTimestamp": task.started,
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

// urlOf gives the URL of a queue by its ARN.
func (c *cloud) urlOf(arn string) string {
	name := arn[strings.LastIndex(arn, ":")+1:]
	out, err := c.access.SQS().GetQueueUrl(c.t.Context(), &sqs.GetQueueUrlInput{QueueName: &name})
	if err != nil {
		c.t.Errorf("no queue %q: %v", arn, err)
		return ""
	}
	return *out.QueueUrl
}

// url gives that of one of the stack's queues.
func (c *cloud) url(queue string) string { return c.urlOf(c.stack + "-" + queue) }

func (c *cloud) arn(queue string) string {
	return "arn:aws:sqs:us-east-1:123456789012:" + c.stack + "-" + queue
}

func (c *cloud) depth(url string) int {
	c.t.Helper()
	out, err := c.access.SQS().GetQueueAttributes(c.t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []sqstypes.QueueAttributeName{"All"}})
	if err != nil {
		c.t.Fatal(err)
	}
	var visible, taken int
	_, err = fmt.Sscan(out.Attributes["ApproximateNumberOfMessages"]+" "+out.Attributes["ApproximateNumberOfMessagesNotVisible"], &visible, &taken)
	if err != nil {
		c.t.Fatal(err)
	}
	return visible + taken
}

// take takes messages out of a queue for good.
func (c *cloud) take(url string, most int32) []sqstypes.Message {
	client := c.access.SQS()
	out, err := client.ReceiveMessage(c.t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: most, MessageAttributeNames: []string{"All"}})
	if err != nil {
		c.t.Error(err)
		return nil
	}
	for _, m := range out.Messages {
		if _, err := client.DeleteMessage(c.t.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle}); err != nil {
			c.t.Error(err)
		}
	}
	return out.Messages
}

func (c *cloud) send(url, body string, attributes map[string]sqstypes.MessageAttributeValue) {
	c.t.Helper()
	if _, err := c.access.SQS().SendMessage(c.t.Context(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &body, MessageAttributes: attributes}); err != nil {
		c.t.Error(err)
	}
}

// subscribed makes a queue that gets what a topic publishes, and gives its URL.
func (c *cloud) subscribed(topic string) string {
	c.t.Helper()
	name := c.stack + "-subscriber-" + topic[strings.LastIndex(topic, "-")+1:]
	queue, err := c.access.SQS().CreateQueue(c.t.Context(), &sqs.CreateQueueInput{QueueName: &name})
	if err != nil {
		c.t.Fatal(err)
	}
	arn := strings.Replace(topic[:strings.LastIndex(topic, ":")+1], ":sns:", ":sqs:", 1) + name
	_, err = c.access.SNS().Subscribe(c.t.Context(), &sns.SubscribeInput{TopicArn: &topic, Protocol: aws.String("sqs"), Endpoint: &arn,
		Attributes: map[string]string{"RawMessageDelivery": "true"}})
	if err != nil {
		c.t.Fatal(err)
	}
	return *queue.QueueUrl
}

// change makes a change that a row of some upload caused.
func change(t *testing.T, person, had, has string, row int64) events.Change {
	t.Helper()
	origin, err := events.Object{Bucket: "b", Key: "k", Sequencer: "0055", Time: time.UnixMilli(1795424400123)}.Origin()
	if err != nil {
		t.Fatal(err)
	}
	c, ok := events.NewChange(person, had, has, origin.At(row))
	if !ok {
		t.Fatal("no change")
	}
	return c
}

// publish announces changes.
func (c *cloud) publish(changes ...events.Change) {
	c.t.Helper()
	messages := make([]events.Message, len(changes))
	for i, change := range changes {
		messages[i] = change.Message()
	}
	topic := ours.Topic{Client: c.access.SNS(), ARN: c.outputs["ChangesTopicArn"]}
	if err := errors.Join(topic.Publish(c.t.Context(), messages)...); err != nil {
		c.t.Fatal(err)
	}
}

type sqsAttribute = sqstypes.QueueAttributeName

func ptr[T any](v T) *T { return &v }

// snsAttributes and sqsAttributes make message attributes of names and values in turn.
func snsAttributes(pairs ...string) map[string]snstypes.MessageAttributeValue {
	values := map[string]snstypes.MessageAttributeValue{}
	for i := 0; i < len(pairs); i += 2 {
		values[pairs[i]] = snstypes.MessageAttributeValue{DataType: ptr("String"), StringValue: &pairs[i+1]}
	}
	return values
}

func sqsAttributes(pairs ...string) map[string]sqstypes.MessageAttributeValue {
	values := map[string]sqstypes.MessageAttributeValue{}
	for i := 0; i < len(pairs); i += 2 {
		values[pairs[i]] = sqstypes.MessageAttributeValue{DataType: ptr("String"), StringValue: &pairs[i+1]}
	}
	return values
}
