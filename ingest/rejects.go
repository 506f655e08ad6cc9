package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"

	"github.com/flavorless/flavorless/events"
)

// rejectLog keeps the first rejected rows for the ledger and streams all of them to the reports bucket, as
// <upload>/rejects.ndjson. A file without rejects leaves no object there.
type rejectLog struct {
	ctx     context.Context //nolint:containedctx // of the one reading that it belongs to
	reports reports
	upload  string
	first   []events.Reject

	w    *io.PipeWriter
	done chan putResult
}

type putResult struct {
	location string
	err      error
}

func newRejectLog(ctx context.Context, r reports, upload string) *rejectLog {
	return &rejectLog{ctx: ctx, reports: r, upload: upload}
}

func (l *rejectLog) add(r *events.Reject) error {
	if len(l.first) < events.MaxRejects {
		l.first = append(l.first, *r)
	}
	if l.w == nil {
		l.open()
	}
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding a rejected row: %w", err)
	}
	if _, err := l.w.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("writing the rejected rows: %w", err)
	}
	return nil
}

func (l *rejectLog) open() {
	r, w := io.Pipe()
	l.w, l.done = w, make(chan putResult, 1)
	go func() {
		location, err := l.reports.Put(l.ctx, l.upload+"/rejects.ndjson", r)
		r.CloseWithError(errors.Join(errors.New("storing the rejected rows ended"), err)) // so that a write can't wait forever
		l.done <- putResult{location, err}
	}()
}

// close waits until all is stored and tells where.
func (l *rejectLog) close() (location string, err error) {
	if l.w == nil {
		return "", nil
	}
	if err := l.w.Close(); err != nil {
		return "", err
	}
	stored := <-l.done
	l.w = nil
	if stored.err != nil {
		return "", fmt.Errorf("storing the rejected rows: %w", stored.err)
	}
	return stored.location, nil
}

// discard leaves nothing behind of a reading that was not finished. After close it does nothing.
func (l *rejectLog) discard() {
	if l.w != nil {
		l.w.CloseWithError(errors.New("the reading was not finished"))
		<-l.done
		l.w = nil
	}
}
