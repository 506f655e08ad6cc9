package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/sqlite"
	"github.com/flavorless/flavorless/internal/s3store"
)

// The methods of the ports of the core.
const (
	openObject   = "objects.Open"
	beginUpload  = "ledger.Begin"
	compareBegin = "ledger.BeginComparing"
	sealUpload   = "ledger.Seal"
	putReport    = "reports.Put"
	getReport    = "reports.Get"
	openReport   = "reports.OpenAt"
	removeReport = "reports.Remove"
	publishBatch = "updates.Publish"
	applyBatches = "table.Apply"
	waitFeed     = "feed.WaitPending"
	readFeed     = "feed.Pending"
	markFeed     = "feed.Announced"
	publishOut   = "changes.Publish"
)

// fault is what happens to one call. The zero value is no fault.
type fault struct {
	delay  time.Duration
	before error // returned without doing anything
	after  error // returned although the call succeeded
	half   error // returned for every other message
	cut    error // returned in the middle of the body
}

// faults injects faults into the calls of one port.
type faults struct {
	port    string
	plan    func(call int) fault // by the number of the call, from 1
	sorting bool                 // whether uploads are sorted

	mu       sync.Mutex
	calls    int
	hits     int // number of calls with a fault
	disabled bool
}

func (f *faults) next(ctx context.Context, port string) fault {
	if port != f.port {
		return fault{}
	}
	f.mu.Lock()
	f.calls++
	var t fault
	if !f.disabled {
		if t = f.plan(f.calls); t != (fault{}) {
			f.hits++
		}
	}
	f.mu.Unlock()
	if t.delay > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(t.delay):
		}
	}
	return t
}

// disable ends all faults.
func (f *faults) disable() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.disabled = true
}

// injected returns the number of faults so far.
func (f *faults) injected() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hits
}

// call calls do with the next fault of a port.
func call[T any](ctx context.Context, f *faults, port string, do func(fault) (T, error)) (T, error) {
	t := f.next(ctx, port)
	var zero T
	if t.before != nil {
		return zero, t.before
	}
	got, err := do(t)
	if err == nil && t.after != nil {
		return zero, t.after
	}
	return got, err
}

type faultyObjects struct {
	*faults
	objects s3store.Objects
}

func (p faultyObjects) Open(
	ctx context.Context, o events.Object, offset int64,
) (io.ReadCloser, map[string]string, error) {
	var metadata map[string]string
	body, err := call(ctx, p.faults, openObject, func(t fault) (io.ReadCloser, error) {
		body, m, err := p.objects.Open(ctx, o, offset)
		metadata = m
		return cut(body, (o.Size-offset)/2, t.cut), err
	})
	return body, metadata, err
}

type faultyReports struct {
	*faults
	reports s3store.Reports
}

func (p faultyReports) Put(ctx context.Context, key string, body io.Reader) (string, error) {
	return call(ctx, p.faults, putReport, func(t fault) (string, error) {
		return p.reports.Put(ctx, key, cut(io.NopCloser(body), 100, t.cut))
	})
}

func (p faultyReports) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	return call(ctx, p.faults, getReport, func(t fault) (io.ReadCloser, error) {
		body, err := p.reports.Get(ctx, key)
		return cut(body, 100, t.cut), err
	})
}

func (p faultyReports) OpenAt(ctx context.Context, key string) (io.ReaderAt, int64, error) {
	var size int64
	body, err := call(ctx, p.faults, openReport, func(fault) (r io.ReaderAt, err error) {
		r, size, err = p.reports.OpenAt(ctx, key)
		return r, err
	})
	return body, size, err
}

func (p faultyReports) Remove(ctx context.Context, prefix string) error {
	_, err := call(ctx, p.faults, removeReport, func(fault) (struct{}, error) {
		return struct{}{}, p.reports.Remove(ctx, prefix)
	})
	return err
}

// cut returns a body that fails after some bytes, unless err is nil.
func cut(body io.ReadCloser, after int64, err error) io.ReadCloser {
	if err == nil || body == nil {
		return body
	}
	return &cutBody{body, after, err}
}

type cutBody struct {
	io.ReadCloser
	left int64
	err  error
}

func (c *cutBody) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, c.err
	}
	n, err := c.ReadCloser.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

type faultyTopic struct {
	*faults
	port  string
	topic interface {
		Publish(ctx context.Context, messages []events.Message) []error
	}
	published func([]events.Message) // called with the messages that were stored
}

func (p faultyTopic) Publish(ctx context.Context, messages []events.Message) []error {
	t := p.next(ctx, p.port)
	if t.before != nil {
		return slices.Repeat([]error{t.before}, len(messages))
	}
	errs := make([]error, len(messages))
	var some []events.Message
	var index []int
	for i, m := range messages {
		if t.half != nil && i%2 == 0 {
			errs[i] = t.half
			continue
		}
		some, index = append(some, m), append(index, i)
	}
	var stored []events.Message
	for i, err := range p.topic.Publish(ctx, some) {
		if err == nil {
			stored = append(stored, some[i])
			err = t.after
		}
		errs[index[i]] = err
	}
	p.published(stored)
	return errs
}

type faultyDB struct {
	*faults
	db *sqlite.DB
}

func (p faultyDB) Begin(ctx context.Context, o events.Object, sort bool) (events.Upload, error) {
	return call(ctx, p.faults, beginUpload, func(fault) (events.Upload, error) { return p.db.Begin(ctx, o, sort) })
}

func (p faultyDB) Seal(ctx context.Context, id string, r events.ReadSummary) (*events.Upload, error) {
	return call(ctx, p.faults, sealUpload, func(fault) (*events.Upload, error) { return p.db.Seal(ctx, id, r) })
}

func (p faultyDB) BeginComparing(ctx context.Context, id string) (bool, error) {
	return call(ctx, p.faults, compareBegin, func(fault) (bool, error) { return p.db.BeginComparing(ctx, id) })
}

func (p faultyDB) Apply(
	ctx context.Context, batches []events.Batch, repair events.Repair,
) ([]events.BatchResult, error) {
	return call(ctx, p.faults, applyBatches, func(t fault) ([]events.BatchResult, error) {
		if t.half != nil { // the first half is applied
			if _, err := p.db.Apply(ctx, batches[:len(batches)/2], repair); err != nil {
				return nil, err
			}
			return nil, t.half
		}
		return p.db.Apply(ctx, batches, repair)
	})
}

func (p faultyDB) WaitPending(ctx context.Context) error {
	_, err := call(ctx, p.faults, waitFeed, func(fault) (struct{}, error) { return struct{}{}, p.db.WaitPending(ctx) })
	return err
}

func (p faultyDB) Pending(ctx context.Context, limit int) ([]sqlite.OutboxRecord, error) {
	return call(ctx, p.faults, readFeed, func(fault) ([]sqlite.OutboxRecord, error) { return p.db.Pending(ctx, limit) })
}

func (p faultyDB) Announced(ctx context.Context, upTo int64) error {
	_, err := call(ctx, p.faults, markFeed, func(fault) (struct{}, error) { return struct{}{}, p.db.Announced(ctx, upTo) })
	return err
}

var errFault = errors.New("injected fault")

// plans are the kinds of faults by name. Each one returns the fault of the nth call.
var plans = map[string]func(call int) fault{
	"slow":                func(int) fault { return fault{delay: 20 * time.Millisecond} },
	"fails once":          func(n int) fault { return when(n == 1, fault{before: errFault}) },
	"fails sometimes":     func(n int) fault { return when(n%3 == 1, fault{before: errFault}) },
	"loses responses":     func(n int) fault { return when(n%3 == 1, fault{after: errFault}) },
	"fails by half":       func(n int) fault { return when(n <= 3, fault{half: errFault}) },
	"loses connections":   func(n int) fault { return when(n%3 == 1, fault{cut: fmt.Errorf("reading: %w", errFault)}) },
	"fails until fixed":   func(int) fault { return fault{before: errFault} },
	"rejects until fixed": func(int) fault { return fault{before: fmt.Errorf("%w: %w", events.ErrPermanent, errFault)} },
}

func when(now bool, t fault) fault {
	if now {
		return t
	}
	return fault{}
}
