package ingest

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/sortedcopy"
)

// publish publishes the rows of the copy in batches, from p.from.Positions on. If it stops before the end, it returns
// the rest. A batch has rows of one group. The groups take turns, because each is in one partition of the table, which
// would otherwise be the only one that is written to.
func (p *sortedPass) publish(ctx context.Context, rows *sortedcopy.Copy) (
	rest *events.Continuation, batches int64, err error,
) {
	compare, err := p.cfg.Ledger.BeginComparing(ctx, p.origin.UploadID())
	if err != nil {
		return nil, 0, err
	}
	out, streamCtx := publisher{p.cfg.Updates, p.cfg.Log}.stream(ctx)
	groups, err := p.openGroups(streamCtx, rows)
	defer func() {
		for _, g := range groups {
			g.stop()
		}
		if failed := out.close(streamCtx); failed != nil {
			rest, err = nil, failed // the cause of err, if any
		}
	}()
	if err != nil {
		return nil, 0, err
	}
	batch := events.NewSortedBatchWriter(p.origin, compare)
	for left := unfinished(groups); len(left) > 0; left = unfinished(left) {
		for _, g := range left {
			if batches > 0 && p.cfg.Pause != nil && p.cfg.Pause(ctx) {
				return p.rest(groups, batches), batches, nil
			}
			if err := g.fill(batch, p.cfg.BatchBytes); err != nil {
				return nil, batches, err
			}
			out.add(streamCtx, batch.Message())
			batches++
			if err := streamCtx.Err(); err != nil {
				return nil, batches, err
			}
		}
	}
	return nil, batches, nil
}

// rest returns the continuation from the current positions on.
func (p *sortedPass) rest(groups []*groupReader, batches int64) *events.Continuation {
	rest := &events.Continuation{
		Object: p.from.Object, Offset: p.from.Offset,
		Batches: p.from.Batches + batches, Count: p.from.Count + 1,
	}
	for _, g := range groups {
		rest.Offset += g.next - g.began
		rest.Positions = append(rest.Positions, g.next)
	}
	return rest
}

// openGroups returns a reader for each group of the copy, at the positions where publishing continues.
func (p *sortedPass) openGroups(ctx context.Context, rows *sortedcopy.Copy) ([]*groupReader, error) {
	spans := rows.Groups(p.cfg.Sorting.Group)
	if n := len(p.from.Positions); p.from.Sorted() && n != len(spans) {
		return nil, fmt.Errorf("continuing a sorted copy with %d groups at %d positions: %w",
			len(spans), n, events.ErrPermanent)
	}
	var groups []*groupReader
	for i, span := range spans {
		g := &groupReader{began: span.First, next: span.First, end: span.End}
		if p.from.Sorted() {
			g.began = p.from.Positions[i]
			g.next = g.began
		}
		if g.next < span.First || g.next > span.End {
			return groups, fmt.Errorf("continuing group %d of a sorted copy at row %d, which is not in %d to %d: %w",
				i, g.next, span.First, span.End, events.ErrPermanent)
		}
		g.pull, g.stop = iter.Pull2(rows.Rows(ctx, g.next))
		groups = append(groups, g)
	}
	return groups, nil
}

// groupReader reads the rows of one group. Positions are row numbers in the copy.
type groupReader struct {
	began, next, end int64
	pull             func() (events.Update, error, bool)
	stop             func()
}

func unfinished(groups []*groupReader) []*groupReader {
	return slices.DeleteFunc(slices.Clone(groups), (*groupReader).ended)
}

func (g *groupReader) ended() bool { return g.next == g.end }

// fill adds rows to the batch until it has the size or the group ends.
func (g *groupReader) fill(batch *events.BatchWriter, size int) error {
	for !g.ended() && batch.Size() < size {
		u, err, more := g.pull()
		if err != nil {
			return err
		}
		if !more {
			return fmt.Errorf("the sorted copy ends at row %d, not at %d", g.next, g.end)
		}
		batch.Add(u)
		g.next++
	}
	return nil
}
