package dynamo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/flavorless/flavorless/events"
)

// Apply writes batches to the table and counts them, as the package documentation describes. The results are in the
// order of the batches. It does not modify the batches.
//
// A batch that was applied before, or occurs earlier in the same call, is a duplicate and is not counted. If several
// batches contain a row for the same person, the newest row is written and the others are superseded.
//
// After an error, a part may be done. The call may be repeated at any time by any process. If the tables throttle until
// shortly before the deadline of ctx, the error is [events.ErrUnavailable]; fewer batches per call would not help.
func (t *Table) Apply(ctx context.Context, batches []events.Batch) ([]events.BatchResult, error) {
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

// fold is the newest row of each person in the batches that are no duplicates.
type fold struct {
	rows  []row
	index map[string]int // index of each person in rows
}

// row is a row that may be written.
type row struct {
	events.Update
	origin  events.Origin
	version events.Version
	stored  bool // the person was found in the table
	outcome events.Outcome
}

func newFold(parts []part) *fold {
	n := 0
	for _, p := range parts {
		if !p.result.Duplicate {
			n += len(p.Rows)
		}
	}
	f := &fold{rows: make([]row, 0, n), index: make(map[string]int, n)}
	for _, p := range parts {
		if p.result.Duplicate {
			continue
		}
		for _, u := range p.Rows {
			mine := row{Update: u, origin: p.Origin, outcome: events.Applied}
			if i, met := f.index[u.Person]; !met {
				f.index[u.Person] = len(f.rows)
				f.rows = append(f.rows, mine)
			} else if newer(p.Origin, u.Offset, &f.rows[i]) {
				f.rows[i] = mine
			}
		}
	}
	for i := range f.rows { // not before, because a version takes memory
		f.rows[i].version = f.rows[i].origin.At(f.rows[i].Offset)
	}
	return f
}

func newer(origin events.Origin, offset int64, than *row) bool {
	return origin > than.origin || origin == than.origin && offset > than.Offset
}

// count counts every row of the batches by the outcome of its person's newest row.
func (f *fold) count(parts []part) {
	for i := range parts {
		p := &parts[i]
		if p.result.Duplicate {
			continue
		}
		for _, u := range p.Rows {
			// The same row may be in two batches, after a change of their size. Both have the same outcome.
			newest := &f.rows[f.index[u.Person]]
			if newer(newest.origin, newest.Offset, &row{Update: u, origin: p.Origin}) || newest.outcome == events.Superseded {
				p.result.Superseded++
			} else {
				p.result.Applied++
			}
		}
	}
}

// store reads the stored versions of the people, a hundred at a time, and writes the rows that are newer, 25 at a time.
// It reads and writes concurrently, so that a throttled table is never idle.
func (t *Table) store(ctx context.Context, f *fold) error {
	expires := t.expiry()
	var newer pending
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(t.cfg.Concurrency)
	for some := range slices.Chunk(f.rows, maxKeys) {
		g.Go(func() error {
			if err := t.compare(gctx, f, some); err != nil {
				return fmt.Errorf("reading stored versions: %w", err)
			}
			for _, full := range newer.add(some) {
				write := func() error { return t.write(gctx, full, expires) }
				if g.TryGo(write) {
					continue
				}
				if err := write(); err != nil { // the group is full, and one of its own goroutines must not wait for it
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return t.write(ctx, newer.rows, expires)
}

// pending collects rows to write.
type pending struct {
	mu   sync.Mutex
	rows []*row // fewer than maxStatements
}

// add adds the rows that are newer than the stored ones. As soon as there are enough rows for a call of
// BatchExecuteStatement, it removes and returns them.
func (p *pending) add(rows []row) (full [][]*row) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range rows {
		if rows[i].outcome != events.Applied {
			continue
		}
		if p.rows = append(p.rows, &rows[i]); len(p.rows) == maxStatements {
			full = append(full, p.rows)
			p.rows = nil
		}
	}
	return full
}

// compare reads the stored versions of up to maxKeys people and decides which rows need not be written.
func (t *Table) compare(ctx context.Context, f *fold, rows []row) error {
	keys := make([]item, len(rows))
	for i := range rows {
		keys[i] = t.key(rows[i].Person)
	}
	return t.batchGet(ctx, t.cfg.Favorites, keys, func(found item) error {
		i, asked := f.index[textOf(found["person"])]
		if !asked {
			return errors.New("DynamoDB returned an item that was not requested")
		}
		f.rows[i].decide(found)
		return nil
	}, "person", "version")
}

// decide sets the row's outcome by comparing it with the stored item.
func (r *row) decide(stored item) {
	r.stored = true
	r.outcome = events.Decide(events.Version(textOf(stored["version"])), r.version)
}

func (t *Table) key(person string) item {
	return item{"shard": t.shards[shardOf(person)], "person": text(person)}
}
