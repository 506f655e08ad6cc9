package stages_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/lambda/stages"
)

type ingester struct{ done []string }

func (in *ingester) Ingest(_ context.Context, o events.Object) error {
	in.done = append(in.done, o.Key)
	return fate(o.Key)
}

func (in *ingester) Resume(_ context.Context, s events.Continuation) error {
	in.done = append(in.done, fmt.Sprint(s.Object.Key, " from ", s.Offset, " after ", s.Rows))
	if s.Offset == 666 {
		return fate("later")
	}
	return nil
}

func TestIngestAnnounced(t *testing.T) {
	event := read(t, "s3.json", nil)
	dead, in := &grave{}, &ingester{}
	response, err := stages.Ingest{Common: common(t, dead), Ingester: in}.Handle(t.Context(), event)
	if err == nil || err.Error() != "not now" || response != nil {
		t.Errorf("got %v, error %v, want the one that may go away", response, err)
	}
	if diff := cmp.Diff([]string{"uploads/good one.csv", "uploads/later.csv", "uploads/poison.csv"}, in.done); diff != "" {
		t.Errorf("ingested (-want +got):\n%s", diff)
	}
	if len(dead.letters) != 1 || string(dead.letters[0].Body) != string(event) || dead.letters[0].Source != "ingest" {
		t.Errorf("got dead letters %q, want the event itself", dead.summary())
	}
}

func TestIngestResumes(t *testing.T) {
	dead, in := &grave{}, &ingester{}
	response, err := stages.Ingest{Common: common(t, dead), Ingester: in}.Handle(t.Context(), read(t, "spans.json", nil))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`{"batchItemFailures":[{"itemIdentifier":"s-3"}]}`, golden(t, response)); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"uploads/a b.csv from 4096 after 9", "uploads/a b.csv from 666 after 9"}, in.done); diff != "" {
		t.Errorf("resumed (-want +got):\n%s", diff)
	}
	if got := dead.summary(); len(got) != 1 || !strings.HasPrefix(got[0], "ingest s-2: no span (permanent failure: decoding a span") {
		t.Errorf("got dead letters %q", got)
	}
}

func TestIngestIgnoresWhatIsNoUpload(t *testing.T) {
	for name, event := range map[string]string{
		"test event": `{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-11-23T08:00:00.000Z","Bucket":"flavors"}`,
		"deletion":   `{"Records":[{"eventSource":"aws:s3","eventName":"ObjectRemoved:Delete","s3":{"bucket":{"name":"b"},"object":{"key":"k"}}}]}`,
		"no records": `{"Records":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			dead, in := &grave{}, &ingester{}
			_, err := stages.Ingest{Common: common(t, dead), Ingester: in}.Handle(t.Context(), []byte(event))
			if err != nil || len(in.done) != 0 || len(dead.letters) != 0 {
				t.Errorf("got error %v, ingested %q, dead letters %q", err, in.done, dead.summary())
			}
		})
	}
}

func TestIngestBuriesWhatItDoesNotUnderstand(t *testing.T) {
	for _, event := range []string{`{}`, `[]`, `"hello"`, `{"detail-type":"Object Created"}`} {
		t.Run(event, func(t *testing.T) {
			dead := &grave{}
			_, err := stages.Ingest{Common: common(t, dead), Ingester: &ingester{}}.Handle(t.Context(), []byte(event))
			if err != nil || len(dead.letters) != 1 || string(dead.letters[0].Body) != event {
				t.Errorf("got error %v, dead letters %q", err, dead.summary())
			}
		})
	}
}
