package ingest

import (
	"context"
	"errors"
	"io"

	"github.com/flavorless/flavorless/events"
)

// pass is one reading of a file, from an offset on: rows into batches, batches to the topic, rejected rows to the report.
type pass struct {
	*Ingester
	ctx     context.Context //nolint:containedctx // of this one reading
	from    events.Continuation
	rejects *rejectLog
	batch   *events.BatchWriter
	out     *stream

	rows     *Rows
	batches  int64
	rejected int                  // since the batch began
	pause    bool                 // stop at the next row
	rest     *events.Continuation // from that row on, once reading has stopped
}

// batchRejects ends a batch that has become no longer for so many rejected rows: a file of nothing else would otherwise
// never come to a place at which to stop.
const batchRejects = 10_000

var errPaused = errors.New("paused")

// run returns what was read of the whole file, and if it stopped before the end, the rest of it.
func (p *pass) run(body io.Reader, o Options) (events.ReadSummary, *events.Continuation, error) {
	reading, err := p.readRows(body, o)
	if err == nil && p.batch.Rows() > 0 {
		err = p.cut()
	}
	if err != nil && !errors.Is(err, errPaused) {
		return events.ReadSummary{}, nil, err
	}
	reading.Rows += p.from.Rows
	reading.Rejected += p.from.Rejected
	reading.Batches = p.from.Batches + p.batches
	if p.rest != nil {
		p.rest.Rows += reading.Rows
		p.rest.Rejected += reading.Rejected
		p.rest.Batches = reading.Batches
	}
	return reading, p.rest, nil
}

// readRows reads from the row on at which an earlier reading stopped: body begins there if the span has the reader's state,
// and at the beginning of the file otherwise.
func (p *pass) readRows(body io.Reader, o Options) (events.ReadSummary, error) {
	name, offset := p.from.Object.Key, p.from.Offset
	var err error
	if state := p.from.Reader; state != nil {
		p.rows, err = Continue(body, name, o, offset, *state)
	} else {
		p.rows, err = OpenAt(body, name, o, offset)
	}
	if err != nil {
		return broken(events.ReadSummary{}, err)
	}
	defer p.rows.Close()
	return p.rows.each(p.accept, p.reject)
}

// stop ends the reading before the row at offset, which was counted but is still to be read.
func (p *pass) stop(offset, rejected int64) error {
	p.rest = &events.Continuation{
		Object: p.from.Object, Offset: offset, Rows: -1, Rejected: -rejected,
		Count: p.from.Count + 1, Reader: p.rows.State(offset),
	}
	return errPaused
}

func (p *pass) accept(u events.Update) error {
	if p.pause {
		return p.stop(u.Offset, 0)
	}
	if p.batch.Add(u); p.batch.Size() >= p.cfg.BatchBytes {
		return p.cut()
	}
	return nil
}

func (p *pass) reject(r *events.Reject) error {
	if p.pause {
		return p.stop(r.Offset, 1)
	}
	if err := p.rejects.add(r); err != nil {
		return err
	}
	if p.rejected++; p.rejected >= batchRejects {
		return p.cut()
	}
	return nil
}

// cut ends the batch: the one place at which reading may stop.
func (p *pass) cut() error {
	if p.batch.Rows() > 0 {
		p.out.add(p.batch.Message())
		p.batches++
	}
	p.rejected = 0
	p.pause = p.cfg.Pause != nil && p.cfg.Pause(p.ctx)
	return p.out.failure()
}
