package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	lambdaevents "github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	awsadapters "github.com/flavorless/flavorless/internal/aws"
	"github.com/flavorless/flavorless/internal/aws/dynamo"
	"github.com/flavorless/flavorless/internal/aws/queues"
	"github.com/flavorless/flavorless/internal/aws/topics"
	"github.com/flavorless/flavorless/internal/lambda/stages"
	"github.com/flavorless/flavorless/internal/metrics"
	"github.com/flavorless/flavorless/internal/s3store"
	"github.com/flavorless/flavorless/test/dynamolocal"
	"github.com/flavorless/flavorless/test/faultproxy"
	"github.com/flavorless/flavorless/test/moto"
)

// The judges of this test binary; see their types.
var (
	dynamoJudge dynamolocal.Server
	motoJudge   moto.Server
	runs        atomic.Int64
)

func TestMain(m *testing.M) {
	code := m.Run()
	dynamoJudge.Stop()
	motoJudge.Stop()
	os.Exit(code)
}

// TestConvergenceOnAWS is TestConvergence in the other home: the handlers of the Lambda functions with their adapters, on
// DynamoDB Local and moto, while calls are throttled, fail, hang, happen without an answer, and batches fail in parts.
// Events come repeatedly and in any order, several functions run at a time, and what they don't finish comes again.
func TestConvergenceOnAWS(t *testing.T) {
	h := newCloudHouse(t)
	random := rand.New(rand.NewPCG(1, 2))
	generator := rapid.Custom(func(t *rapid.T) upload {
		number := rapid.IntRange(0, 1<<30).Draw(t, "number")
		return drawUpload(t, number, 40)
	})
	for seed := range 30 {
		u := generator.Example(seed)
		u.object.Key = fmt.Sprintf("uploads/%d %s", seed, strings.TrimPrefix(u.object.Key, "uploads/")) // a space, to be escaped
		h.put(t, u)
	}
	var s3Events [][]byte
	for _, u := range h.objects {
		for range 1 + random.IntN(2) {
			s3Events = append(s3Events, s3Event(t, u.object))
		}
	}
	random.Shuffle(len(s3Events), func(i, j int) { s3Events[i], s3Events[j] = s3Events[j], s3Events[i] })

	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	h.run(ctx, t, s3Events)
	h.check(ctx, t)
}

// cloudHouse is the write side as it is deployed, and the test between its parts as Lambda would be.
type cloudHouse struct {
	name    string             // before those of all its resources
	direct  awsadapters.Access // the judges themselves
	objects map[string]upload  // by upload id
	bucket  string
	reports string

	apply, resume, heard, dead string // queues' URLs
	tables                     dynamolocal.Tables
	table                      *dynamo.Table
	stream                     *dynamolocal.Stream

	ingester stages.Ingest
	applier  stages.Apply
	announce stages.Announce
	faults   []*faultproxy.Proxy
}

func newCloudHouse(t *testing.T) *cloudHouse {
	t.Helper()
	dynamoURL, motoURL := dynamoJudge.Endpoint(t), motoJudge.URL(t)
	at := func(dynamoURL, motoURL string) awsadapters.Access {
		access := moto.Access(motoURL)
		access.Endpoint = func(service string) string {
			if service == "DYNAMODB" {
				return dynamoURL
			}
			return motoURL
		}
		return access
	}
	name := fmt.Sprintf("run%d-", runs.Add(1)) // the judges outlive a run
	h := &cloudHouse{name: name, direct: at(dynamoURL, motoURL), objects: map[string]upload{}, bucket: name + "uploads", reports: name + "reports"}
	faulty := at(
		h.faulty(t, dynamoURL,
			faultproxy.Rule{Chance: 0.03, Fault: faultproxy.Throttle()},
			faultproxy.Rule{Chance: 0.03, Fault: faultproxy.Break()},
			faultproxy.Rule{Chance: 0.03, Fault: faultproxy.ResetBefore()},
			faultproxy.Rule{Chance: 0.05, Fault: faultproxy.ResetAfter()},
			faultproxy.Rule{Chance: 0.1, Fault: faultproxy.Slow(5 * time.Millisecond)},
			faultproxy.Rule{Operation: "BatchGetItem", Chance: 0.1, Fault: faultproxy.Partial("")},
			faultproxy.Rule{Operation: "BatchExecuteStatement", Chance: 0.05, Fault: faultproxy.Partial("ThrottlingError")},
			faultproxy.Rule{Operation: "BatchExecuteStatement", Chance: 0.05, Fault: faultproxy.Pretend("InternalServerError")},
			faultproxy.Rule{Operation: "TransactWriteItems", Chance: 0.05, Fault: faultproxy.Partial("TransactionConflict")},
		),
		h.faulty(t, motoURL,
			faultproxy.Rule{Chance: 0.04, Fault: faultproxy.Break()},
			faultproxy.Rule{Chance: 0.04, Fault: faultproxy.ResetBefore()},
			faultproxy.Rule{Chance: 0.04, Fault: faultproxy.ResetAfter()},
			faultproxy.Rule{Operation: "PublishBatch", Chance: 0.2, Fault: faultproxy.Partial("InternalError")},
		),
	)

	h.tables = dynamolocal.Create(t, dynamo.Client(h.direct), name+"convergence")
	h.table = dynamo.New(dynamo.Config{Client: dynamo.Client(h.direct), Favorites: h.tables.Favorites, Uploads: h.tables.Uploads})
	h.stream = dynamolocal.NewStream(dynamoURL, h.tables.Favorites)
	updates, changes := h.messaging(t)
	h.buckets(t)

	log, recorder := slog.New(slog.DiscardHandler), metrics.NewEMF(io.Discard, "test", "test", time.Now)
	common := stages.Common{DeadLetters: queues.DeadLetters{Client: queues.Client(faulty), URL: h.dead}, Metrics: recorder, Log: log}
	table := dynamo.New(dynamo.Config{Client: dynamo.Client(faulty), Favorites: h.tables.Favorites, Uploads: h.tables.Uploads})
	updatesTopic := topics.Topic{Client: topics.Client(faulty), ARN: updates}
	h.ingester = stages.Ingest{Common: common, Ingester: ingest.New(ingest.Config{
		Objects: s3store.Objects{Client: s3store.NewClient(faulty)}, Updates: updatesTopic, Continuations: updatesTopic,
		Ledger: table, Reports: s3store.Reports{Client: s3store.NewClient(faulty), Bucket: h.reports},
		Clock: time.Now, Log: log, BatchBytes: 460,
		Pause: func(context.Context) bool { return rand.IntN(8) == 0 },
	})}
	h.applier = stages.Apply{Common: common, Applier: &ingest.Applier{Table: table, Log: log}}
	h.announce = stages.Announce{Common: common, Announcer: &ingest.Announcer{
		Changes: topics.Topic{Client: topics.Client(faulty), ARN: changes}, Log: log,
	}}
	return h
}

func (h *cloudHouse) faulty(t *testing.T, target string, rules ...faultproxy.Rule) string {
	proxy := faultproxy.New(target, 1, rules...)
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	h.faults = append(h.faults, proxy)
	return server.URL
}

// messaging makes the topics and their queues, and returns the topics' ARNs.
func (h *cloudHouse) messaging(t *testing.T) (updates, changes string) {
	t.Helper()
	queues, topics := queues.Client(h.direct), topics.Client(h.direct)
	queue := func(name string) (url, arn string) {
		name = h.name + name
		made, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name})
		if err != nil {
			t.Fatal(err)
		}
		got, err := queues.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
			QueueUrl: made.QueueUrl, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameQueueArn},
		})
		if err != nil {
			t.Fatal(err)
		}
		return *made.QueueUrl, got.Attributes["QueueArn"]
	}
	topic := func(name string) string {
		name = h.name + name
		made, err := topics.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: &name})
		if err != nil {
			t.Fatal(err)
		}
		return *made.TopicArn
	}
	subscribe := func(topic, queue, filter string) {
		attributes := map[string]string{"RawMessageDelivery": "true"}
		if filter != "" {
			attributes["FilterPolicy"] = filter
		}
		if _, err := topics.Subscribe(t.Context(), &sns.SubscribeInput{
			TopicArn: &topic, Protocol: aws.String("sqs"), Endpoint: &queue, Attributes: attributes,
		}); err != nil {
			t.Fatal(err)
		}
	}
	updates, changes = topic("updates"), topic("changes")
	var apply, resume, heard string
	h.apply, apply = queue("apply")
	h.resume, resume = queue("resume")
	h.heard, heard = queue("heard")
	h.dead, _ = queue("dead")
	subscribe(updates, apply, `{"type":["`+events.UpdatesType+`"]}`)
	subscribe(updates, resume, `{"type":["`+events.ContinuationType+`"]}`)
	subscribe(changes, heard, "")
	return updates, changes
}

func (h *cloudHouse) buckets(t *testing.T) {
	t.Helper()
	client := s3store.NewClient(h.direct)
	for _, name := range []string{h.bucket, h.reports} {
		if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: &h.bucket, VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled},
	}); err != nil {
		t.Fatal(err)
	}
}

// put uploads the file; what S3 announces of it has the times that were drawn.
func (h *cloudHouse) put(t *testing.T, u upload) {
	t.Helper()
	out, err := s3store.NewClient(h.direct).PutObject(t.Context(), &s3.PutObjectInput{Bucket: &h.bucket, Key: &u.object.Key, Body: strings.NewReader(u.text)})
	if err != nil {
		t.Fatal(err)
	}
	u.object.Bucket, u.object.Size = h.bucket, int64(len(u.text))
	u.object.ETag, u.object.VersionID = strings.Trim(*out.ETag, `"`), aws.ToString(out.VersionId)
	h.objects[u.object.UploadID()] = u
}

func s3Event(t *testing.T, o events.Object) []byte {
	t.Helper()
	event, err := json.Marshal(map[string]any{"Records": []any{map[string]any{
		"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "eventTime": o.Time.UTC().Format("2006-01-02T15:04:05.000Z"),
		"s3": map[string]any{
			"bucket": map[string]any{"name": o.Bucket},
			"object": map[string]any{
				"key": url.QueryEscape(o.Key), "size": o.Size, "eTag": o.ETag, "versionId": o.VersionID, "sequencer": o.Sequencer,
			},
		},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return event
}

// run is Lambda: it invokes the functions with what there is for them, until every upload has settled. Two of each
// run at a time, but of announce one, since a shard is read in order.
func (h *cloudHouse) run(ctx context.Context, t *testing.T, s3Events [][]byte) {
	running, stop := context.WithCancel(ctx)
	var workers sync.WaitGroup
	announced := make(chan []byte, len(s3Events)*100)
	for _, e := range s3Events {
		announced <- e
	}
	for range 2 {
		workers.Go(func() {
			for {
				select {
				case <-running.Done():
					return
				case event := <-announced:
					if _, err := h.ingester.Handle(ctx, event); err != nil {
						announced <- event // as Lambda does
					}
				}
			}
		})
		workers.Go(func() { h.poll(running, t, h.resume, h.resumed) })
		workers.Go(func() { h.poll(running, t, h.apply, h.applier.Handle) })
	}
	workers.Go(func() {
		for running.Err() == nil {
			h.listen(ctx, t)
		}
	})
	for !h.settled(ctx, t) || len(announced) > 0 {
		select {
		case <-ctx.Done():
			t.Error("it does not come to an end")
			stop()
			workers.Wait()
			t.FailNow()
		case <-time.After(20 * time.Millisecond): // there is nothing to be told by when it has settled
		}
	}
	stop()
	workers.Wait()
	h.listen(ctx, t) // to the last
}

func (h *cloudHouse) settled(ctx context.Context, t *testing.T) bool {
	for id := range h.objects {
		u, err := h.table.Upload(ctx, id)
		if err != nil && !errors.Is(err, events.ErrNotFound) && ctx.Err() == nil {
			t.Errorf("reading upload %s: %v", id, err)
		}
		if u.Status != events.Live && u.Status != events.Failed {
			return false
		}
	}
	return true
}

// resumed is ingest, called by its queue.
func (h *cloudHouse) resumed(ctx context.Context, batch lambdaevents.SQSEvent) (lambdaevents.SQSEventResponse, error) {
	event, err := json.Marshal(batch)
	if err != nil {
		return lambdaevents.SQSEventResponse{}, err
	}
	out, err := h.ingester.Handle(ctx, event)
	response, _ := out.(lambdaevents.SQSEventResponse)
	return response, err
}

// poll is the event source of a queue. Some of what is done comes again.
func (h *cloudHouse) poll(running context.Context, t *testing.T, queue string, handle func(context.Context, lambdaevents.SQSEvent) (lambdaevents.SQSEventResponse, error)) {
	ctx, client := context.WithoutCancel(running), queues.Client(h.direct)
	for running.Err() == nil {
		got, err := client.ReceiveMessage(running, &sqs.ReceiveMessageInput{
			QueueUrl: &queue, MaxNumberOfMessages: 4, WaitTimeSeconds: 1, VisibilityTimeout: 600, MessageAttributeNames: []string{"All"},
		})
		if running.Err() != nil {
			return
		}
		if err != nil {
			t.Errorf("receiving from %s: %v", queue, err)
			return
		}
		if len(got.Messages) == 0 {
			continue
		}
		var batch lambdaevents.SQSEvent
		for _, m := range got.Messages {
			batch.Records = append(batch.Records, lambdaevents.SQSMessage{MessageId: *m.MessageId, Body: *m.Body, EventSource: "aws:sqs"})
		}
		response, err := handle(ctx, batch)
		again := map[string]bool{}
		for _, failed := range response.BatchItemFailures {
			again[failed.ItemIdentifier] = true
		}
		for _, m := range got.Messages {
			if err != nil || again[*m.MessageId] || rand.IntN(5) == 0 {
				_, err := client.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: &queue, ReceiptHandle: m.ReceiptHandle})
				if err != nil {
					t.Errorf("returning a message to %s: %v", queue, err)
				}
			} else if _, err := client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &queue, ReceiptHandle: m.ReceiptHandle}); err != nil {
				t.Errorf("deleting a message of %s: %v", queue, err)
			}
		}
	}
}

// listen is the event source of the stream, which goes on only behind what is done.
func (h *cloudHouse) listen(ctx context.Context, t *testing.T) {
	records, err := h.stream.Drain(ctx)
	if err != nil {
		t.Errorf("reading the stream: %v", err)
		return
	}
	var event lambdaevents.DynamoDBEvent
	for _, r := range records {
		event.Records = append(event.Records, lambdaevents.DynamoDBEventRecord{
			EventID: *r.SequenceNumber,
			Change: lambdaevents.DynamoDBStreamRecord{
				SequenceNumber: *r.SequenceNumber, OldImage: streamImage(r.OldImage), NewImage: streamImage(r.NewImage),
			},
		})
	}
	for len(event.Records) > 0 && ctx.Err() == nil {
		response, err := h.announce.Handle(ctx, event)
		switch {
		case err != nil: // all of it comes again
		case len(response.BatchItemFailures) == 0:
			return
		default:
			for event.Records[0].Change.SequenceNumber != response.BatchItemFailures[0].ItemIdentifier {
				event.Records = event.Records[1:]
			}
		}
	}
}

func streamImage(attributes map[string]streamtypes.AttributeValue) map[string]lambdaevents.DynamoDBAttributeValue {
	if attributes == nil {
		return nil
	}
	image := map[string]lambdaevents.DynamoDBAttributeValue{}
	for name, v := range attributes {
		switch v := v.(type) {
		case *streamtypes.AttributeValueMemberS:
			image[name] = lambdaevents.NewStringAttribute(v.Value)
		case *streamtypes.AttributeValueMemberN:
			image[name] = lambdaevents.NewNumberAttribute(v.Value)
		}
	}
	return image
}

func (h *cloudHouse) check(ctx context.Context, t *testing.T) {
	for _, p := range h.faults {
		var calls, faults int
		for operation, n := range p.Counts() {
			t.Logf("%s: %d calls, %d with faults", operation, n.Calls, n.Faults)
			calls, faults = calls+n.Calls, faults+n.Faults
		}
		if faults == 0 {
			t.Errorf("of %d calls none had a fault: this was no test", calls)
		}
	}
	if letters := h.drain(ctx, t, h.dead); len(letters) > 0 {
		t.Errorf("%d dead letters, though everything passes: %v", len(letters), letters)
	}
	team, err := h.table.Team(ctx, "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	table := checkTable(t, h.objects, team)
	if len(table) == 0 {
		t.Error("the table is empty: this was no test")
	}
	for id, u := range h.objects {
		got, err := h.table.Upload(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		checkUpload(t, u, got, h.report(ctx, t, got))
	}
	var heard []events.Change
	for _, body := range h.drain(ctx, t, h.heard) {
		c, err := events.DecodeChange([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		heard = append(heard, c)
	}
	checkChanges(t, heard, table)
}

func (h *cloudHouse) report(ctx context.Context, t *testing.T, u events.Upload) []byte {
	if u.Counts.Rejected == 0 {
		return nil
	}
	key := strings.TrimPrefix(u.RejectsAt, "s3://"+h.reports+"/")
	out, err := s3store.NewClient(h.direct).GetObject(ctx, &s3.GetObjectInput{Bucket: &h.reports, Key: &key})
	if err != nil {
		t.Fatalf("the report of %s: %v", u.ID, err)
	}
	defer out.Body.Close()
	report, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// drain empties a queue.
func (h *cloudHouse) drain(ctx context.Context, t *testing.T, queue string) (bodies []string) {
	for {
		got, err := queues.Client(h.direct).ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &queue, MaxNumberOfMessages: 10, VisibilityTimeout: 600})
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Messages) == 0 {
			return bodies
		}
		for _, m := range got.Messages {
			bodies = append(bodies, *m.Body)
		}
	}
}
