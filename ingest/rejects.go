package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/flavorless/flavorless/events"
)

// rejectLog keeps the first rejected rows for the ledger and streams all of them to the reports bucket, as
// <upload>/rejects.ndjson. A file without rejects leaves no object there.
type rejectLog struct {
	ctx     context.Context //nolint:containedctx // of the one reading that it belongs to
	reports reports
	upload  string
	first   []events.Reject
	bytes   int64 // length of the report
	before  int64 // of that, what an earlier reading wrote

	w    *io.PipeWriter
	done chan putResult
}

type putResult struct {
	location string
	err      error
}

// openRejectLog goes on behind the first bytes of a report that an earlier reading of the file wrote; 0 begins a new one.
// A second run of that reading may have written more since: the same, and so it does not matter that it is overwritten.
func openRejectLog(ctx context.Context, r reports, upload string, before int64) (*rejectLog, error) {
	l := &rejectLog{ctx: ctx, reports: r, upload: upload, before: before, bytes: before}
	if before == 0 {
		return l, nil
	}
	old, err := l.reports.Get(ctx, l.key())
	if err != nil {
		return nil, fmt.Errorf("reading the rejected rows so far: %w", err)
	}
	defer old.Close()
	in := jsontext.NewDecoder(io.LimitReader(old, before))
	for len(l.first) < events.MaxRejects && in.PeekKind() == jsontext.KindBeginObject {
		var reject events.Reject
		if err := json.UnmarshalDecode(in, &reject); err != nil {
			return nil, fmt.Errorf("reading the rejected rows so far: %w", err)
		}
		l.first = append(l.first, reject)
	}
	l.open()
	return l, nil
}

func (l *rejectLog) key() string { return l.upload + "/rejects.ndjson" }

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
	n, err := l.w.Write(append(line, '\n'))
	l.bytes += int64(n)
	if err != nil {
		return fmt.Errorf("writing the rejected rows: %w", err)
	}
	return nil
}

func (l *rejectLog) open() {
	r, w := io.Pipe()
	l.w, l.done = w, make(chan putResult, 1)
	go func() {
		location, err := l.put(r)
		r.CloseWithError(errors.Join(errors.New("storing the rejected rows ended"), err)) // so that a write can't wait forever
		l.done <- putResult{location, err}
	}()
}

func (l *rejectLog) put(added io.Reader) (location string, err error) {
	if l.before == 0 {
		return l.reports.Put(l.ctx, l.key(), added)
	}
	old, err := l.reports.Get(l.ctx, l.key())
	if err != nil {
		return "", err
	}
	defer old.Close()
	return l.reports.Put(l.ctx, l.key(), io.MultiReader(&exactly{old, l.before}, added))
}

// exactly reads n bytes of r, and fails if there are fewer.
type exactly struct {
	r io.Reader
	n int64
}

func (e *exactly) Read(p []byte) (int, error) {
	if e.n == 0 {
		return 0, io.EOF
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.n)])
	e.n -= int64(n)
	if err == io.EOF { //nolint:errorlint // readers give it bare
		if e.n > 0 {
			return n, io.ErrUnexpectedEOF
		}
		err = nil
	}
	return n, err
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
