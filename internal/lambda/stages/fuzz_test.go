package stages_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"testing"
	"time"

	lambdaevents "github.com/aws/aws-lambda-go/events"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/lambda/stages"
	"github.com/flavorless/flavorless/internal/metrics"
)

// quiet is common without a test to write to.
func quiet(dead *grave) stages.Common {
	return stages.Common{DeadLetters: dead, Metrics: metrics.NewEMF(nowhere{}, "f", "test", time.Now), Log: slog.New(slog.DiscardHandler)}
}

type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

// FuzzApplyEvent: each message is handled, a dead letter, or comes again. Bodies that are "poison" or come "later" are among the seeds.
func FuzzApplyEvent(f *testing.F) {
	f.Add(seedFile(f, "updates.json"))
	f.Add([]byte(`{"Records":[{"messageId":"","body":"later"},{"messageId":"1"},null]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var event lambdaevents.SQSEvent
		if json.Unmarshal(body, &event) != nil {
			return // what starts the functions refuses it
		}
		dead, table := &grave{}, &applier{}
		response, err := stages.Apply{Common: quiet(dead), Applier: table}.Handle(context.Background(), event)
		if err != nil {
			return // all of it comes again
		}
		if n := len(table.applied) + len(dead.letters) + len(response.BatchItemFailures); n != len(event.Records) {
			t.Errorf("%d of %d messages have a fate", n, len(event.Records))
		}
		for _, failed := range response.BatchItemFailures {
			if failed.ItemIdentifier == "" {
				t.Error("an empty id: to Lambda that is all of them")
			}
		}
	})
}

// FuzzAnnounceEvent: up to the first that has to come again, each record is announced, no change, or a dead letter.
func FuzzAnnounceEvent(f *testing.F) {
	f.Add(seedFile(f, "stream.json"), "andy1", "andy2")
	f.Add([]byte(`{"Records":[{"dynamodb":{"NewImage":{"person":{"S":"andy"},"version":{"N":"1"}}}},{}]}`), "", "")
	f.Fuzz(func(t *testing.T, body []byte, never, later string) {
		var event lambdaevents.DynamoDBEvent
		if json.Unmarshal(body, &event) != nil {
			return
		}
		dead := &grave{}
		subscribers := &announcer{fate: map[string]error{never: errors.Join(events.ErrPermanent, errors.New("never")), later: errors.New("not now")}}
		response, err := stages.Announce{Common: quiet(dead), Announcer: subscribers}.Handle(context.Background(), event)
		if err != nil {
			return
		}
		if len(response.BatchItemFailures) > 1 || len(subscribers.told)+len(dead.letters) > len(event.Records) {
			t.Errorf("%d failures, %d told, %d dead letters of %d records", len(response.BatchItemFailures), len(subscribers.told), len(dead.letters), len(event.Records))
		}
		for _, l := range dead.letters {
			if len(l.Body) == 0 || l.Reason == nil {
				t.Errorf("dead letter %+v says nothing", l)
			}
		}
	})
}

// FuzzIngestEvent: S3 events and batches of the resume queue alike.
func FuzzIngestEvent(f *testing.F) {
	for _, file := range []string{"s3.json", "spans.json"} {
		f.Add(seedFile(f, file))
	}
	f.Add([]byte(`{"Records":[{"eventSource":"aws:sqs","messageId":"1"},{"eventSource":"aws:s3"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		dead, in := &grave{}, &counter{}
		response, err := stages.Ingest{Common: quiet(dead), Ingester: in}.Handle(context.Background(), body)
		if err != nil {
			return
		}
		batch, _ := response.(lambdaevents.SQSEventResponse)
		if len(batch.BatchItemFailures) > 0 {
			t.Errorf("%v come again, though nothing fails for a while", batch.BatchItemFailures)
		}
		for _, l := range dead.letters {
			if !errors.Is(l.Reason, events.ErrPermanent) {
				t.Errorf("dead letter %+v", l)
			}
		}
	})
}

// counter takes everything.
type counter struct{ objects, spans int }

func (c *counter) Ingest(context.Context, events.Object) error       { c.objects++; return nil }
func (c *counter) Resume(context.Context, events.Continuation) error { c.spans++; return nil }

func seedFile(f *testing.F, file string) []byte {
	f.Helper()
	body, err := os.ReadFile("testdata/" + file)
	if err != nil {
		f.Fatal(err)
	}
	return body
}
