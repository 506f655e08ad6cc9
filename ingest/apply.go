package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/flavorless/flavorless/events"
)

// table is where favorites live, with the ledger beside them.
type table interface {
	// Apply writes the rows of each batch by the rule of the table (events.Decide), and records and counts each batch
	// once. It returns a tally per batch, or an error and may then have applied some of them.
	Apply(ctx context.Context, batches []events.Batch) ([]events.BatchResult, error)
}

// Applier writes batches of updates to the table.
type Applier struct {
	Table table
	Log   *slog.Logger
}

// Apply takes the bodies of messages of type events.UpdatesType, and returns one error per message: nil when it is
// applied and counted, events.ErrPermanent when it never can be, any other when it should come again. One message that
// fails does not hold up the others.
func (a *Applier) Apply(ctx context.Context, bodies [][]byte) []error {
	errs := make([]error, len(bodies))
	batches := make([]events.Batch, 0, len(bodies))
	index := make([]int, 0, len(bodies)) // of each batch among bodies
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
	a.Log.With(about(ofBatches(batches))).WarnContext(ctx, "applying one by one", "batches", len(batches), "error", err)
	for n, b := range batches {
		errs[index[n]] = a.apply(ctx, []events.Batch{b})
	}
	return errs
}

func (a *Applier) apply(ctx context.Context, batches []events.Batch) error {
	tallies, err := a.Table.Apply(ctx, batches)
	if err != nil {
		return fmt.Errorf("applying %d batches from %s on: %w", len(batches), batches[0].ID(), err)
	}
	for i, t := range tallies {
		a.Log.DebugContext(ctx, "applied", "upload", batches[i].UploadID(), "batch", batches[i].ID(), "applied", t.Applied,
			"superseded", t.Superseded, "duplicate", t.Duplicate)
		if t.Settled != nil {
			logSettled(ctx, a.Log, t.Settled)
		}
	}
	return nil
}
