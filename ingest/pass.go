package ingest

import (
	"context"
	"errors"
	"io"

	"github.com/flavorless/flavorless/events"
)

// pass reads a file, or the rest of it, once: it publishes rows in batches and writes rejected rows to the report.
type pass struct {
	*Ingester
	from    events.Continuation
	rejects *rejectLog
	batch   *events.BatchWriter
	out     *stream

	rows     *Rows
	batches  int64                // published by this pass
	rejected int                  // since the current batch began
	pause    bool                 // whether to stop at the next row
	rest     *events.Continuation // what remains after a stop; nil otherwise
}

// batchRejects is the number of rejected rows that end a batch regardless of its size. Otherwise the reading of a file
// with only bad rows could never pause.
const batchRejects = 10_000

var errPaused = errors.New("paused")

// run reads and publishes until the end of the file or a pause. It returns the summary of the whole file up to there,
// and after a pause the rest.
func (p *pass) run(ctx context.Context, body io.Reader, o Options) (events.ReadSummary, *events.Continuation, error) {
	summary, err := p.readRows(ctx, body, o)
	if err == nil && p.batch.Rows() > 0 {
		err = p.cut(ctx)
	}
	if err != nil && !errors.Is(err, errPaused) {
		return events.ReadSummary{}, nil, err
	}
	summary.Rows += p.from.Rows
	summary.Rejected += p.from.Rejected
	summary.Batches = p.from.Batches + p.batches
	if p.rest != nil {
		p.rest.Rows += summary.Rows
		p.rest.Rejected += summary.Rejected
		p.rest.Batches = summary.Batches
	}
	return summary, p.rest, nil
}

// readRows reads rows from p.from.Offset. The body starts at that offset if p.from has the reader's state, and at the
// beginning of the file otherwise.
func (p *pass) readRows(ctx context.Context, body io.Reader, o Options) (events.ReadSummary, error) {
	name, offset := p.from.Object.Key, p.from.Offset
	var err error
	if state := p.from.Reader; state != nil {
		p.rows, err = Continue(body, name, o, offset, *state)
	} else {
		p.rows, err = OpenAt(body, name, o, offset)
	}
	if err != nil {
		return asFailure(events.ReadSummary{}, err)
	}
	defer p.rows.Close()
	return p.rows.each(
		func(u events.Update) error { return p.accept(ctx, u) },
		func(r *events.Reject) error { return p.reject(ctx, r) })
}

// stop ends the reading before the row at offset. Rejected is 1 if that row is rejected. Rows.each has already counted
// the row, but the next pass reads it again. Therefore the counts of the rest begin at -1 and -rejected; run adds those
// of this pass.
func (p *pass) stop(offset, rejected int64) error {
	p.rest = &events.Continuation{
		Object: p.from.Object, Offset: offset, Rows: -1, Rejected: -rejected,
		Count: p.from.Count + 1, Reader: p.rows.State(offset),
	}
	return errPaused
}

func (p *pass) accept(ctx context.Context, u events.Update) error {
	if p.pause {
		return p.stop(u.Offset, 0)
	}
	if p.batch.Add(u); p.batch.Size() >= p.cfg.BatchBytes {
		return p.cut(ctx)
	}
	return nil
}

func (p *pass) reject(ctx context.Context, r *events.Reject) error {
	if p.pause {
		return p.stop(r.Offset, 1)
	}
	if err := p.rejects.add(ctx, r); err != nil {
		return err
	}
	if p.rejected++; p.rejected >= batchRejects {
		return p.cut(ctx)
	}
	return nil
}

// cut ends the batch and publishes it. Reading can pause only after a cut.
func (p *pass) cut(ctx context.Context) error {
	if p.batch.Rows() > 0 {
		p.out.add(ctx, p.batch.Message())
		p.batches++
	}
	p.rejected = 0
	p.pause = p.cfg.Pause != nil && p.cfg.Pause(ctx)
	return ctx.Err()
}
