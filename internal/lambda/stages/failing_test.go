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

// TestWhatComesAgain: a failure that Lambda is told of item by item is in none of its own metrics. So every delivery that comes
// again is counted, and an invocation of which nothing succeeded is an error, which brings back the same deliveries.
func TestWhatComesAgain(t *testing.T) {
	// batch makes messages of a queue with these bodies.
	batch := func(bodies ...string) (e lambdaevents.SQSEvent) {
		for i, body := range bodies {
			e.Records = append(e.Records, lambdaevents.SQSMessage{MessageId: fmt.Sprint("m-", i), Body: body, EventSource: "aws:sqs"})
		}
		return e
	}
	span := func(offset int) string {
		var event lambdaevents.SQSEvent
		read(t, "spans.json", &event)
		var body map[string]any
		if err := json.Unmarshal([]byte(event.Records[0].Body), &body); err != nil {
			t.Fatal(err)
		}
		body["data"].(map[string]any)["offset"] = offset
		return golden(t, body)
	}
	const good, bad = 4096, 666
	apply := func(c stages.Common, bodies ...string) (int, error) {
		response, err := stages.Apply{Common: c, Applier: &applier{}}.Handle(t.Context(), batch(bodies...))
		return len(response.BatchItemFailures), err
	}
	resume := func(c stages.Common, bodies ...string) (int, error) {
		response, err := stages.Ingest{Common: c, Ingester: &ingester{}}.Handle(t.Context(), []byte(golden(t, batch(bodies...))))
		batch, _ := response.(lambdaevents.SQSEventResponse)
		return len(batch.BatchItemFailures), err
	}
	announce := func(c stages.Common, fate map[string]error) (int, error) {
		response, err := stages.Announce{Common: c, Announcer: &announcer{fate: fate}}.Handle(t.Context(), lambdaevents.DynamoDBEvent{
			Records: append(stream(t).Records[:2:2], stream(t).Records[3]), // those that changed a flavor
		})
		return len(response.BatchItemFailures), err
	}
	later := errors.New("not now")
	for _, test := range []struct {
		name     string
		handle   func(stages.Common) (failures int, err error)
		noLetter bool // the dead letters can't be reached
		failures int
		fails    bool
		again    int64
	}{
		{name: "apply: some", handle: func(c stages.Common) (int, error) { return apply(c, "good", "later", "later") }, failures: 2, again: 2},
		{name: "apply: all", handle: func(c stages.Common) (int, error) { return apply(c, "later", "later") }, fails: true, again: 2},
		{name: "apply: all but a dead letter", handle: func(c stages.Common) (int, error) { return apply(c, "later", "poison") }, failures: 1, again: 1},
		{name: "apply: all, one of them for want of the dead letters", handle: func(c stages.Common) (int, error) { return apply(c, "later", "poison") },
			noLetter: true, fails: true, again: 2},
		{name: "apply: none", handle: func(c stages.Common) (int, error) { return apply(c, "good", "poison") }},
		{name: "ingest: the one", handle: func(c stages.Common) (int, error) { return resume(c, span(bad)) }, fails: true, again: 1},
		{name: "ingest: some", handle: func(c stages.Common) (int, error) { return resume(c, span(good), span(bad)) }, failures: 1, again: 1},
		{name: "announce: some", handle: func(c stages.Common) (int, error) { return announce(c, map[string]error{"andy2": later}) }, failures: 1, again: 1},
		{name: "announce: the first", handle: func(c stages.Common) (int, error) { return announce(c, map[string]error{"andy1": later}) }, failures: 1, again: 1},
		{name: "announce: all", handle: func(c stages.Common) (int, error) { return announce(c, map[string]error{"": later}) }, fails: true, again: 1},
		{name: "announce: none", handle: func(c stages.Common) (int, error) { return announce(c, nil) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			dead, recorder := &grave{}, counts{}
			if test.noLetter {
				dead.err = errors.New("down")
			}
			c := common(t, dead)
			c.Metrics = recorder
			failures, err := test.handle(c)
			if failures != test.failures || (err != nil) != test.fails {
				t.Errorf("%d failures are reported, error %v; want %d, and an error: %v", failures, err, test.failures, test.fails)
			}
			if got := recorder[metrics.Retries]; got != test.again {
				t.Errorf("%d deliveries are counted as retried, want %d", got, test.again)
			}
		})
	}
}
