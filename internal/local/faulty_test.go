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

// The calls of the ports of the core.
const (
	openObject   = "objects.Open"
	beginUpload  = "ledger.Begin"
	sealUpload   = "ledger.Seal"
	putReport    = "reports.Put"
	getReport    = "reports.Get"
	removeReport = "reports.Remove"
	publishBatch = "updates.Publish"
	applyBatches = "table.Apply"
	waitFeed     = "feed.WaitPending"
	readFeed     = "feed.Pending"
	markFeed     = "feed.Announced"
	publishOut   = "changes.Publish"
)

// trouble is what befalls one call. The zero value is none.
type trouble struct {
	delay  time.Duration
	before error // it fails, and nothing happens
	after  error // it happens, and fails all the same
	half   error // every other message of it fails
	cut    error // the connection is lost in the middle of the body
}

// faults decides what befalls the calls of one port.
type faults struct {
	port string
	plan func(call int) trouble // from 1 on

	mu     sync.Mutex
	calls  int
	hits   int // of these
	healed bool
}

func (f *faults) next(ctx context.Context, port string) trouble {
	if port != f.port {
		return trouble{}
	}
	f.mu.Lock()
	f.calls++
	var t trouble
	if !f.healed {
		if t = f.plan(f.calls); t != (trouble{}) {
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

func (f *faults) heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.healed = true
}

func (f *faults) hit() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hits
}

// through does a call with what befalls it.
func through[T any](ctx context.Context, f *faults, port string, do func(trouble) (T, error)) (T, error) {
	t := f.next(ctx, port)
	var none T
	if t.before != nil {
		return none, t.before
	}
	got, err := do(t)
	if err == nil && t.after != nil {
		return none, t.after
	}
	return got, err
}

type faultyObjects struct {
	*faults
	objects s3store.Objects
}

func (p faultyObjects) Open(ctx context.Context, o events.Object, offset int64) (io.ReadCloser, map[string]string, error) {
	var metadata map[string]string
	body, err := through(ctx, p.faults, openObject, func(t trouble) (io.ReadCloser, error) {
		body, m, err := p.objects.Open(ctx, o, offset)
		metadata = m
		return cutting(body, (o.Size-offset)/2, t.cut), err
	})
	return body, metadata, err
}

type faultyReports struct {
	*faults
	reports s3store.Reports
}

func (p faultyReports) Put(ctx context.Context, key string, body io.Reader) (string, error) {
	return through(ctx, p.faults, putReport, func(t trouble) (string, error) {
		return p.reports.Put(ctx, key, cutting(io.NopCloser(body), 100, t.cut))
	})
}

func (p faultyReports) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	return through(ctx, p.faults, getReport, func(t trouble) (io.ReadCloser, error) {
		body, err := p.reports.Get(ctx, key)
		return cutting(body, 100, t.cut), err
	})
}

func (p faultyReports) Remove(ctx context.Context, prefix string) error {
	_, err := through(ctx, p.faults, removeReport, func(trouble) (struct{}, error) { return struct{}{}, p.reports.Remove(ctx, prefix) })
	return err
}

// cutting loses the connection after some bytes.
func cutting(body io.ReadCloser, after int64, err error) io.ReadCloser {
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
	published func([]events.Message) // those that are stored, whatever the caller is told
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

func (p faultyDB) Begin(ctx context.Context, o events.Object) (events.Upload, error) {
	return through(ctx, p.faults, beginUpload, func(trouble) (events.Upload, error) { return p.db.Begin(ctx, o) })
}

func (p faultyDB) Seal(ctx context.Context, id string, r events.ReadSummary) (*events.Upload, error) {
	return through(ctx, p.faults, sealUpload, func(trouble) (*events.Upload, error) { return p.db.Seal(ctx, id, r) })
}

func (p faultyDB) Apply(ctx context.Context, batches []events.Batch) ([]events.BatchResult, error) {
	return through(ctx, p.faults, applyBatches, func(t trouble) ([]events.BatchResult, error) {
		if t.half != nil { // what is done stays done
			if _, err := p.db.Apply(ctx, batches[:len(batches)/2]); err != nil {
				return nil, err
			}
			return nil, t.half
		}
		return p.db.Apply(ctx, batches)
	})
}

func (p faultyDB) WaitPending(ctx context.Context) error {
	_, err := through(ctx, p.faults, waitFeed, func(trouble) (struct{}, error) { return struct{}{}, p.db.WaitPending(ctx) })
	return err
}

func (p faultyDB) Pending(ctx context.Context, limit int) ([]sqlite.OutboxRecord, error) {
	return through(ctx, p.faults, readFeed, func(trouble) ([]sqlite.OutboxRecord, error) { return p.db.Pending(ctx, limit) })
}

func (p faultyDB) Announced(ctx context.Context, upTo int64) error {
	_, err := through(ctx, p.faults, markFeed, func(trouble) (struct{}, error) { return struct{}{}, p.db.Announced(ctx, upTo) })
	return err
}

var errFault = errors.New("a fault of the test's")

// plans are the kinds of faults, by name. What each does is told of the nth call.
var plans = map[string]func(call int) trouble{
	"slow":                   func(int) trouble { return trouble{delay: 20 * time.Millisecond} },
	"fails once":             func(n int) trouble { return when(n == 1, trouble{before: errFault}) },
	"fails now and then":     func(n int) trouble { return when(n%3 == 1, trouble{before: errFault}) },
	"its answer is lost":     func(n int) trouble { return when(n%3 == 1, trouble{after: errFault}) },
	"half of it fails":       func(n int) trouble { return when(n <= 3, trouble{half: errFault}) },
	"its connection is lost": func(n int) trouble { return when(n%3 == 1, trouble{cut: fmt.Errorf("reading: %w", errFault)}) },
	"fails until mended":     func(int) trouble { return trouble{before: errFault} },
	"refuses until mended":   func(int) trouble { return trouble{before: fmt.Errorf("%w: %w", events.ErrPermanent, errFault)} },
}

func when(now bool, t trouble) trouble {
	if now {
		return t
	}
	return trouble{}
}
