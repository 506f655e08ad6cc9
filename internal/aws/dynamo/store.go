package dynamo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"

	"github.com/flavorless/flavorless/events"
)

// store reads the stored rows of the people, and writes the rows that are newer, 25 at a time. It reads the people of
// comparing batches by ranges, and the others by keys, a hundred at a time. It reads and writes concurrently, so that a
// throttled table is never idle.
func (t *Table) store(ctx context.Context, f *fold) error {
	s := storing{Table: t, fold: f, expires: t.expiry()}
	ranges, others := f.split()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(t.cfg.Concurrency)
	s.group = g
	for _, rows := range ranges {
		g.Go(func() error { return s.storeRange(gctx, rows) })
	}
	for some := range slices.Chunk(others, maxKeys) {
		g.Go(func() error { return s.storeKeys(gctx, some) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return t.write(ctx, s.newer.rows, s.expires)
}

// storing is the state of one call of store.
type storing struct {
	*Table
	fold    *fold
	expires types.AttributeValue
	newer   pending
	group   *errgroup.Group
}

// run runs a function in the group or, if the group is full, in the goroutine of the caller. It is for functions of the
// group, which must not wait for it.
func (s *storing) run(f func() error) error {
	if s.group.TryGo(f) {
		return nil
	}
	return f()
}

// storeKeys reads the stored rows of up to maxKeys people by keys, and writes the rows that are newer.
func (s *storing) storeKeys(ctx context.Context, rows []*row) error {
	keys := make([]item, len(rows))
	attributes := []string{"person", "version"}
	for i, r := range rows {
		keys[i] = s.key(r.Person)
		if r.compare && len(attributes) == 2 {
			attributes = append(attributes, "flavor")
		}
	}
	err := s.batchGet(ctx, s.cfg.Favorites, keys, func(found item) error {
		i, asked := s.fold.index[textOf(found["person"])]
		if !asked {
			return errors.New("DynamoDB returned an item that was not requested")
		}
		s.fold.rows[i].decide(found)
		return nil
	}, attributes...)
	if err != nil {
		return fmt.Errorf("reading stored versions: %w", err)
	}
	return s.writeNewer(ctx, rows)
}

// writeNewer writes the rows whose outcome is that they have to be written. Up to maxStatements-1 of them remain for
// the next call.
func (s *storing) writeNewer(ctx context.Context, rows []*row) error {
	for _, full := range s.newer.add(rows) {
		if err := s.run(func() error { return s.write(ctx, full, s.expires) }); err != nil {
			return err
		}
	}
	return nil
}

// pending collects rows to write.
type pending struct {
	mu   sync.Mutex
	rows []*row // fewer than maxStatements
}

// add adds the rows that are newer than the stored ones. It removes and returns as many full calls of rows as there
// are.
func (p *pending) add(rows []*row) (full [][]*row) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range rows {
		if r.outcome != events.Applied {
			continue
		}
		if p.rows = append(p.rows, r); len(p.rows) == maxStatements {
			full = append(full, p.rows)
			p.rows = nil
		}
	}
	return full
}

func (t *Table) key(person string) item {
	return item{"shard": t.shards[ShardOf(person)], "person": text(person)}
}
