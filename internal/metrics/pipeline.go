package metrics

import (
	"context"
	"time"

	"github.com/flavorless/flavorless/events"
)

// table is where batches are applied.
type table interface {
	Apply(ctx context.Context, batches []events.Batch) ([]events.BatchResult, error)
}

// Table measures what becomes of the batches that Next applies.
type Table struct {
	Next     table
	Recorder Recorder
}

// Apply counts each batch once, as the ledger does: a duplicate adds no rows.
func (t Table) Apply(ctx context.Context, batches []events.Batch) ([]events.BatchResult, error) {
	tallies, err := t.Next.Apply(ctx, batches)
	if err != nil {
		return tallies, err
	}
	var applied, superseded, duplicates int64
	for _, tally := range tallies {
		if tally.Duplicate {
			duplicates++
		} else {
			applied, superseded = applied+tally.Applied, superseded+tally.Superseded
		}
		settled(t.Recorder, tally.Settled)
	}
	count(t.Recorder, Rows, applied, "applied")
	count(t.Recorder, Rows, superseded, "superseded")
	count(t.Recorder, Batches, int64(len(tallies))-duplicates, "applied")
	count(t.Recorder, Batches, duplicates, "duplicate")
	return tallies, nil
}

// ledger records how far uploads are.
type ledger interface {
	Begin(ctx context.Context, o events.Object) (events.Upload, error)
	Seal(ctx context.Context, id string, r events.ReadSummary) (*events.Upload, error)
}

// Ledger measures what reading files ends in.
type Ledger struct {
	Next     ledger
	Recorder Recorder
}

// Begin measures nothing: an upload that has begun is not yet anything.
func (l Ledger) Begin(ctx context.Context, o events.Object) (events.Upload, error) {
	return l.Next.Begin(ctx, o)
}

// Seal counts rejected rows, which no batch has.
func (l Ledger) Seal(ctx context.Context, id string, r events.ReadSummary) (*events.Upload, error) {
	upload, err := l.Next.Seal(ctx, id, r)
	if err != nil {
		return upload, err
	}
	count(l.Recorder, Rows, r.Rejected, "rejected")
	settled(l.Recorder, upload)
	return upload, nil
}

// settled takes the one report of an upload's becoming live or failed.
func settled(to Recorder, u *events.Upload) {
	if u == nil {
		return
	}
	to.Count(Uploads, 1, Label{"status", string(u.Status)})
	if u.Status == events.Live {
		to.Observe(UploadToLive, u.Settled.Sub(u.Uploaded))
	}
}

func count(to Recorder, name string, n int64, outcome string) {
	if n > 0 {
		to.Count(name, n, Label{"outcome", outcome})
	}
}

// announcer tells subscribers of changes.
type announcer interface {
	Announce(ctx context.Context, changes []events.Change) []error
}

// Announcer measures what Next announces. It counts changes again that are announced again.
type Announcer struct {
	Next     announcer
	Recorder Recorder
	Clock    func() time.Time // nil: how late changes are is not measured
}

// Announce counts the changes that are announced.
func (a Announcer) Announce(ctx context.Context, changes []events.Change) []error {
	errs := a.Next.Announce(ctx, changes)
	var now time.Time
	if a.Clock != nil {
		now = a.Clock()
	}
	kinds := map[events.Kind]int64{}
	for i, c := range changes {
		if errs[i] != nil {
			continue
		}
		kinds[c.Kind]++
		if a.Clock != nil {
			a.Recorder.Observe(ChangeDelay, now.Sub(c.Version.Time()))
		}
	}
	for kind, n := range kinds {
		a.Recorder.Count(Changes, n, Label{"kind", string(kind)})
	}
	return errs
}
