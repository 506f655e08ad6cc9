package stages_test

import (
	"context"
	"errors"
	"testing"

	lambdaevents "github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/internal/lambda/stages"
)

type applier struct{ applied []string }

func (a *applier) Apply(_ context.Context, bodies [][]byte) []error {
	errs := make([]error, len(bodies))
	for i, body := range bodies {
		if errs[i] = outcome(string(body)); errs[i] == nil {
			a.applied = append(a.applied, string(body))
		}
	}
	return errs
}

func TestApply(t *testing.T) {
	var event lambdaevents.SQSEvent
	read(t, "updates.json", &event)
	dead, table := &deadQueue{}, &applier{}
	response, err := stages.Apply{Common: common(t, dead), Applier: table}.Handle(t.Context(), event)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`{"batchItemFailures":[{"itemIdentifier":"m-3"}]}`, encode(t, response)); diff != "" {
		t.Errorf("response (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"good 1", "good 2"}, table.applied); diff != "" {
		t.Errorf("applied (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"apply m-2: poison"}, dead.summary(t)); diff != "" {
		t.Errorf("dead letters (-want +got):\n%s", diff)
	}
	want := map[string]string{"type": "flavorless.updates.v1", "upload": "u1"}
	if diff := cmp.Diff(want, dead.letters[0].Attributes); diff != "" {
		t.Errorf("attributes of the dead letter (-want +got):\n%s", diff)
	}
}

func TestApplyRetriesWithoutDeadQueue(t *testing.T) {
	var event lambdaevents.SQSEvent
	read(t, "updates.json", &event)
	stage := stages.Apply{Common: common(t, &deadQueue{err: errors.New("down")}), Applier: &applier{}}
	response, err := stage.Handle(t.Context(), event)
	want := `{"batchItemFailures":[{"itemIdentifier":"m-2"},{"itemIdentifier":"m-3"}]}`
	if got := encode(t, response); err != nil || got != want {
		t.Errorf("Handle() = %s, %v, want %s", got, err, want)
	}
}

func TestApplyDeadLettersAfterDeadline(t *testing.T) {
	var event lambdaevents.SQSEvent
	read(t, "updates.json", &event)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dead := &deadQueue{}
	_, err := stages.Apply{Common: common(t, dead), Applier: &applier{}}.Handle(ctx, event)
	if err != nil || len(dead.letters) != 1 {
		t.Errorf("got %d dead letters, error %v, want 1", len(dead.letters), err)
	}
}

// TestApplyMessageWithoutID checks that no item with an empty id is reported as failed: Lambda would redeliver the
// batch.
func TestApplyMessageWithoutID(t *testing.T) {
	for body, fails := range map[string]bool{"good": false, "poison": false, "later": true} {
		t.Run(body, func(t *testing.T) {
			event := lambdaevents.SQSEvent{Records: []lambdaevents.SQSMessage{{Body: body}}}
			response, err := stages.Apply{Common: common(t, &deadQueue{}), Applier: &applier{}}.Handle(t.Context(), event)
			if (err != nil) != fails || len(response.BatchItemFailures) != 0 {
				t.Errorf("Handle() = %+v, %v, want no failed items, and an error: %t", response, err, fails)
			}
		})
	}
}

func TestEmptyBatch(t *testing.T) {
	stage := stages.Apply{Common: common(t, &deadQueue{}), Applier: &applier{}}
	response, err := stage.Handle(t.Context(), lambdaevents.SQSEvent{})
	if got := encode(t, response); err != nil || got != `{"batchItemFailures":[]}` {
		t.Errorf("Handle() = %s, %v, want no failures", got, err)
	}
}
