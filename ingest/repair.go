package ingest

import (
	"context"
	"errors"
	"fmt"

	"github.com/flavorless/flavorless/events"
)

// repair implements [events.Repair] with the sorted copies of the newer uploads. Copies are kept for longer than any
// delivery can be late. If one is gone nevertheless, the batches can't be applied, because whether their rows are the
// newest is unknown.
func (a *Applier) repair(
	ctx context.Context, newer []events.Origin, batches []events.Batch,
) ([]events.Batch, error) {
	var repairs []events.Batch
	for _, origin := range newer {
		var persons []string
		for _, b := range batches {
			if b.Origin < origin {
				for _, row := range b.Rows {
					persons = append(persons, row.Person)
				}
			}
		}
		rows, err := a.lookup(ctx, origin.UploadID(), persons)
		if err != nil {
			return nil, err
		}
		if len(rows) > 0 {
			repairs = append(repairs, events.Batch{Origin: origin, First: rows[0].Offset, Rows: rows})
		}
	}
	a.Log.InfoContext(ctx, "batches of an older upload arrived late", "event", "batches_late",
		"upload", batches[0].UploadID(), "batches", len(batches), "newer_uploads", len(newer))
	return repairs, nil
}

func (a *Applier) lookup(ctx context.Context, upload string, persons []string) ([]events.Update, error) {
	rows, err := openCopy(ctx, a.Copies, upload)
	if errors.Is(err, events.ErrObjectGone) {
		return nil, fmt.Errorf("%w: the batch arrived after the newer upload %s, whose sorted copy %s is gone from the "+
			"reports bucket: restore it, or upload the newest file again and delete the batch: %w",
			events.ErrPermanent, upload, CopyKey(upload), err)
	}
	if err != nil {
		return nil, err
	}
	return rows.Lookup(ctx, persons, a.Group)
}
