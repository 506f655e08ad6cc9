package stages_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	lambdaevents "github.com/aws/aws-lambda-go/events"

	"github.com/flavorless/flavorless/internal/lambda/stages"
	"github.com/flavorless/flavorless/internal/metrics"
)

// TestRetries checks that each redelivery is counted, because Lambda's own metrics don't count partial batch failures,
// and that a batch of which nothing succeeded is an error of the invocation.
func TestRetries(t *testing.T) {
	batch := func(bodies ...string) (e lambdaevents.SQSEvent) {
		for i, body := range bodies {
			id := fmt.Sprint("m-", i)
			e.Records = append(e.Records, lambdaevents.SQSMessage{MessageId: id, Body: body, EventSource: "aws:sqs"})
		}
		return e
	}
	continuation := func(offset int) string {
		var event lambdaevents.SQSEvent
		read(t, "continuations.json", &event)
		var body map[string]any
		if err := json.Unmarshal([]byte(event.Records[0].Body), &body); err != nil {
			t.Fatal(err)
		}
		body["data"].(map[string]any)["offset"] = offset
		return encode(t, body)
	}
	good, bad := continuation(4096), continuation(failingOffset)
	type handler func(stages.Common) (failures int, err error)
	apply := func(bodies ...string) handler {
		return func(c stages.Common) (int, error) {
			response, err := stages.Apply{Common: c, Applier: &applier{}}.Handle(t.Context(), batch(bodies...))
			return len(response.BatchItemFailures), err
		}
	}
	resume := func(bodies ...string) handler {
		return func(c stages.Common) (int, error) {
			event := []byte(encode(t, batch(bodies...)))
			response, err := stages.Ingest{Common: c, Ingester: &ingester{}}.Handle(t.Context(), event)
			batch, _ := response.(lambdaevents.SQSEventResponse)
			return len(batch.BatchItemFailures), err
		}
	}
	announce := func(failing ...string) handler {
		return func(c stages.Common) (int, error) {
			errs := map[string]error{}
			for _, person := range failing {
				errs[person] = errTemporary
			}
			records := stream(t).Records
			event := lambdaevents.DynamoDBEvent{Records: append(records[:2:2], records[3])} // those that changed a flavor
			response, err := stages.Announce{Common: c, Announcer: &announcer{errs: errs}}.Handle(t.Context(), event)
			return len(response.BatchItemFailures), err
		}
	}
	for _, test := range []struct {
		name     string
		handle   handler
		deadErr  error // of the dead-letter queue
		failures int
		fails    bool
		retries  int64
	}{
		{name: "apply: some", handle: apply("good", "later", "later"), failures: 2, retries: 2},
		{name: "apply: all", handle: apply("later", "later"), fails: true, retries: 2},
		{name: "apply: all but a dead letter", handle: apply("later", "poison"), failures: 1, retries: 1},
		{name: "apply: all, without dead-letter queue", handle: apply("later", "poison"), deadErr: errors.New("down"),
			fails: true, retries: 2},
		{name: "apply: none", handle: apply("good", "poison")},
		{name: "ingest: the only one", handle: resume(bad), fails: true, retries: 1},
		{name: "ingest: some", handle: resume(good, bad), failures: 1, retries: 1},
		{name: "announce: some", handle: announce("andy2"), failures: 1, retries: 1},
		{name: "announce: the first", handle: announce("andy1"), failures: 1, retries: 1},
		{name: "announce: all", handle: announce(""), fails: true, retries: 1},
		{name: "announce: none", handle: announce()},
	} {
		t.Run(test.name, func(t *testing.T) {
			recorder := counts{}
			c := common(t, &deadQueue{err: test.deadErr})
			c.Metrics = recorder
			failures, err := test.handle(c)
			if failures != test.failures || (err != nil) != test.fails {
				t.Errorf("got %d failed items, error %v, want %d, and an error: %t", failures, err, test.failures, test.fails)
			}
			if got := recorder[metrics.Retries]; got != test.retries {
				t.Errorf("%s = %d, want %d", metrics.Retries, got, test.retries)
			}
		})
	}
}
