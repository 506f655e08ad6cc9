// Package firstload simulates the first load of a new DynamoDB table by the function apply. The real handler, applier,
// adapter and SDK client receive the messages of an upload from a queue, which is polled as Lambda does, and write to a
// fake that throttles each partition (fakeaws.NewLimited). In a bubble of testing/synctest, minutes take seconds.
package firstload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"time"

	lambdaevents "github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/aws"
	"github.com/flavorless/flavorless/internal/aws/dynamo"
	"github.com/flavorless/flavorless/internal/aws/queues"
	"github.com/flavorless/flavorless/internal/lambda/bootstrap"
	"github.com/flavorless/flavorless/internal/lambda/stages"
	"github.com/flavorless/flavorless/internal/metrics"
	"github.com/flavorless/flavorless/test/bench/fakeaws"
)

// Deployment is the configuration of apply in serverless.yml and resources/messaging.yml.
type Deployment struct {
	BatchSize   int           // messages per invocation
	Concurrency int           // concurrent invocations
	Timeout     time.Duration // of an invocation
	Visibility  time.Duration // until a message that was not deleted is delivered again
	MaxReceives int           // until a message becomes a dead letter
}

// Result is the result of a load.
type Result struct {
	Took        time.Duration // from the first delivery until the upload is live
	Floor       time.Duration // time that the fullest partition needs for its rows if it is never idle
	Deliveries  int           // of messages
	Messages    int
	DeadLetters int
	Statements  int // sent to write the rows, including those that were throttled
	Upload      events.Upload
}

// Ratio returns the time taken divided by the floor.
func (r Result) Ratio() float64 { return r.Took.Seconds() / r.Floor.Seconds() }

// roundTrip is the duration of a request to DynamoDB.
const roundTrip = 10 * time.Millisecond

// Run loads rows into the empty tables of the server.
func Run(ctx context.Context, server *fakeaws.Server, rows int, d Deployment) (Result, error) {
	table := newTable(server)
	object := events.Object{Bucket: "b", Key: "uploads/first.csv", ETag: "e", Sequencer: "01", Time: time.Now()}
	if _, err := table.Begin(ctx, object, false); err != nil {
		return Result{}, err
	}
	messages, err := encode(object, rows)
	if err != nil {
		return Result{}, err
	}
	summary := events.ReadSummary{Format: "csv", Rows: int64(rows), Batches: int64(len(messages)), At: time.Now()}
	if _, err := table.Seal(ctx, object.UploadID(), summary); err != nil {
		return Result{}, err
	}
	server.Counts()

	q := &queue{deployment: d, messages: messages}
	start := time.Now()
	var wg sync.WaitGroup
	errs := make([]error, d.Concurrency)
	for i := range d.Concurrency {
		wg.Go(func() { errs[i] = q.poll(ctx, newHandler(server)) })
	}
	wg.Wait()
	r := Result{
		Took: time.Since(start), Floor: server.Floor("favorites"),
		Messages: len(messages), Deliveries: q.deliveries, DeadLetters: q.dead,
		Statements: server.Counts().Calls["BatchExecuteStatement"].Entries,
	}
	if err := errors.Join(errs...); err != nil {
		return r, err
	}
	r.Upload, err = table.Upload(ctx, object.UploadID())
	return r, err
}

// encode returns the messages of a sorted upload, of the size and in the order that ingest gives them: each message has
// people of one shard, sorted, and the shards take turns.
func encode(object events.Object, rows int) ([]*message, error) {
	origin, err := object.Origin()
	if err != nil {
		return nil, err
	}
	shards := map[int][]events.Update{}
	for i := range rows {
		u := events.Update{Offset: int64(i) * 27, Person: fmt.Sprintf("person %07d", i), Flavor: "cookie dough"}
		shards[dynamo.ShardOf(u.Person)] = append(shards[dynamo.ShardOf(u.Person)], u)
	}
	var messages []*message
	batch := events.NewSortedBatchWriter(origin, true)
	for left := rows; left > 0; {
		for _, shard := range slices.Sorted(maps.Keys(shards)) {
			for len(shards[shard]) > 0 && batch.Size() < ingest.MaxMessage-events.MaxEncodedRow-256 {
				batch.Add(shards[shard][0])
				shards[shard] = shards[shard][1:]
			}
			if n := batch.Rows(); n > 0 {
				left -= n
				messages = append(messages, &message{id: strconv.Itoa(len(messages)), body: string(batch.Message().Body)})
			}
		}
	}
	return messages, nil
}

func newTable(server http.Handler) *dynamo.Table {
	client := dynamo.Client(aws.Access{Region: "us-east-1", KeyID: "bench", Secret: "bench"})
	return dynamo.New(dynamo.Config{
		Client:    dynamodb.New(client.Options(), func(o *dynamodb.Options) { o.HTTPClient = link{server} }),
		Favorites: "favorites", Uploads: "uploads",
	})
}

// newHandler returns the handler that cmd/lambda/apply builds.
func newHandler(server http.Handler) lambda.Handler {
	log := slog.New(slog.DiscardHandler)
	tools := bootstrap.Tools{Log: log, Metrics: metrics.NewEMF(io.Discard, "apply", "test", time.Now)}
	applier := &ingest.Applier{Table: metrics.Table{Next: newTable(server), Recorder: tools.Metrics}, Log: log}
	common := stages.Common{DeadLetters: noDeadLetters{}, Metrics: tools.Metrics, Log: log}
	return bootstrap.Handler(tools, stages.Apply{Common: common, Applier: applier}.Handle)
}

type noDeadLetters struct{}

func (noDeadLetters) Put(_ context.Context, letter queues.FailedMessage) error {
	return fmt.Errorf("message %s can't be applied: %w", letter.ID, letter.Reason)
}

// link is the network between a client and the server.
type link struct{ server http.Handler }

func (l link) Do(r *http.Request) (*http.Response, error) {
	if !sleep(r.Context(), roundTrip) {
		return nil, r.Context().Err()
	}
	recorder := httptest.NewRecorder()
	l.server.ServeHTTP(recorder, r)
	return recorder.Result(), nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// queue is an SQS queue with Lambda's event source mapping.
type queue struct {
	deployment Deployment

	mu         sync.Mutex
	messages   []*message
	deliveries int
	dead       int
}

type message struct {
	id, body  string
	receives  int
	visibleAt time.Time
}

// pollPause is how long a poller waits that received no message.
const pollPause = 100 * time.Millisecond

// poll invokes the handler with batches until the queue is empty.
func (q *queue) poll(ctx context.Context, handler lambda.Handler) error {
	for {
		batch, empty := q.receive()
		switch {
		case empty:
			return nil
		case len(batch) == 0:
			if !sleep(ctx, pollPause) {
				return ctx.Err()
			}
			continue
		}
		failed, err := q.invoke(ctx, handler, batch)
		if err != nil {
			return err
		}
		q.delete(batch, failed)
	}
}

// receive returns visible messages, and whether the queue is empty.
func (q *queue) receive() (batch []*message, empty bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	kept := q.messages[:0]
	for _, m := range q.messages {
		visible := len(batch) < q.deployment.BatchSize && !m.visibleAt.After(now)
		if visible && m.receives == q.deployment.MaxReceives {
			q.dead++
			continue
		}
		if visible {
			m.receives++
			m.visibleAt = now.Add(q.deployment.Visibility)
			batch = append(batch, m)
		}
		kept = append(kept, m)
	}
	q.messages = kept
	q.deliveries += len(batch)
	return batch, len(kept) == 0
}

// invoke invokes the handler, and returns the ids of the messages that failed.
func (q *queue) invoke(ctx context.Context, handler lambda.Handler, batch []*message) (map[string]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, q.deployment.Timeout)
	defer cancel()
	event := lambdaevents.SQSEvent{}
	for _, m := range batch {
		event.Records = append(event.Records, lambdaevents.SQSMessage{MessageId: m.id, Body: m.body, EventSource: "aws:sqs"})
	}
	payload, err := json.Marshal(event)
	if err != nil {
		return nil, err
	}
	failed := map[string]bool{}
	answer, err := handler.Invoke(ctx, payload)
	if err != nil { // all messages failed
		for _, m := range batch {
			failed[m.id] = true
		}
		return failed, nil
	}
	var response lambdaevents.SQSEventResponse
	if err := json.Unmarshal(answer, &response); err != nil {
		return nil, err
	}
	for _, f := range response.BatchItemFailures {
		failed[f.ItemIdentifier] = true
	}
	return failed, nil
}

func (q *queue) delete(batch []*message, failed map[string]bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.messages = slices.DeleteFunc(q.messages, func(m *message) bool { return slices.Contains(batch, m) && !failed[m.id] })
}
