package stages_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/lambda/stages"
)

// ingester records what it is called with. It resumes any continuation but one at failingOffset.
type ingester struct{ done []string }

const failingOffset = 666

func (in *ingester) Ingest(_ context.Context, o events.Object) error {
	in.done = append(in.done, o.Key)
	return outcome(o.Key)
}

func (in *ingester) Resume(_ context.Context, c events.Continuation) error {
	in.done = append(in.done, fmt.Sprint(c.Object.Key, " from ", c.Offset, " after ", c.Rows))
	if c.Offset == failingOffset {
		return outcome("later")
	}
	return nil
}

func TestIngestAnnounced(t *testing.T) {
	event := read(t, "s3.json", nil)
	dead, in := &deadQueue{}, &ingester{}
	response, err := stages.Ingest{Common: common(t, dead), Ingester: in}.Handle(t.Context(), event)
	if !errors.Is(err, errTemporary) || errors.Is(err, errPermanent) || response != nil {
		t.Errorf("Handle() = %v, %v, want nil, %v", response, err, errTemporary)
	}
	if diff := cmp.Diff([]string{"uploads/good one.csv", "uploads/later.csv", "uploads/poison.csv"}, in.done); diff != "" {
		t.Errorf("ingested (-want +got):\n%s", diff)
	}
	if len(dead.letters) != 1 || string(dead.letters[0].Body) != string(event) || dead.letters[0].Source != "ingest" {
		t.Errorf("got dead letters %q, want one of ingest with the event", dead.summary(t))
	}
}

func TestIngestResumes(t *testing.T) {
	dead, in := &deadQueue{}, &ingester{}
	event := read(t, "continuations.json", nil)
	response, err := stages.Ingest{Common: common(t, dead), Ingester: in}.Handle(t.Context(), event)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`{"batchItemFailures":[{"itemIdentifier":"s-3"}]}`, encode(t, response)); diff != "" {
		t.Errorf("response (-want +got):\n%s", diff)
	}
	want := []string{"uploads/a b.csv from 4096 after 9", "uploads/a b.csv from 666 after 9"}
	if diff := cmp.Diff(want, in.done); diff != "" {
		t.Errorf("resumed (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"ingest s-2: no span"}, dead.summary(t)); diff != "" {
		t.Errorf("dead letters (-want +got):\n%s", diff)
	}
}

func TestIngestIgnoresOtherEvents(t *testing.T) {
	for name, event := range map[string]string{
		"test event": `{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-11-23T08:00:00.000Z","Bucket":"flavors"}`,
		"deletion": `{"Records":[{"eventSource":"aws:s3","eventName":"ObjectRemoved:Delete",
			"s3":{"bucket":{"name":"b"},"object":{"key":"k"}}}]}`,
		"no records": `{"Records":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			dead, in := &deadQueue{}, &ingester{}
			_, err := stages.Ingest{Common: common(t, dead), Ingester: in}.Handle(t.Context(), []byte(event))
			if err != nil || len(in.done) != 0 || len(dead.letters) != 0 {
				t.Errorf("got error %v, ingested %q, dead letters %q, want none", err, in.done, dead.summary(t))
			}
		})
	}
}

func TestIngestDeadLettersUnknownEvents(t *testing.T) {
	for _, event := range []string{`{}`, `[]`, `"hello"`, `{"detail-type":"Object Created"}`} {
		t.Run(event, func(t *testing.T) {
			dead := &deadQueue{}
			_, err := stages.Ingest{Common: common(t, dead), Ingester: &ingester{}}.Handle(t.Context(), []byte(event))
			if err != nil || len(dead.letters) != 1 || string(dead.letters[0].Body) != event {
				t.Errorf("got error %v, dead letters %q, want one with the event", err, dead.summary(t))
			}
		})
	}
}
