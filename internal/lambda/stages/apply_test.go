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
		if errs[i] = fate(string(body)); errs[i] == nil {
			a.applied = append(a.applied, string(body))
		}
	}
	return errs
}

func TestApply(t *testing.T) {
	var event lambdaevents.SQSEvent
	read(t, "updates.json", &event)
	dead, table := &grave{}, &applier{}
	response, err := stages.Apply{Common: common(t, dead), Applier: table}.Handle(t.Context(), event)
	if err != nil {
		t.Fatal(err)
	}
	// What can come right comes again; what can't is a dead letter, and done.
	if diff := cmp.Diff(`{"batchItemFailures":[{"itemIdentifier":"m-3"}]}`, golden(t, response)); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"good 1", "good 2"}, table.applied); diff != "" {
		t.Errorf("applied (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"apply m-2: poison (permanent failure\nnever)"}, dead.summary()); diff != "" {
		t.Errorf("dead letters (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"type": "flavorless.updates.v1", "upload": "u1"}, dead.letters[0].Attributes); diff != "" {
		t.Errorf("its attributes (-want +got):\n%s", diff)
	}
}

func TestApplyLosesNothingWithoutDeadLetters(t *testing.T) {
	var event lambdaevents.SQSEvent
	read(t, "updates.json", &event)
	response, err := stages.Apply{Common: common(t, &grave{err: errors.New("down")}), Applier: &applier{}}.Handle(t.Context(), event)
	want := `{"batchItemFailures":[{"itemIdentifier":"m-2"},{"itemIdentifier":"m-3"}]}`
	if got := golden(t, response); err != nil || got != want {
		t.Errorf("got %s, error %v, want %s", got, err, want)
	}
}

func TestApplyBuriesEvenAtTheEndOfItsTime(t *testing.T) {
	var event lambdaevents.SQSEvent
	read(t, "updates.json", &event)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dead := &grave{}
	if _, err := (stages.Apply{Common: common(t, dead), Applier: &applier{}}).Handle(ctx, event); err != nil || len(dead.letters) != 1 {
		t.Errorf("got %d dead letters, error %v, want 1", len(dead.letters), err)
	}
}

// TestApplyNeverAnswersWithAnEmptyID: to Lambda that means that all failed. It has to be an error, or nothing.
func TestApplyNeverAnswersWithAnEmptyID(t *testing.T) {
	for body, fails := range map[string]bool{"good": false, "poison": false, "later": true} {
		t.Run(body, func(t *testing.T) {
			event := lambdaevents.SQSEvent{Records: []lambdaevents.SQSMessage{{Body: body}}}
			response, err := stages.Apply{Common: common(t, &grave{}), Applier: &applier{}}.Handle(t.Context(), event)
			if (err != nil) != fails || len(response.BatchItemFailures) != 0 {
				t.Errorf("got %+v, error %v", response, err)
			}
		})
	}
}

func TestEmptyBatch(t *testing.T) {
	response, err := stages.Apply{Common: common(t, &grave{}), Applier: &applier{}}.Handle(t.Context(), lambdaevents.SQSEvent{})
	if got := golden(t, response); err != nil || got != `{"batchItemFailures":[]}` {
		t.Errorf("got %s, error %v", got, err)
	}
}
