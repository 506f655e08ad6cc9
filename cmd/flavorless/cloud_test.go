package main

import (
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
	"sync/atomic"
	"testing"
	"time"

	lambdaevents "github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	ours "github.com/flavorless/flavorless/internal/aws"
	"github.com/flavorless/flavorless/internal/aws/queues"
	"github.com/flavorless/flavorless/internal/aws/topics"
	"github.com/flavorless/flavorless/internal/lambda/stages"
	"github.com/flavorless/flavorless/internal/metrics"
	"github.com/flavorless/flavorless/test/moto"
)

var emulator moto.Server

// stacks counts the deployed stacks, so that each run of a test has a stack of its own.
var stacks atomic.Int64

// cloud is an AWS account with one stack. It is moto behind a proxy that adds what moto lacks: functions, which are the
// real handlers, and moving messages between queues.
type cloud struct {
	t       *testing.T
	access  ours.Access
	stack   string
	outputs map[string]string

	mu       sync.Mutex
	ingested []string             // keys of the objects that ingest received
	tasks    map[string]*moveTask // by ARN of the dead-letter queue
	fails    string               // if not empty, move tasks fail with this reason
	trimmed  bool                 // whether the stream has lost its records
}

// deployStack deploys a stack, and sets the environment of the test so that commands use it. The outputs replace those
// of the template.
func deployStack(t *testing.T, outputs map[string]string) *cloud {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	c := &cloud{t: t, stack: fmt.Sprintf("flavorless-%s-%d", name, stacks.Add(1)), tasks: map[string]*moveTask{}}
	target, err := url.Parse(emulator.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorLog = log.New(io.Discard, "", 0) // a stopped watcher aborts its request
	mux := http.NewServeMux()
	mux.HandleFunc("POST /2015-03-31/functions/{name}/invocations", c.invoke)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("X-Amz-Target") {
		case "AmazonSQS.StartMessageMoveTask":
			c.startMove(w, r)
		case "AmazonSQS.ListMessageMoveTasks":
			c.listMoves(w, r)
		case "DynamoDBStreams_20120810.GetShardIterator":
			if c.trimmed {
				w.Header().Set("X-Amzn-ErrorType", "TrimmedDataAccessException")
				http.Error(w, `{"__type":"com.amazonaws.dynamodb.v20120810#TrimmedDataAccessException","message":"trimmed"}`,
					http.StatusBadRequest)
				return
			}
			proxy.ServeHTTP(w, r)
		default:
			proxy.ServeHTTP(w, r)
		}
	})
	front := httptest.NewServer(mux)
	t.Cleanup(front.Close)
	c.access = moto.Access(emulator.URL(t))
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": front.URL, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test",
		"AWS_SECRET_ACCESS_KEY":     "test",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
	} {
		t.Setenv(name, value)
	}
	c.deploy(outputs)
	return c
}

// deploy creates a stack with the queues and topics of resources/messaging.yml. test/template checks the names of its
// outputs.
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
		return map[string]any{"RedrivePolicy": map[string]any{"deadLetterTargetArn": map[string]any{"Fn::GetAtt": []string{id,
			"Arn"}}, "maxReceiveCount": 8}}
	}
	values := map[string]any{
		"ServiceEndpoint": "https://api.invalid/dev", "UploadsBucketName": "uploads", "UpdatesTopicArn": ref("Updates"),
		"ChangesTopicArn":    ref("Changes"),
		"IngestFunctionName": c.stack + "-ingest", "AnnounceFunctionName": c.stack + "-announce",
		"ApplyDeadUrl":  ref("ApplyDead"),
		"ResumeDeadUrl": ref("ResumeDead"), "UpdatesUndeliveredUrl": ref("Undelivered"), "IngestDeadUrl": ref("IngestDead"),
		"AnnounceDeadUrl": ref("AnnounceDead"),
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
			"Undelivered": queue("updates-undelivered", nil), "IngestDead": queue("ingest-dead", nil),
			"AnnounceDead": queue("announce-dead", nil),
		},
		"Outputs": out,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	client := cloudformation.NewFromConfig(c.access.Config("CLOUDFORMATION"), func(o *cloudformation.Options) {
		// There is no timeout, because moto's first answer is slow, and a retry would collide with it.
		o.HTTPClient = awshttp.NewBuildableClient()
	})
	_, err = client.CreateStack(c.t.Context(), &cloudformation.CreateStackInput{StackName: &c.stack,
		TemplateBody: aws.String(string(template))})
	if err != nil {
		c.t.Fatal(err)
	}
	described, err := client.DescribeStacks(c.t.Context(), &cloudformation.DescribeStacksInput{StackName: &c.stack})
	if err != nil || described.Stacks[0].StackStatus != types.StackStatusCreateComplete {
		c.t.Fatalf("DescribeStacks = %+v, %v; want the status CREATE_COMPLETE", described, err)
	}
	c.outputs = map[string]string{}
	for _, o := range described.Stacks[0].Outputs {
		c.outputs[*o.OutputKey] = *o.OutputValue
	}
}

// Ingest implements the ingester of stages. It records the key, or fails permanently if the key contains "poison".
func (c *cloud) Ingest(_ context.Context, o events.Object) error {
	if strings.Contains(o.Key, "poison") {
		return fmt.Errorf("%w: poison", events.ErrPermanent)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ingested = append(c.ingested, o.Key)
	return nil
}

// Resume implements the ingester of stages. No test needs it.
func (c *cloud) Resume(context.Context, events.Continuation) error {
	return errors.New("unexpected continuation")
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
			DeadLetters: queues.DeadLetters{Client: queues.Client(c.access), URL: c.outputs[queue]},
			Metrics:     metrics.NewEMF(io.Discard, "f", "test", time.Now),
			Log:         slog.New(slog.DiscardHandler),
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
			topic := topics.Topic{Client: topics.Client(c.access), ARN: c.outputs["ChangesTopicArn"]}
			announce := stages.Announce{Common: common("AnnounceDeadUrl"),
				Announcer: &ingest.Announcer{Changes: topic, Log: slog.New(slog.DiscardHandler)}}
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
