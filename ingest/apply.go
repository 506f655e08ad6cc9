package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/flavorless/flavorless/events"
)

// table stores favorites, and the ledger next to them.
type table interface {
	// Apply writes the rows that events.Decide selects, except those that a batch skips, and counts each batch once. It
	// returns a result for each batch. If it fails, it may have applied some batches. If comparing uploads that are newer
	// than a batch have been announced, it also writes the rows that repair returns for them, before it counts the batch.
	Apply(ctx context.Context, batches []events.Batch, repair events.Repair) ([]events.BatchResult, error)
}

// Applier writes batches to the table.
type Applier struct {
	Table  table
	Copies copies                  // of comparing uploads
	Group  func(person string) int // see Sorting.Group
	Log    *slog.Logger
}

// Apply applies the batches in the bodies of messages of type events.UpdatesType. It returns an error for each message:
// nil if the batch is applied and counted, events.ErrPermanent if it never can be, and any other error if the message
// has to be delivered again. If a call for all batches fails, they are applied one by one, so that one batch can't
// block the others.
func (a *Applier) Apply(ctx context.Context, bodies [][]byte) []error {
	errs := make([]error, len(bodies))
	batches := make([]events.Batch, 0, len(bodies))
	index := make([]int, 0, len(bodies)) // index in bodies of each batch
	for i, body := range bodies {
		b, err := events.DecodeBatch(body)
		if err != nil {
			errs[i] = fmt.Errorf("%w: %w", events.ErrPermanent, err)
			continue
		}
		batches, index = append(batches, b), append(index, i)
	}
	if len(batches) == 0 {
		return errs
	}
	err := a.apply(ctx, batches)
	if err == nil {
		return errs
	}
	if len(batches) == 1 || ctx.Err() != nil || errors.Is(err, events.ErrUnavailable) {
		for _, i := range index {
			errs[i] = err
		}
		return errs
	}
	log := a.Log.With(uploadAttr(batches, events.Batch.UploadID))
	log.WarnContext(ctx, "applying batches failed; applying them one by one", "event", "apply_one_by_one",
		"batches", len(batches), "error", err)
	for n, b := range batches {
		errs[index[n]] = a.apply(ctx, []events.Batch{b})
	}
	return errs
}

func (a *Applier) apply(ctx context.Context, batches []events.Batch) error {
	results, err := a.Table.Apply(ctx, batches, a.repair)
	if err != nil {
		return fmt.Errorf("applying %d batches, the first of which is %s: %w", len(batches), batches[0].ID(), err)
	}
	for i, r := range results {
		a.Log.DebugContext(ctx, "batch applied", "event", "batch_applied", "upload", batches[i].UploadID(),
			"batch", batches[i].ID(), "applied", r.Applied, "unchanged", r.Unchanged, "superseded", r.Superseded,
			"duplicate", r.Duplicate)
		if r.Settled != nil {
			logSettled(ctx, a.Log, r.Settled)
		}
	}
	return nil
}
