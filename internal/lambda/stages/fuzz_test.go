package stages_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	lambdaevents "github.com/aws/aws-lambda-go/events"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/lambda/stages"
	"github.com/flavorless/flavorless/internal/metrics"
)

// silentCommon returns a Common that logs nothing.
func silentCommon(dead *deadQueue) stages.Common {
	return stages.Common{
		DeadLetters: dead, Metrics: metrics.NewEMF(io.Discard, "f", "test", time.Now), Log: slog.New(slog.DiscardHandler),
	}
}

// FuzzApplyEvent checks that each message is applied, dead-lettered or reported as failed.
func FuzzApplyEvent(f *testing.F) {
	f.Add(seedFile(f, "updates.json"))
	f.Add([]byte(`{"Records":[{"messageId":"","body":"later"},{"messageId":"1"},null]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var event lambdaevents.SQSEvent
		if json.Unmarshal(body, &event) != nil {
			return // package lambda rejects it
		}
		dead, table := &deadQueue{}, &applier{}
		response, err := stages.Apply{Common: silentCommon(dead), Applier: table}.Handle(context.Background(), event)
		if err != nil {
			return // the whole batch is redelivered
		}
		if n := len(table.applied) + len(dead.letters) + len(response.BatchItemFailures); n != len(event.Records) {
			t.Errorf("%d messages were applied, dead-lettered or failed, want %d", n, len(event.Records))
		}
		for _, failed := range response.BatchItemFailures {
			if failed.ItemIdentifier == "" {
				t.Error("a failed item has an empty id: Lambda would redeliver the whole batch")
			}
		}
	})
}

// FuzzAnnounceEvent checks that at most one record is reported as failed, and none is announced or dead-lettered twice.
func FuzzAnnounceEvent(f *testing.F) {
	f.Add(seedFile(f, "stream.json"), "andy1", "andy2")
	f.Add([]byte(`{"Records":[{"dynamodb":{"NewImage":{"person":{"S":"andy"},"version":{"N":"1"}}}},{}]}`), "", "")
	f.Fuzz(func(t *testing.T, body []byte, never, later string) {
		var event lambdaevents.DynamoDBEvent
		if json.Unmarshal(body, &event) != nil {
			return
		}
		dead := &deadQueue{}
		announcer := &announcer{errs: map[string]error{never: errPermanent, later: errTemporary}}
		response, err := stages.Announce{Common: silentCommon(dead), Announcer: announcer}.Handle(context.Background(), event)
		if err != nil {
			return
		}
		failed, announced := len(response.BatchItemFailures), len(announcer.announced)
		if failed > 1 || announced+len(dead.letters) > len(event.Records) {
			t.Errorf("%d failed, %d announced, %d dead letters of %d records",
				failed, announced, len(dead.letters), len(event.Records))
		}
		for _, l := range dead.letters {
			if len(l.Body) == 0 || l.Reason == nil {
				t.Errorf("dead letter %+v has no body or no reason", l)
			}
		}
	})
}

// FuzzIngestEvent decodes S3 events and batches of the resume queue. Nothing may fail but what can't be decoded.
func FuzzIngestEvent(f *testing.F) {
	for _, file := range []string{"s3.json", "continuations.json"} {
		f.Add(seedFile(f, file))
	}
	f.Add([]byte(`{"Records":[{"eventSource":"aws:sqs","messageId":"1"},{"eventSource":"aws:s3"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		dead, in := &deadQueue{}, nopIngester{}
		response, err := stages.Ingest{Common: silentCommon(dead), Ingester: in}.Handle(context.Background(), body)
		if err != nil {
			return
		}
		batch, _ := response.(lambdaevents.SQSEventResponse)
		if len(batch.BatchItemFailures) > 0 {
			t.Errorf("failed items = %v, want none", batch.BatchItemFailures)
		}
		for _, l := range dead.letters {
			if !errors.Is(l.Reason, events.ErrPermanent) {
				t.Errorf("reason of dead letter %s = %v, want events.ErrPermanent", l.ID, l.Reason)
			}
		}
	})
}

// nopIngester succeeds with everything.
type nopIngester struct{}

func (nopIngester) Ingest(context.Context, events.Object) error       { return nil }
func (nopIngester) Resume(context.Context, events.Continuation) error { return nil }

func seedFile(f *testing.F, file string) []byte {
	f.Helper()
	body, err := os.ReadFile("testdata/" + file)
	if err != nil {
		f.Fatal(err)
	}
	return body
}
