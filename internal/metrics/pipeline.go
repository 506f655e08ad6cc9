package metrics

import (
	"context"
	"time"

	"github.com/flavorless/flavorless/events"
)

// table applies batches.
type table interface {
	Apply(ctx context.Context, batches []events.Batch, repair events.Repair) ([]events.BatchResult, error)
}

// Table measures the batches that Next applies.
type Table struct {
	Next     table
	Recorder Recorder
}

// Apply counts the rows of each batch once, as the ledger does: a duplicate adds no rows.
func (t Table) Apply(
	ctx context.Context, batches []events.Batch, repair events.Repair,
) ([]events.BatchResult, error) {
	results, err := t.Next.Apply(ctx, batches, repair)
	if err != nil {
		return results, err
	}
	var applied, unchanged, superseded, duplicates int64
	for _, result := range results {
		if result.Duplicate {
			duplicates++
		} else {
			applied, unchanged = applied+result.Applied, unchanged+result.Unchanged
			superseded += result.Superseded
		}
		recordSettled(t.Recorder, result.Settled)
	}
	count(t.Recorder, Rows, applied, "applied")
	count(t.Recorder, Rows, unchanged, "unchanged")
	count(t.Recorder, Rows, superseded, "superseded")
	count(t.Recorder, Batches, int64(len(results))-duplicates, "applied")
	count(t.Recorder, Batches, duplicates, "duplicate")
	return results, nil
}

// ledger records the progress of uploads.
type ledger interface {
	Begin(ctx context.Context, o events.Object, sort bool) (events.Upload, error)
	BeginComparing(ctx context.Context, id string) (bool, error)
	Seal(ctx context.Context, id string, r events.ReadSummary) (*events.Upload, error)
}

// Ledger measures the results of reading files.
type Ledger struct {
	Next     ledger
	Recorder Recorder
}

// Begin measures nothing.
func (l Ledger) Begin(ctx context.Context, o events.Object, sort bool) (events.Upload, error) {
	return l.Next.Begin(ctx, o, sort)
}

// BeginComparing measures nothing.
func (l Ledger) BeginComparing(ctx context.Context, id string) (bool, error) {
	return l.Next.BeginComparing(ctx, id)
}

// Seal counts the rows that are in no batch.
func (l Ledger) Seal(ctx context.Context, id string, r events.ReadSummary) (*events.Upload, error) {
	upload, err := l.Next.Seal(ctx, id, r)
	if err != nil {
		return upload, err
	}
	count(l.Recorder, Rows, r.Rejected, "rejected")
	count(l.Recorder, Rows, r.Superseded, "superseded")
	recordSettled(l.Recorder, upload)
	return upload, nil
}

// recordSettled records an upload that has just become live or failed; u is nil if none has.
func recordSettled(r Recorder, u *events.Upload) {
	if u == nil {
		return
	}
	r.Count(Uploads, 1, Label{"status", string(u.Status)})
	if u.Status == events.Live {
		r.Observe(UploadToLive, u.Settled.Sub(u.Uploaded))
	}
}

func count(r Recorder, name string, n int64, outcome string) {
	if n > 0 {
		r.Count(name, n, Label{"outcome", outcome})
	}
}

// announcer announces changes.
type announcer interface {
	Announce(ctx context.Context, changes []events.Change) []error
}

// Announcer measures the changes that Next announces. A change that is announced twice counts twice.
type Announcer struct {
	Next     announcer
	Recorder Recorder
	Clock    func() time.Time // if nil, the delay of changes is not measured
}

// Announce counts the changes that were announced.
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
