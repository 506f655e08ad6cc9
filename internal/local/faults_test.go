package local

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/gateway"
	"github.com/flavorless/flavorless/internal/embedded/queue"
	"github.com/flavorless/flavorless/internal/embedded/sqlite"
	"github.com/flavorless/flavorless/internal/local/control"
	"github.com/flavorless/flavorless/internal/local/health"
	"github.com/flavorless/flavorless/internal/s3store"
)

// tries of a message until it is a dead letter.
const tries = 3

// TestFaults lets each port of the core be slow, fail, fail once, fail in parts, do its work without saying so, and
// lose its connection, over the real parts and with what drives the stages in the house. The end is the one that there
// is without faults: the same table, the same counts, the same reports, changes that add up. What fails for good waits
// in the dead letters with its error and its tries, and once the port is mended, redriving brings it to the same end.
func TestFaults(t *testing.T) {
	bucket := startBucket(t)
	fine := bucket.run(t, &faults{}, "")
	if n := fine.Uploads["a.csv"].Counts.Batches; len(fine.Team) < 80 || len(fine.Uploads) < 5 || n < 6 {
		t.Fatalf("this proves nothing: %d people, %d uploads, %d batches of the first", len(fine.Team), len(fine.Uploads), n)
	}
	anyCall := []string{"slow", "fails once", "fails now and then", "its answer is lost", "fails until mended", "refuses until mended"}
	for port, more := range map[string][]string{
		openObject: {"its connection is lost"}, beginUpload: nil, sealUpload: nil,
		putReport: {"its connection is lost"}, getReport: {"its connection is lost"}, removeReport: nil,
		publishBatch: {"half of it fails"}, applyBatches: {"half of it fails"},
		waitFeed: nil, readFeed: nil, markFeed: nil, publishOut: {"half of it fails"},
	} {
		for _, plan := range slices.Concat(anyCall, more) {
			t.Run(port+" "+plan, func(t *testing.T) {
				t.Parallel()
				f := &faults{port: port, plan: plans[plan]}
				got := bucket.run(t, f, plan)
				if f.hit() == 0 {
					t.Error("there was no fault")
				}
				if diff := gocmp.Diff(fine, got); diff != "" {
					t.Errorf("the end (-without faults +with them):\n%s", diff)
				}
			})
		}
	}
}

// ending is what is left when all is done, but for what depends on the order of deliveries.
type ending struct {
	Team    map[string]string // flavor and version
	Uploads map[string]outcome
}

type outcome struct {
	Status  events.Status
	Failure *events.Failure
	Counts  events.Counts // applied with superseded: which of them depends on who came first
	Rejects []events.Reject
	Report  string
}

// bucket has the uploads that all cases have in common.
type bucket struct {
	client  *s3.Client
	mu      sync.Mutex
	objects []events.Object
	reports int // buckets for them
}

// maxRuns is the greatest number of cases: buckets are made when a gateway starts, and each case has one for its
// reports.
const maxRuns = 100

func reportsOf(run int) string { return fmt.Sprintf("reports-%d", run) }

func startBucket(t *testing.T) *bucket {
	t.Helper()
	b := &bucket{}
	names := []string{uploadsBucket}
	for i := range maxRuns {
		names = append(names, reportsOf(i+1))
	}
	g, err := gateway.Start(gateway.Config{
		Dir: t.TempDir(), AccessKey: "test", SecretKey: "test", Buckets: names, Bucket: uploadsBucket, Region: region, NoSync: true,
		OnStored: func(_ context.Context, o events.Object) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.objects = append(b.objects, o)
			return nil
		},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	b.client = s3.New(s3.Options{
		BaseEndpoint: aws.String(reachable("http", g.Addr())), Region: region, UsePathStyle: true, RetryMaxAttempts: 1,
		Credentials: awscredentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	b.put(t, "a.csv", "", manyRows("person,flavor,note\n", "person %d,%s,"+strings.Repeat("x", 100)+"\n", "vanilla", 0))
	b.put(t, "b.ndjson", "", manyRows("", "{\"person\":\"person %d\",\"flavor\":%q}\n", "mint", 1))
	b.put(t, "broken.json.gz", "", manyRows("[", "{\"person\":\"person %d\",\"flavor\":%q},\n", "fudge", 2)+"{")
	b.put(t, "whole.csv", "abort", "person,flavor\nandy,vanilla\ndan,mint\n")
	b.put(t, "not at all.csv", "abort", "person,flavor\nandy,fudge\ndan,\n")
	b.put(t, "removals.csv", "", "person,flavor,action\nperson 1,,remove\nperson 5,,remove\nnobody,,remove\n")
	return b
}

// manyRows are enough for several batches. Every so often there is a bad one.
func manyRows(begin, row, flavor string, seed int) string {
	var b strings.Builder
	b.WriteString(begin)
	long := strings.Repeat(" and "+flavor, 12)
	for i := range 300 {
		f := flavor + long
		if i%12 == seed {
			f = ""
		}
		fmt.Fprintf(&b, row, (i*(seed+3))%100, f)
	}
	return b.String()
}

func (b *bucket) put(t *testing.T, name, onError, text string) {
	t.Helper()
	in := &s3.PutObjectInput{Bucket: aws.String(uploadsBucket), Key: aws.String(name), Body: strings.NewReader(text)}
	if onError != "" {
		in.Metadata = map[string]string{"on-error": onError}
	}
	if strings.HasSuffix(name, ".gz") {
		var packed strings.Builder
		w := gzip.NewWriter(&packed)
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		in.Body = strings.NewReader(packed.String())
	}
	if _, err := b.client.PutObject(t.Context(), in); err != nil {
		t.Fatal(err)
	}
}

// house is the write side between real queues and a real table, with faults at one of its ports.
type house struct {
	*faults
	t       *testing.T
	bucket  *bucket
	reports s3store.Reports
	db      *sqlite.DB
	queues  *streams

	mu    sync.Mutex
	heard []events.Change
}

// run announces all uploads to a house of its own and gives the end of it.
func (b *bucket) run(t *testing.T, f *faults, plan string) ending {
	t.Helper()
	h := &house{faults: f, t: t, bucket: b}
	quiet := slog.New(slog.DiscardHandler)
	b.mu.Lock()
	b.reports++
	h.reports = s3store.Reports{Client: b.client, Bucket: reportsOf(b.reports)}
	b.mu.Unlock()
	dir := t.TempDir()
	var err error
	if h.db, err = sqlite.Open(sqlite.Config{Path: filepath.Join(dir, "db"), Relaxed: true}); err != nil {
		t.Fatal(err)
	}
	defer h.db.Close()
	if h.queues, err = startStreams(t.Context(), broker.Config{Dir: filepath.Join(dir, "streams"), Logger: quiet}); err != nil {
		t.Fatal(err)
	}
	defer h.queues.Stop()
	for _, o := range b.objects {
		if err := publishObject(t.Context(), h.queues.uploads, o); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	var stages sync.WaitGroup
	defer stages.Wait()
	defer stop()
	for _, stage := range h.stages(ctx, quiet) {
		stages.Go(func() {
			if err := stage(); err != nil {
				t.Error(err)
			}
		})
	}
	h.settle(plan)
	return h.end()
}

// stages are driven as Server does it, but for the times and tries.
func (h *house) stages(ctx context.Context, log *slog.Logger) []func() error {
	db := faultyDB{h.faults, h.db}
	reading := ingest.Config{
		Objects: faultyObjects{h.faults, s3store.Objects{Client: h.bucket.client}}, Ledger: db, Reports: faultyReports{h.faults, h.reports},
		Updates:       faultyTopic{h.faults, publishBatch, h.queues.updates, func([]events.Message) {}},
		Continuations: faultyTopic{h.faults, publishBatch, h.queues.uploads, func([]events.Message) {}},
		Clock:         func() time.Time { return time.UnixMilli(0) }, Log: log, BatchBytes: 8_000,
	}
	applier := &ingest.Applier{Table: db, Log: log}
	announcer := &ingest.Announcer{Changes: faultyTopic{h.faults, publishOut, h.queues.changes, h.hear}, Log: log}
	config := queue.Config{MaxTries: tries, Backoff: func(int) time.Duration { return time.Millisecond }}
	uploads, updates := config, config
	uploads.Stream, uploads.MaxMessages, uploads.Concurrency = broker.Uploads, 1, 6 // all: those that fail for good take their time
	updates.Stream, updates.MaxMessages, updates.Concurrency = broker.Updates, 3, applyGroups
	return []func() error{
		func() error { return h.queues.Consume(ctx, uploads, readEach(reading, 0)) }, // one batch at a time
		func() error { return h.queues.Consume(ctx, updates, applyGroup(applier)) },
		func() error {
			return announcing{
				feed: db, announcer: announcer, pause: time.Millisecond, heartbeat: health.NewHeartbeats(time.Now).Of("announce"), log: log,
			}.run(ctx)
		},
	}
}

func (h *house) hear(messages []events.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range messages {
		c, err := events.DecodeChange(m.Body)
		if err != nil {
			h.t.Error(err)
		}
		h.heard = append(h.heard, c)
	}
}

// settle waits until nothing is left to do. What died of a fault on the way is put back once that is mended.
func (h *house) settle(plan string) {
	h.t.Helper()
	if strings.HasSuffix(plan, "until mended") {
		h.mend(plan)
	}
	h.await("the queues to be empty", h.idle)
	if dead := h.dead(); len(dead) > 0 { // three faults in a row
		h.heal()
		h.redrive(dead)
		h.await("the queues to be empty", h.idle)
	}
	h.await("all changes to be announced", func() bool {
		left, err := h.db.Pending(h.t.Context(), 1)
		return err == nil && len(left) == 0
	})
}

// mend lets the port fail until nothing more can be done, and holds what is in the dead letters against that.
func (h *house) mend(plan string) {
	h.t.Helper()
	if slices.Contains([]string{waitFeed, readFeed, markFeed, publishOut}, h.port) {
		// There is no queue that could give a change up: it is tried without end.
		h.await("several tries", func() bool { return h.hit() >= 5 })
		h.await("the queues to be empty", h.idle)
		if dead := h.dead(); len(dead) > 0 {
			h.t.Errorf("dead letters because of %s: %+v", h.port, dead)
		}
		h.heal()
		return
	}
	h.await("the queues to be empty", h.idle)
	stream, want := broker.Uploads, tries
	if h.port == applyBatches {
		stream = broker.Updates
	}
	if strings.HasPrefix(plan, "refuses") {
		want = 1
	}
	dead := h.dead()
	if len(dead) == 0 {
		h.t.Errorf("%s fails for good, and there is no dead letter", h.port)
	}
	for _, d := range dead {
		if d.Queue != stream || d.Tries != want || !strings.Contains(d.Reason, errFault.Error()) || control.Subject(d) == "" {
			h.t.Errorf("dead letter of %s after %d tries, because of %q; want one of %s after %d tries", d.Queue, d.Tries, d.Reason, stream, want)
		}
	}
	h.heal()
	h.redrive(dead)
}

func (h *house) dead() (all []queue.DeadLetter) {
	h.t.Helper()
	for d, err := range h.queues.DeadLetters(h.t.Context()) {
		if err != nil {
			h.t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

func (h *house) redrive(dead []queue.DeadLetter) {
	h.t.Helper()
	if n, err := h.queues.RedriveAll(h.t.Context()); n != len(dead) || err != nil {
		h.t.Errorf("%d of %d redriven: %v", n, len(dead), err)
	}
}

// idle tells whether every message is done or dead. UPLOADS comes first: what is done there is in UPDATES already.
func (h *house) idle() bool {
	for _, q := range []broker.Stream{broker.Uploads, broker.Updates} {
		depths, err := h.queues.Depths(h.t.Context())
		if err != nil {
			h.t.Fatal(err)
		}
		if depths[q].Pending+depths[q].InFlight > 0 {
			return false
		}
	}
	return true
}

func (h *house) await(what string, met func() bool) {
	h.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !met(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatalf("waited two minutes for %s", what)
		}
	}
}

// end reads what is left, and makes sure that the changes add up to it.
func (h *house) end() ending {
	h.t.Helper()
	ctx := h.t.Context()
	e := ending{Team: map[string]string{}, Uploads: map[string]outcome{}}
	team, err := h.db.Team(ctx, "", 1<<20)
	if err != nil {
		h.t.Fatal(err)
	}
	flavors := map[string]string{}
	for _, f := range team {
		e.Team[f.Person], flavors[f.Person] = f.Flavor+" at "+string(f.Version), f.Flavor
	}
	for _, o := range h.bucket.objects {
		u, err := h.db.Upload(ctx, o.UploadID())
		if err != nil {
			h.t.Fatal(err)
		}
		out := outcome{Status: u.Status, Failure: u.Failure, Counts: u.Counts, Rejects: u.Rejects}
		if c := u.Counts; c.Applied+c.Superseded+c.Rejected != c.Rows || c.Batches != c.BatchesApplied {
			h.t.Errorf("the rows of %s do not add up: %+v", o.Key, c)
		}
		out.Counts.Applied, out.Counts.Superseded = u.Counts.Applied+u.Counts.Superseded, 0
		if u.RejectsAt != "" {
			body, err := h.reports.Get(ctx, u.ID+"/rejects.ndjson")
			if err != nil {
				h.t.Fatal(err)
			}
			report, err := io.ReadAll(body)
			if err != nil {
				h.t.Fatal(err)
			}
			_ = body.Close()
			out.Report = string(report)
		}
		parts, err := h.reports.Client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &h.reports.Bucket, Prefix: aws.String(u.ID + "/rejects/")})
		if err != nil {
			h.t.Fatal(err)
		}
		if n := len(parts.Contents); n > 0 {
			h.t.Errorf("%d parts of the report of %s are left", n, o.Key)
		}
		e.Uploads[o.Key] = out
	}
	if diff := gocmp.Diff(flavors, h.folded()); diff != "" {
		h.t.Errorf("the changes do not add up to the table (-table +changes):\n%s", diff)
	}
	return e
}

// folded applies the changes that were published in the order of their versions. Each has to be one.
func (h *house) folded() map[string]string {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	flavors := map[string]string{}
	byVersion := slices.SortedFunc(slices.Values(h.heard), func(a, b events.Change) int { return cmp.Compare(a.Version, b.Version) })
	for _, c := range slices.Compact(byVersion) { // they may be told twice
		if flavors[c.Person] != c.Previous || c.Flavor == c.Previous {
			h.t.Fatalf("%s had %q, and then this is announced: %+v", c.Person, flavors[c.Person], c)
		}
		flavors[c.Person] = c.Flavor
	}
	maps.DeleteFunc(flavors, func(_, flavor string) bool { return flavor == "" })
	return flavors
}
