package conformance

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/testutil"
)

func beginsOnce(t *testing.T, h *harness) {
	o := h.object(0)
	first := h.begin(t, o)
	want := events.Upload{
		ID: o.UploadID(), Bucket: o.Bucket, Key: o.Key, VersionID: o.VersionID, ETag: o.ETag, Size: o.Size,
		Status: events.Publishing, Rejects: []events.Reject{}, Uploaded: o.Time,
	}
	same(t, "record", first, want, cmpopts.IgnoreFields(events.Upload{}, "Started"))
	if s := first.Started; s.IsZero() || s.Location() != time.UTC || s.Truncate(time.Millisecond) != s {
		t.Errorf("started at %v, want milliseconds in UTC", s)
	}
	h.apply(t, batch(t, o, 0, "andy=1"))
	again := h.begin(t, o)
	first.Counts = events.Counts{Applied: 1, BatchesApplied: 1}
	same(t, "record when the event comes again", again, first)
	same(t, "record as read", h.upload(t, o.UploadID()), first)
}

// recordsSorting checks that the first Begin decides, also if Apply has created the record before.
func recordsSorting(t *testing.T, h *harness) {
	for _, test := range []struct{ sort, applied bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
		o := h.object(0)
		if test.applied {
			h.apply(t, batch(t, o, 0, "andy=1"))
			same(t, "sorted before Begin", h.upload(t, o.UploadID()).Sorted, false)
		}
		same(t, "sorted", h.beginSorted(t, o, test.sort).Sorted, test.sort)
		same(t, "sorted when the event comes again", h.beginSorted(t, o, !test.sort).Sorted, test.sort)
		h.apply(t, batch(t, o, 0, "andy=1"))
		settled := h.seal(t, o.UploadID(), events.ReadSummary{Format: "csv", Rows: 1, Batches: 1, At: epoch()})
		if settled == nil {
			t.Fatal("Seal did not settle the upload")
		}
		same(t, "sorted when settled", settled.Sorted, test.sort)
		same(t, "sorted as read", h.upload(t, o.UploadID()).Sorted, test.sort)
	}
}

func refusesSequencer(t *testing.T, h *harness) {
	o := h.object(0)
	o.Sequencer = "no number"
	if _, err := h.Begin(context.Background(), o, false); !errors.Is(err, events.ErrPermanent) {
		t.Errorf("Begin = %v, want events.ErrPermanent", err)
	}
}

func statusOfAnUpload(t *testing.T, h *harness) {
	o := h.object(0)
	u := h.begin(t, o)
	a, b := batch(t, o, 0, "andy=1", "andy=2"), batch(t, o, 40, "ben=1")
	if result := h.apply(t, a)[0]; result.Settled != nil {
		t.Error("Apply settled the upload before it was sealed")
	}
	want := u
	want.Counts = events.Counts{Applied: 1, Superseded: 1, BatchesApplied: 1}
	same(t, "while publishing", h.upload(t, u.ID), want)

	r := events.ReadSummary{Format: "csv", Rows: 3, Batches: 2, At: epoch().Add(time.Second)}
	if settled := h.seal(t, u.ID, r); settled != nil {
		t.Error("Seal settled the upload before its last batch was applied")
	}
	want.Status, want.Format, want.Published = events.Applying, "csv", r.At
	want.Counts.Rows, want.Counts.Batches = 3, 2
	same(t, "while applying", h.upload(t, u.ID), want)

	results := h.apply(t, a, b, a) // the duplicates settle nothing
	if results[0].Settled != nil || results[1].Settled == nil || results[2].Settled != nil {
		t.Fatalf("results = %+v; want the upload settled by the second batch", results)
	}
	got := h.upload(t, u.ID)
	same(t, "record in the result", *results[1].Settled, got)
	want.Status = events.Live
	want.Counts.Applied, want.Counts.BatchesApplied = 2, 2
	same(t, "when live", got, want, cmpopts.IgnoreFields(events.Upload{}, "Settled"))
	if s := got.Settled; s.IsZero() || s.Location() != time.UTC || s.Truncate(time.Millisecond) != s {
		t.Errorf("settled at %v, want milliseconds in UTC", s)
	}
	if again := h.apply(t, a, b); again[0].Settled != nil || again[1].Settled != nil {
		t.Error("the upload was settled twice")
	}
	same(t, "after a repeated delivery", h.upload(t, u.ID), got)
}

func sealsEmpty(t *testing.T, h *harness) {
	for _, r := range []events.ReadSummary{
		{Format: "csv", At: epoch()},
		{
			Format: "csv", Rows: 1, Rejected: 1, At: epoch(),
			Rejects: []events.Reject{{Line: 2, Code: events.MissingFlavor}},
		},
		{Failure: &events.Failure{Code: events.ObjectVanished, Reason: "gone"}, At: epoch()},
	} {
		u := h.begin(t, h.object(0))
		settled := h.seal(t, u.ID, r)
		if settled == nil {
			t.Fatalf("Seal(%+v) did not settle the upload", r)
		}
		want := events.Live
		if r.Failure != nil {
			want = events.Failed
		}
		same(t, "status", settled.Status, want)
		same(t, "failure", settled.Failure, r.Failure)
		same(t, "counts", settled.Counts, events.Counts{Rows: r.Rows, Rejected: r.Rejected})
		same(t, "record", h.upload(t, u.ID), *settled)
	}
}

func sealsOnce(t *testing.T, h *harness) {
	u := h.begin(t, h.object(0))
	if h.seal(t, u.ID, events.ReadSummary{Format: "csv", At: epoch()}) == nil {
		t.Fatal("Seal did not settle the upload")
	}
	want := h.upload(t, u.ID)
	again := events.ReadSummary{Rows: 5, Rejected: 5, Failure: &events.Failure{Code: events.ObjectVanished}, At: epoch()}
	if h.seal(t, u.ID, again) != nil {
		t.Error("the upload was settled twice")
	}
	same(t, "record", h.upload(t, u.ID), want)
}

func sealsUnknown(t *testing.T, h *harness) {
	_, err := h.Seal(context.Background(), h.object(0).UploadID(), events.ReadSummary{At: epoch()})
	if !errors.Is(err, events.ErrNotFound) {
		t.Errorf("Seal = %v, want events.ErrNotFound", err)
	}
}

func sealsLast(t *testing.T, h *harness) {
	o := h.object(0)
	u := h.begin(t, o)
	h.apply(t, batch(t, o, 0, "andy=1"), batch(t, o, 20, "ben=1"))
	settled := h.seal(t, u.ID, events.ReadSummary{Rows: 3, Rejected: 1, Batches: 2, At: epoch()})
	if settled == nil || settled.Status != events.Live {
		t.Fatalf("Seal = %+v, want a live upload", settled)
	}
	same(t, "counts", settled.Counts, events.Counts{Rows: 3, Applied: 2, Rejected: 1, Batches: 2, BatchesApplied: 2})
}

func appliesBeforeBegin(t *testing.T, h *harness) {
	o := h.object(7)
	h.apply(t, batch(t, o, 0, "andy=1"))
	early := h.upload(t, o.UploadID())
	same(t, "status", early.Status, events.Publishing)
	same(t, "uploaded", early.Uploaded, o.Time)
	u := h.begin(t, o)
	want := events.Upload{
		ID: o.UploadID(), Bucket: o.Bucket, Key: o.Key, VersionID: o.VersionID, ETag: o.ETag, Size: o.Size,
		Status: events.Publishing, Rejects: []events.Reject{}, Uploaded: o.Time,
		Counts: events.Counts{Applied: 1, BatchesApplied: 1},
	}
	same(t, "record", u, want, cmpopts.IgnoreFields(events.Upload{}, "Started"))
	if u.Started.IsZero() {
		t.Error("Started is zero")
	}
	if settled := h.seal(t, u.ID, events.ReadSummary{Rows: 1, Batches: 1, At: epoch()}); settled == nil {
		t.Error("Seal did not settle the upload")
	}
}

func failsLate(t *testing.T, h *harness) {
	o := h.object(0)
	u := h.begin(t, o)
	failure := events.Failure{Code: events.UnclosedQuote, Reason: "close the quote", Line: 9, Column: 3, Offset: 40}
	r := events.ReadSummary{Format: "csv", Rows: 3, Rejected: 1, Batches: 2, Failure: &failure, At: epoch()}
	if h.seal(t, u.ID, r) != nil {
		t.Fatal("Seal settled the upload before its batches were applied")
	}
	got := h.upload(t, u.ID)
	same(t, "status", got.Status, events.Applying)
	same(t, "failure", got.Failure, &failure)
	h.apply(t, batch(t, o, 0, "andy=1"))
	result := h.apply(t, batch(t, o, 20, "ben=1"))[0]
	if result.Settled == nil || result.Settled.Status != events.Failed {
		t.Fatalf("the upload settled as %+v, want it failed", result.Settled)
	}
	want := events.Counts{Rows: 3, Applied: 2, Rejected: 1, Batches: 2, BatchesApplied: 2}
	same(t, "counts", result.Settled.Counts, want)
}

// failsWithMore covers a process that published three batches and was killed before Seal; when the event came again,
// the object was gone. The published batches are in the table and have to be in the counts.
func failsWithMore(t *testing.T, h *harness) {
	o := h.object(0)
	u := h.begin(t, o)
	h.apply(t, batch(t, o, 0, "andy=1", "andy=2"), batch(t, o, 40, "ben=1"))
	settled := h.seal(t, u.ID, events.ReadSummary{Failure: &events.Failure{Code: events.ObjectVanished}, At: epoch()})
	if settled == nil {
		t.Fatal("Seal did not settle the upload")
	}
	same(t, "counts", settled.Counts, events.Counts{Rows: 3, Applied: 2, Superseded: 1, Batches: 2, BatchesApplied: 2})
	if result := h.apply(t, batch(t, o, 60, "cleo=1"))[0]; result.Settled != nil {
		t.Error("the upload was settled twice")
	}
	got := h.upload(t, u.ID)
	same(t, "counts", got.Counts, events.Counts{Rows: 4, Applied: 3, Superseded: 1, Batches: 3, BatchesApplied: 3})
	same(t, "status", got.Status, events.Failed)
}

func keepsRejects(t *testing.T, h *harness) {
	u := h.begin(t, h.object(0))
	var rejects []events.Reject
	for i := range int64(events.MaxRejects + 10) {
		rejects = append(rejects, events.Reject{
			Line: i + 2, Column: 3, Offset: i * 20, Code: events.TooLong, Reason: "shorten it", Raw: "an\x00dy,\"\ufffd🍦\"",
		})
	}
	n := int64(len(rejects))
	const report = "s3://reports/x/rejects.ndjson"
	h.seal(t, u.ID, events.ReadSummary{Rows: n, Rejected: n, Rejects: rejects, RejectsAt: report, At: epoch()})
	got := h.upload(t, u.ID)
	same(t, "rejects", got.Rejects, rejects[:events.MaxRejects])
	same(t, "location of the report", got.RejectsAt, report)
}

func listsUploads(t *testing.T, h *harness) {
	var want []string
	for _, ms := range []int{4, 3, 2, 1, 0} {
		want = append(want, h.object(ms).UploadID())
	}
	h.keys.Store(0)
	objects := map[int]events.Object{}
	for _, ms := range []int{4, 3, 2, 1, 0} {
		objects[ms] = h.object(ms)
	}
	for _, ms := range []int{2, 0, 4, 1, 3} {
		h.begin(t, objects[ms])
	}
	list := func() (got []string) {
		for before := ""; ; before = got[len(got)-1] {
			page, err := h.Uploads(context.Background(), before, 2)
			if err != nil {
				t.Fatal(err)
			}
			for _, u := range page {
				got = append(got, u.ID)
				if u.Rejects != nil {
					t.Errorf("the list has rejects %v, want none", u.Rejects)
				}
			}
			if len(page) < 2 {
				return got
			}
		}
	}
	// On DynamoDB the list is a secondary index, which is updated a moment later.
	testutil.WaitFor(t, "the list to have all uploads in order", func() bool { return slices.Equal(list(), want) })
	if _, err := h.Uploads(context.Background(), "00000000000000000000000000", 2); !errors.Is(err, events.ErrNotFound) {
		t.Errorf("Uploads before an unknown upload = %v, want events.ErrNotFound", err)
	}
}
