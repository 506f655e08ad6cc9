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

// Apply writes batches to the table and counts them; the package's comment tells how. The tallies are in the order of the
// batches. It leaves the batches as they are.
//
// A batch that was applied before, also earlier in the same call, is a duplicate: it is not counted. Where several
// batches of a call name one person, the newest row is written and the others are superseded.
//
// After an error some of it may have happened. The same call may be repeated, at any time, by anyone. If the tables throttle
// until shortly before the deadline of ctx, the error is events.ErrUnavailable: fewer batches at a time would not help.
func (t *Table) Apply(ctx context.Context, batches []events.Batch) ([]events.BatchResult, error) {
	if len(batches) == 0 {
		return nil, nil
	}
	for _, b := range batches {
		if b.UploadID() == "" {
			return nil, fmt.Errorf("applying a batch: origin %q: %w", b.Origin, events.ErrPermanent)
		}
	}
	parts := make([]part, len(batches))
	for i, b := range batches {
		parts[i] = part{Batch: b, id: b.ID()}
	}
	if err := t.findDuplicates(ctx, parts); err != nil {
		return nil, fmt.Errorf("looking for what is applied already: %w", err)
	}
	f := newFold(parts)
	if err := t.store(ctx, f); err != nil {
		return nil, err
	}
	f.count(parts)
	if err := t.record(ctx, parts); err != nil {
		return nil, marked(err)
	}
	tallies := make([]events.BatchResult, len(parts))
	for i, p := range parts {
		tallies[i] = p.tally
	}
	return tallies, nil
}

// part is a batch of one call, and what becomes of it.
type part struct {
	events.Batch
	id    string
	tally events.BatchResult
}

// findDuplicates looks for the markers of the batches, and for batches that the call has twice.
func (t *Table) findDuplicates(ctx context.Context, parts []part) error {
	first := make(map[string]*part, len(parts))
	var keys []item
	for i := range parts {
		p := &parts[i]
		if first[p.id] != nil {
			p.tally.Duplicate = true
			continue
		}
		first[p.id] = p
		keys = append(keys, item{"id": text(p.id)})
	}
	for some := range slices.Chunk(keys, mostKeys) {
		err := t.getSome(ctx, t.cfg.Uploads, some, func(marker item) error {
			if p := first[textOf(marker["id"])]; p != nil {
				p.tally.Duplicate = true
			}
			return nil
		}, "id")
		if err != nil {
			return err
		}
	}
	return nil
}

// fold is the newest row of each person among the batches that are no duplicates.
type fold struct {
	rows  []row
	index map[string]int // of each person among rows
}

// row is a candidate to be written.
type row struct {
	events.Update
	origin  events.Origin
	version events.Version
	stored  bool // something is, so far as we know
	outcome events.Outcome
}

func newFold(parts []part) *fold {
	n := 0
	for _, p := range parts {
		if !p.tally.Duplicate {
			n += len(p.Rows)
		}
	}
	f := &fold{rows: make([]row, 0, n), index: make(map[string]int, n)}
	for _, p := range parts {
		if p.tally.Duplicate {
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
	for i := range f.rows { // only now: a version costs memory
		f.rows[i].version = f.rows[i].origin.At(f.rows[i].Offset)
	}
	return f
}

func newer(origin events.Origin, offset int64, than *row) bool {
	return origin > than.origin || origin == than.origin && offset > than.Offset
}

// count tallies every row of the batches by what became of its person's newest one.
func (f *fold) count(parts []part) {
	for i := range parts {
		p := &parts[i]
		if p.tally.Duplicate {
			continue
		}
		for _, u := range p.Rows {
			// The very same row in two batches, as after a change of their size, has one outcome.
			newest := &f.rows[f.index[u.Person]]
			if newer(newest.origin, newest.Offset, &row{Update: u, origin: p.Origin}) || newest.outcome == events.Superseded {
				p.tally.Superseded++
			} else {
				p.tally.Applied++
			}
		}
	}
}

// store reads what is stored of the people, a hundred at a time, and writes the rows that are newer, 25 at a time. It
// writes while it reads: a throttled table has to be kept busy with both.
func (t *Table) store(ctx context.Context, f *fold) error {
	expires := t.expiry()
	var newer pending
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(t.cfg.Concurrency)
	for some := range slices.Chunk(f.rows, mostKeys) {
		g.Go(func() error {
			if err := t.learn(gctx, f, some); err != nil {
				return fmt.Errorf("learning what is stored: %w", err)
			}
			for _, full := range newer.add(some) {
				write := func() error { return t.write(gctx, full, expires) }
				if g.TryGo(write) {
					continue
				}
				if err := write(); err != nil { // the group is full, and waiting for it in one of its goroutines could last for ever
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

// pending gathers rows that are to be written.
type pending struct {
	mu   sync.Mutex
	rows []*row // fewer than mostStatements
}

// add adds those of the rows that are newer than what is stored, and takes as many calls' worth of rows as there are.
func (p *pending) add(rows []row) (full [][]*row) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range rows {
		if rows[i].outcome != events.Applied {
			continue
		}
		if p.rows = append(p.rows, &rows[i]); len(p.rows) == mostStatements {
			full = append(full, p.rows)
			p.rows = nil
		}
	}
	return full
}

// learn reads what is stored of up to mostKeys people, and decides what need not be written.
func (t *Table) learn(ctx context.Context, f *fold, rows []row) error {
	keys := make([]item, len(rows))
	for i := range rows {
		keys[i] = t.key(rows[i].Person)
	}
	return t.getSome(ctx, t.cfg.Favorites, keys, func(found item) error {
		i, asked := f.index[textOf(found["person"])]
		if !asked {
			return errors.New("DynamoDB returned the item of a person who was not asked for")
		}
		f.rows[i].decide(found)
		return nil
	}, "person", "version")
}

// decide holds the row against what is stored.
func (r *row) decide(stored item) {
	r.stored = true
	r.outcome = events.Decide(events.Version(textOf(stored["version"])), r.version)
}

func (t *Table) key(person string) item {
	return item{"shard": t.shards[shardOf(person)], "person": text(person)}
}
