package local

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/queue"
	"github.com/flavorless/flavorless/internal/embedded/sqlite"
	"github.com/flavorless/flavorless/internal/local/control"
	"github.com/flavorless/flavorless/internal/local/health"
	"github.com/flavorless/flavorless/internal/s3store"
	"github.com/flavorless/flavorless/internal/testutil"
)

// maxTries is after how many tries a message becomes a dead letter.
const maxTries = 3

// TestFaults injects faults at each port of the core, between real stores and with the real stages: the port is slow,
// fails always, once, sometimes or for some messages, succeeds but reports an error, or loses its connection. The
// result must be the same as without faults: the same table, counts and reports, and changes that lead to that table. A
// message that fails permanently must be a dead letter with its error and its number of tries, and after the fault is
// fixed, redriving it must lead to the same result.
func TestFaults(t *testing.T) {
	bucket := startBucket(t)
	want := bucket.run(t, &faults{}, "")
	wantSorted := bucket.run(t, &faults{sorting: true}, "")
	if n := want.Uploads["a.csv"].Counts.Batches; len(want.Team) < 80 || len(want.Uploads) < 5 || n < 6 {
		t.Fatalf("without faults: %d people, %d uploads, %d batches of the first; want at least 80, 5 and 6",
			len(want.Team), len(want.Uploads), n)
	}
	anyCall := []string{
		"slow", "fails once", "fails sometimes", "loses responses", "fails until fixed", "rejects until fixed",
	}
	for port, more := range map[string][]string{
		openObject: {"loses connections"}, beginUpload: nil, sealUpload: nil,
		putReport: {"loses connections"}, getReport: {"loses connections"}, removeReport: nil,
		publishBatch: {"fails by half"}, applyBatches: {"fails by half"},
		waitFeed: nil, readFeed: nil, markFeed: nil, publishOut: {"fails by half"},
	} {
		for _, plan := range slices.Concat(anyCall, more) {
			if testing.Short() && plan != "fails sometimes" {
				continue
			}
			t.Run(port+" "+plan, func(t *testing.T) {
				t.Parallel()
				f := &faults{port: port, plan: plans[plan]}
				got := bucket.run(t, f, plan)
				if f.injected() == 0 {
					t.Error("no fault was injected")
				}
				if diff := gocmp.Diff(want, got); diff != "" {
					t.Errorf("result (-without faults +with faults):\n%s", diff)
				}
			})
		}
	}
	// The ports that sorting uses in another way.
	for port, more := range map[string][]string{
		openObject: {"loses connections"}, compareBegin: nil, sealUpload: nil, putReport: {"loses connections"},
		openReport: nil, publishBatch: {"fails by half"}, applyBatches: {"fails by half"},
	} {
		for _, plan := range slices.Concat(anyCall, more) {
			if testing.Short() && plan != "fails sometimes" {
				continue
			}
			t.Run("sorted: "+port+" "+plan, func(t *testing.T) {
				t.Parallel()
				f := &faults{port: port, plan: plans[plan], sorting: true}
				got := bucket.run(t, f, plan)
				if f.injected() == 0 {
					t.Error("no fault was injected")
				}
				if diff := gocmp.Diff(wantSorted, got); diff != "" {
					t.Errorf("result (-without faults +with faults):\n%s", diff)
				}
			})
		}
	}
}

// result is the final state, without what depends on the order of deliveries.
type result struct {
	Team    map[string]string // flavor and version
	Uploads map[string]outcome
}

type outcome struct {
	Status  events.Status
	Failure *events.Failure
	Counts  events.Counts // Applied includes unchanged and superseded rows, because the order decides between them
	Rejects []events.Reject
	Report  string
}

// faultyPipeline is the write side between real queues and a real table, with faults at one of its ports.
type faultyPipeline struct {
	*faults
	t       *testing.T
	bucket  *bucket
	reports s3store.Reports
	db      *sqlite.DB
	queues  *streams

	mu        sync.Mutex
	published []events.Change
}

// run processes all uploads in a new pipeline and returns the result.
func (b *bucket) run(t *testing.T, f *faults, plan string) result {
	t.Helper()
	p := &faultyPipeline{faults: f, t: t, bucket: b}
	log := slog.New(slog.DiscardHandler)
	b.mu.Lock()
	b.runs++
	p.reports = s3store.Reports{Client: b.client, Bucket: reportsOf(b.runs)}
	b.mu.Unlock()
	dir := t.TempDir()
	var err error
	if p.db, err = sqlite.Open(sqlite.Config{Path: filepath.Join(dir, "db"), Relaxed: true}); err != nil {
		t.Fatal(err)
	}
	defer p.db.Close()
	p.queues, err = startStreams(t.Context(), broker.Config{Dir: filepath.Join(dir, "streams"), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	defer p.queues.Stop()
	for _, o := range b.objects {
		if err := publishObject(t.Context(), p.queues.uploads, o); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	var stages sync.WaitGroup
	defer stages.Wait()
	defer stop()
	for _, stage := range p.stages(ctx, log) {
		stages.Go(func() {
			if err := stage(); err != nil {
				t.Error(err)
			}
		})
	}
	p.settle(plan)
	return p.result()
}

// stages returns the stages, as the server runs them but with other times and tries.
func (p *faultyPipeline) stages(ctx context.Context, log *slog.Logger) []func() error {
	db := faultyDB{p.faults, p.db}
	reading := ingest.Config{
		Objects: faultyObjects{p.faults, s3store.Objects{Client: p.bucket.client}},
		Ledger:  db, Reports: faultyReports{p.faults, p.reports},
		Updates:       faultyTopic{p.faults, publishBatch, p.queues.updates, func([]events.Message) {}},
		Continuations: faultyTopic{p.faults, publishBatch, p.queues.uploads, func([]events.Message) {}},
		Clock:         func() time.Time { return time.UnixMilli(0) }, Log: log, BatchBytes: 8_000,
	}
	if p.sorting {
		reading.Sorting = ingest.Sorting{From: 1, Dir: p.t.TempDir(), MaxDisk: func() int64 { return 1 << 30 }}
	}
	applier := &ingest.Applier{Table: db, Copies: faultyReports{p.faults, p.reports}, Log: log}
	changes := faultyTopic{p.faults, publishOut, p.queues.changes, p.record}
	announcer := &ingest.Announcer{Changes: changes, Log: log}
	queue := queue.Config{MaxTries: maxTries, Backoff: func(int) time.Duration { return time.Millisecond }}
	uploads, updates := queue, queue
	// All uploads at once, because the failing ones take long.
	uploads.Stream, uploads.MaxMessages, uploads.Concurrency = broker.Uploads, 1, 6
	updates.Stream, updates.MaxMessages, updates.Concurrency = broker.Updates, 3, applyGroups
	return []func() error{
		func() error { return p.queues.Consume(ctx, uploads, readEach(reading, 0)) }, // a continuation after each batch
		func() error { return p.queues.Consume(ctx, updates, applyGroup(applier)) },
		func() error {
			return announcing{
				feed: db, announcer: announcer, pause: time.Millisecond,
				heartbeat: health.NewHeartbeats(time.Now).Of("announce"), log: log,
			}.run(ctx)
		},
	}
}

func (p *faultyPipeline) record(messages []events.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range messages {
		c, err := events.DecodeChange(m.Body)
		if err != nil {
			p.t.Error(err)
		}
		p.published = append(p.published, c)
	}
}

// settle waits until all work is done. Messages that became dead letters because of a temporary fault are redriven
// after it.
func (p *faultyPipeline) settle(plan string) {
	p.t.Helper()
	if strings.HasSuffix(plan, "until fixed") {
		p.fix(plan)
	}
	testutil.WaitFor(p.t, "the queues to be empty", p.idle)
	if dead := p.dead(); len(dead) > 0 { // after three faults in a row
		p.disable()
		p.redrive(dead)
		testutil.WaitFor(p.t, "the queues to be empty", p.idle)
	}
	testutil.WaitFor(p.t, "all changes to be announced", func() bool {
		left, err := p.db.Pending(p.t.Context(), 1)
		return err == nil && len(left) == 0
	})
}

// fix waits until all messages have failed, checks the dead letters, and then fixes the port and redrives them.
func (p *faultyPipeline) fix(plan string) {
	p.t.Helper()
	if slices.Contains([]string{waitFeed, readFeed, markFeed, publishOut}, p.port) {
		// The outbox has no dead letters: changes are retried forever.
		testutil.WaitFor(p.t, "several tries", func() bool { return p.injected() >= 5 })
		testutil.WaitFor(p.t, "the queues to be empty", p.idle)
		if dead := p.dead(); len(dead) > 0 {
			p.t.Errorf("dead letters because of %s: %+v, want none", p.port, dead)
		}
		p.disable()
		return
	}
	testutil.WaitFor(p.t, "the queues to be empty", p.idle)
	queue, want := broker.Uploads, maxTries
	if p.port == applyBatches {
		queue = broker.Updates
	}
	if strings.HasPrefix(plan, "rejects") {
		want = 1
	}
	dead := p.dead()
	if len(dead) == 0 {
		p.t.Errorf("there is no dead letter although %s always fails", p.port)
	}
	for _, d := range dead {
		if d.Queue != queue || d.Tries != want || !strings.Contains(d.Reason, errFault.Error()) || control.Subject(d) == "" {
			p.t.Errorf("dead letter of %s after %d tries because of %q; want one of %s after %d tries because of the fault",
				d.Queue, d.Tries, d.Reason, queue, want)
		}
	}
	p.disable()
	p.redrive(dead)
}

func (p *faultyPipeline) dead() (all []queue.DeadLetter) {
	p.t.Helper()
	for d, err := range p.queues.DeadLetters(p.t.Context()) {
		if err != nil {
			p.t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

func (p *faultyPipeline) redrive(dead []queue.DeadLetter) {
	p.t.Helper()
	for _, d := range dead {
		if err := p.queues.Redrive(p.t.Context(), d.Number); err != nil {
			p.t.Errorf("Redrive(%d) = %v, want nil", d.Number, err)
		}
	}
}

// idle reports whether every message is done or dead. It checks UPLOADS first, because ingest publishes to UPDATES.
func (p *faultyPipeline) idle() bool {
	for _, q := range []broker.Stream{broker.Uploads, broker.Updates} {
		depths, err := p.queues.Depths(p.t.Context())
		if err != nil {
			p.t.Fatal(err)
		}
		if depths[q].Pending+depths[q].InFlight > 0 {
			return false
		}
	}
	return true
}
