package dynamo

import (
	"context"
	"fmt"
	"slices"

	"github.com/flavorless/flavorless/events"
)

// Apply writes batches to the table and counts them, as the package documentation describes. The results are in the
// order of the batches. It does not modify the batches.
//
// A batch that was applied before, or occurs earlier in the same call, is a duplicate and is not counted. If several
// batches contain a row for the same person, the newest row is written and the others are superseded. A row that a
// comparing batch need not write is unchanged. If newer uploads are comparing, Apply also writes the rows that repair
// returns for them, before it counts the batches.
//
// After an error, a part may be done. The call may be repeated at any time by any process. If the tables throttle until
// shortly before the deadline of ctx, the error is [events.ErrUnavailable]; fewer batches per call would not help.
func (t *Table) Apply(
	ctx context.Context, batches []events.Batch, repair events.Repair,
) ([]events.BatchResult, error) {
	if len(batches) == 0 {
		return nil, nil
	}
	for _, b := range batches {
		if b.UploadID() == "" {
			return nil, fmt.Errorf("applying a batch: invalid origin %q: %w", b.Origin, events.ErrPermanent)
		}
	}
	parts := make([]part, len(batches))
	for i, b := range batches {
		parts[i] = part{Batch: b, id: b.ID()}
	}
	if err := t.findDuplicates(ctx, parts); err != nil {
		return nil, fmt.Errorf("looking for duplicates: %w", err)
	}
	f := newFold(parts)
	if err := t.store(ctx, f); err != nil {
		return nil, err
	}
	if err := t.repair(ctx, parts, repair); err != nil {
		return nil, err
	}
	f.count(parts)
	if err := t.record(ctx, parts); err != nil {
		return nil, markUnavailable(err)
	}
	results := make([]events.BatchResult, len(parts))
	for i, p := range parts {
		results[i] = p.result
	}
	return results, nil
}

// part is a batch of one call, and its result.
type part struct {
	events.Batch
	id     string
	result events.BatchResult
}

// findDuplicates finds batches that have markers, and batches that occur twice in the call.
func (t *Table) findDuplicates(ctx context.Context, parts []part) error {
	first := make(map[string]*part, len(parts))
	var keys []item
	for i := range parts {
		p := &parts[i]
		if first[p.id] != nil {
			p.result.Duplicate = true
			continue
		}
		first[p.id] = p
		keys = append(keys, item{"id": text(p.id)})
	}
	for some := range slices.Chunk(keys, maxKeys) {
		err := t.batchGet(ctx, t.cfg.Uploads, some, func(marker item) error {
			if p := first[textOf(marker["id"])]; p != nil {
				p.result.Duplicate = true
			}
			return nil
		}, "id")
		if err != nil {
			return err
		}
	}
	return nil
}
