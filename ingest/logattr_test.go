package ingest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
)

// flaky is a table and a topic whose first call fails.
type flaky struct{ calls int }

func (f *flaky) fail() error {
	if f.calls++; f.calls == 1 {
		return errors.New("not now")
	}
	return nil
}

func (f *flaky) Apply(_ context.Context, batches []events.Batch, _ events.Repair) ([]events.BatchResult, error) {
	return make([]events.BatchResult, len(batches)), f.fail()
}

func (f *flaky) Publish(_ context.Context, messages []events.Message) []error {
	return slices.Repeat([]error{f.fail()}, len(messages))
}

// TestWarningsNameTheirUploads checks the attribute "upload" of log lines about one upload, and "uploads" of other
// lines.
func TestWarningsNameTheirUploads(t *testing.T) {
	var origins []events.Origin
	var bodies [][]byte
	for _, key := range []string{"a.csv", "b.csv"} {
		origin, err := events.Object{Bucket: "b", Key: key, ETag: "e", Sequencer: "1",
			Time: time.UnixMilli(1_795_000_000_000)}.Origin()
		if err != nil {
			t.Fatal(err)
		}
		w := events.NewBatchWriter(origin)
		w.Add(events.Update{Person: "andy", Flavor: "mint"})
		origins, bodies = append(origins, origin), append(bodies, w.Message().Body)
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	if err := errors.Join((&ingest.Applier{Table: &flaky{}, Log: logger}).Apply(t.Context(),
		[][]byte{bodies[0], bodies[1], bodies[0]})...); err != nil {
		t.Fatal(err)
	}
	change, _ := events.NewChange("andy", "", "mint", origins[0].At(0))
	if err := errors.Join((&ingest.Announcer{Changes: &flaky{}, Log: logger}).Announce(t.Context(),
		[]events.Change{change})...); err != nil {
		t.Fatal(err)
	}
	type entry struct {
		Event, Upload string
		Uploads       []string
	}
	var got []entry
	for line := range bytes.Lines(log.Bytes()) {
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("decoding the log line %s: %v", line, err)
		}
		got = append(got, e)
	}
	both := []string{origins[0].UploadID(), origins[1].UploadID()}
	slices.Sort(both)
	want := []entry{{Event: "apply_one_by_one", Uploads: both}, {Event: "publish_retry", Upload: origins[0].UploadID()}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("log entries (-want +got):\n%s", diff)
	}
}
