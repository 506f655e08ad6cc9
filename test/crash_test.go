package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/gateway"
	"github.com/flavorless/flavorless/internal/embedded/queue"
	"github.com/flavorless/flavorless/internal/embedded/sqlite"
	"github.com/flavorless/flavorless/internal/local"
	"github.com/flavorless/flavorless/internal/operator"
	"github.com/flavorless/flavorless/internal/testutil"
)

const (
	kills     = 28
	uploaders = 3 // at the same time
)

// TestSIGKILL runs the real program under uploads, and kills it again and again, wherever it happens to be: while it starts,
// at any time, or right behind a line of its log, which is to say between two steps of its work. In the end no upload
// that was answered is lost, every row has one outcome, the table is the fold of the files, and what a subscriber heard
// who came back each time adds up to the table.
func TestSIGKILL(t *testing.T) {
	s := newSiege(t)
	began := time.Now()
	s.start()
	s.ready()
	startup := time.Since(began)
	s.begin(6_000)
	for i := range kills {
		if i%7 == 6 { // some lives last
			s.ready()
			s.bucket.await(5)
		}
		s.endLife(s.random, startup)
	}
	t.Logf("%d kills took %s", kills, time.Since(began).Round(time.Second))
	s.end()
	t.Logf("all was settled after %s", time.Since(began).Round(time.Second))
}

// siege is a program in distress, with those who upload meanwhile, and one who listens.
type siege struct {
	*mortal
	*crew
	seed    uint64
	random  *rand.Rand
	bucket  *uploading
	ear     *returning
	uploads sync.WaitGroup
}

func newSiege(t *testing.T) *siege {
	t.Helper()
	s := &siege{mortal: newMortal(t), crew: &crew{}, seed: uint64(time.Now().UnixNano())}
	if seed, err := strconv.ParseUint(os.Getenv("FLAVORLESS_SEED"), 10, 64); err == nil {
		s.seed = seed
	}
	t.Logf("FLAVORLESS_SEED=%d repeats the files and the choice of moments", s.seed)
	s.random = rand.New(rand.NewPCG(s.seed, 0))
	s.ctx, s.dismiss = context.WithCancel(t.Context())
	s.bucket = &uploading{mortal: s.mortal, crew: s.crew, files: map[string]file{}, answered: map[string]bool{}}
	s.ear = &returning{mortal: s.mortal, crew: s.crew, heard: map[uint64]events.Change{}}
	t.Cleanup(func() {
		s.dismiss()
		s.work.Wait()
		s.uploads.Wait()
	})
	return s
}

// begin begins the uploads, of files with so many rows at most.
func (s *siege) begin(most int) {
	for i := range uploaders {
		own := &files{t: s.t, random: rand.New(rand.NewPCG(s.seed, uint64(1+i))), prefix: strconv.Itoa(i), most: most}
		s.uploads.Go(func() { s.bucket.upload(own) })
	}
	s.work.Go(s.ear.listen)
}

// end waits until all that was uploaded is settled, and looks at what has become of it.
func (s *siege) end() {
	s.t.Helper()
	info := s.ready()
	s.bucket.await(5)
	s.bucket.done.Store(true)
	s.uploads.Wait()
	s.bucket.settle(info)
	s.bucket.last(info)
	s.ear.awaitLast()
	reports := s.bucket.reports(info)
	whole := s.ear.whole(info)
	s.dismiss()
	s.work.Wait()
	s.stop()
	s.t.Logf("%d lives; %d files, %d of them answered, %d uploaded again; %d changes; %d readings handed on; %d messages stale, %d dead and redriven; %d starts again",
		s.lives, len(s.bucket.files), len(s.bucket.answered), s.bucket.repeated, len(s.ear.heard), s.seen["INFO handed on"],
		s.seen["WARN a message that was done is stored again after a crash, and is delivered again"], s.bucket.redriven,
		s.seen["WARN starting again: "+noSpace])
	if !maps.Equal(whole, s.ear.heard) { // they are many for a diff
		s.t.Errorf("who came back each time heard %d changes, which are not the %d that the stream has", len(s.ear.heard), len(whole))
	}
	s.bucket.check(reports, s.ear.heard)
}

// endings are in lines of the log that stand between two steps; the brace is in any.
var endings = []string{"published", "settled", "applied", "applied", "handed on", "reading it through", "event repeated", "{"}

// endLife kills the life, at a moment of its choice, and begins the next.
func (m *mortal) endLife(random *rand.Rand, startup time.Duration) {
	m.t.Helper()
	moment := func(most time.Duration) <-chan time.Time {
		return time.After(time.Duration(random.Int64N(int64(most))))
	}
	switch random.IntN(4) {
	case 0: // while it starts
		<-moment(startup)
	case 1: // at any time
		m.ready()
		<-moment(600 * time.Millisecond)
	default: // between two steps
		if random.IntN(4) > 0 {
			m.ready()
		}
		m.life.fall(endings[random.IntN(len(endings))], 1+random.IntN(12))
		select {
		case <-m.life.ended:
		case <-time.After(2 * time.Second): // it may be that such a line does not come
		}
	}
	m.kill()
	m.start()
}

// uploading is what is put into the bucket, and what is known of it.
type uploading struct {
	*mortal
	*crew
	done     atomic.Bool  // no more
	failed   atomic.Int64 // how many were not answered with 200
	redriven int

	mu       sync.Mutex
	files    map[string]file // by key; each was sent at least once
	answered map[string]bool // keys of those whose upload was answered with 200
	repeated int
}

// upload sends files until it is told to stop. One whose answer is lost it sends again, or leaves it.
func (u *uploading) upload(files *files) {
	for u.pause(time.Duration(files.random.IntN(40))*time.Millisecond) && !u.done.Load() {
		f := files.next()
		u.mu.Lock()
		u.files[f.object.Key] = f
		u.mu.Unlock()
		for !u.put(f) && files.random.IntN(2) == 0 {
			u.mu.Lock()
			u.repeated++
			u.mu.Unlock()
		}
	}
}

// put tells whether the upload was answered with 200.
func (u *uploading) put(f file) bool {
	info, found := u.alive(u.mortal)
	if !found {
		return false
	}
	_, err := s3Client(info).PutObject(u.ctx, &s3.PutObjectInput{
		Bucket: aws.String(info.Bucket), Key: aws.String(f.object.Key), Body: bytes.NewReader(f.body), Metadata: f.metadata,
	})
	var refused *awshttp.ResponseError
	if errors.As(err, &refused) {
		switch status := refused.HTTPStatusCode(); {
		case status == 0, status == http.StatusServiceUnavailable, status == http.StatusInsufficientStorage && u.small:
		default:
			u.t.Errorf("uploading %s: %v", f.object.Key, err)
		}
	}
	if err != nil {
		u.failed.Add(1)
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.answered[f.object.Key] = true
	return true
}

// await waits until so many more uploads are answered with 200.
func (u *uploading) await(more int) {
	u.t.Helper()
	answered := func() int {
		u.mu.Lock()
		defer u.mu.Unlock()
		return len(u.answered)
	}
	enough := answered() + more
	testutil.WaitFor(u.t, "uploads to be answered", func() bool { return answered() >= enough })
}

// settle waits until all that is in the bucket is settled, and puts back meanwhile what was in hand through so many ends
// that it is a dead letter.
func (u *uploading) settle(info local.Info) {
	u.t.Helper()
	settled := func() bool {
		known := map[string]bool{}
		for _, upload := range u.ledger(info) {
			known[upload.Key] = true
			if !upload.Status.Settled() {
				return false
			}
		}
		for _, key := range u.stored(info) {
			if !known[key] {
				return false
			}
		}
		return true
	}
	testutil.WaitFor(u.t, "all uploads to be settled", func() bool {
		if settled() {
			return true
		}
		u.redrive()
		return false
	})
}

// redrive puts dead letters back, as an operator would.
func (u *uploading) redrive() {
	u.t.Helper()
	for line := range strings.Lines(u.command("redrive", "--json")) {
		var queue operator.DeadQueue
		if err := json.Unmarshal([]byte(line), &queue); err != nil {
			u.t.Fatal(err)
		}
		for _, l := range queue.Letters {
			if !strings.Contains(l.Reason, "the process ended") {
				u.t.Errorf("in %s: %+v", queue.Queue, l)
			}
		}
		if queue.Waiting > 0 {
			u.redriven += int(queue.Waiting)
			u.command("redrive", queue.Queue)
		}
	}
}

// ledger lists all uploads.
func (u *uploading) ledger(info local.Info) (all []events.Upload) {
	u.t.Helper()
	for before := ""; ; before = "&before=" + all[len(all)-1].ID {
		var page struct {
			Uploads []events.Upload `json:"uploads"`
		}
		u.get(info, "/uploads?limit=500"+before, &page)
		if all = append(all, page.Uploads...); len(page.Uploads) < 500 {
			return all
		}
	}
}

// stored lists the keys of what is in the bucket.
func (u *uploading) stored(info local.Info) (keys []string) {
	u.t.Helper()
	pages := s3.NewListObjectsV2Paginator(s3Client(info), &s3.ListObjectsV2Input{Bucket: aws.String(info.Bucket), Prefix: aws.String("uploads/")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(u.t.Context())
		if err != nil {
			u.t.Fatal(err)
		}
		for _, o := range page.Contents {
			keys = append(keys, *o.Key)
		}
	}
	return keys
}

// lastPerson is in the last file alone.
const lastPerson = "the last one"

// last uploads one more file when all others are settled. Since changes are announced in the order in which they are
// stored, its change is the last of all.
func (u *uploading) last(info local.Info) {
	u.t.Helper()
	d := draft{format: formats[0]}
	d.set(lastPerson, "vanilla")
	end := d.end()
	end.object.Key = "uploads/last.csv"
	f := file{upload: end, body: []byte(end.text)}
	u.files[f.object.Key] = f
	if !u.put(f) {
		u.t.Fatal("the last upload was not answered")
	}
	u.settle(info)
}

// reports reads what is told of rejected rows, by upload.
func (u *uploading) reports(info local.Info) map[string][]byte {
	u.t.Helper()
	reports := map[string][]byte{}
	client := s3Client(info)
	for _, upload := range u.ledger(info) {
		if upload.RejectsAt == "" {
			continue
		}
		key, ours := strings.CutPrefix(upload.RejectsAt, "s3://"+info.ReportsBucket+"/")
		if want := upload.ID + "/rejects.ndjson"; !ours || key != want {
			u.t.Errorf("upload %s: its report is at %s, want %s", upload.Key, upload.RejectsAt, want)
		}
		out, err := client.GetObject(u.t.Context(), &s3.GetObjectInput{Bucket: aws.String(info.ReportsBucket), Key: aws.String(key)})
		if err == nil {
			reports[upload.ID], err = io.ReadAll(out.Body)
			_ = out.Body.Close()
		}
		if err != nil {
			u.t.Fatal(err)
		}
	}
	return reports
}

// check looks at what the end of the last life has left.
func (u *uploading) check(reports map[string][]byte, heard map[uint64]events.Change) {
	u.t.Helper()
	ctx := u.t.Context()
	objects := u.objects(ctx)
	for key := range u.answered {
		if _, found := objects[key]; !found {
			u.t.Errorf("the upload of %s was answered with 200, and is not in the bucket", key)
		}
	}
	db, err := sqlite.Open(sqlite.Config{Path: filepath.Join(u.dir, "flavorless.db")})
	if err != nil {
		u.t.Fatal(err)
	}
	defer db.Close()
	uploads := map[string]upload{}
	current := map[string]bool{} // uploads whose object is still there
	for key, o := range objects {
		f, sent := u.files[key]
		if !sent {
			u.t.Fatalf("nobody uploaded %s", key)
		}
		got, err := db.Upload(ctx, o.UploadID())
		if err != nil {
			u.t.Fatalf("%s is in the bucket, and not in the ledger: %v", key, err)
		}
		f.object = o
		checkUpload(u.t, f.upload, got, reports[got.ID])
		uploads[key], current[got.ID] = f.upload, true
	}
	all, err := db.Uploads(ctx, "", 1<<20)
	if err != nil {
		u.t.Fatal(err)
	}
	for _, got := range all {
		// What was overwritten by the same file is as it is to be, or was gone before it was read.
		if c := got.Counts; c.Applied+c.Superseded+c.Rejected != c.Rows || c.Batches != c.BatchesApplied {
			u.t.Errorf("the rows of %s do not add up: %+v", got.Key, got)
		}
		if current[got.ID] || got.Failure != nil && got.Failure.Code == events.ObjectVanished {
			continue
		}
		if got, err = db.Upload(ctx, got.ID); err != nil { // the list has no rejects
			u.t.Fatal(err)
		}
		checkUpload(u.t, u.files[got.Key].upload, got, reports[got.ID])
	}
	team, err := db.Team(ctx, "", 1<<20)
	if err != nil {
		u.t.Fatal(err)
	}
	table := checkTable(u.t, uploads, team)
	checkChanges(u.t, slices.Collect(maps.Values(heard)), table)
	if left, err := db.Pending(ctx, 1); err != nil || len(left) > 0 {
		u.t.Errorf("left in the outbox: %v, %v", left, err)
	}
	u.leftovers(db, uploads, current)
}

// leftovers: what is still in the queues is there once more only, or tells of an object that was overwritten before it was
// read, by one that is settled; and nothing is in the dead letters.
func (u *uploading) leftovers(db *sqlite.DB, uploads map[string]upload, current map[string]bool) {
	u.t.Helper()
	streams, err := broker.Start(u.t.Context(), broker.Config{Dir: filepath.Join(u.dir, "streams")})
	if err != nil {
		u.t.Fatal(err)
	}
	defer streams.Stop()
	log := slog.New(slog.DiscardHandler)
	queues := queue.New(streams, queue.NewDeadQueue(streams, log), log)
	ctx, end := context.WithCancel(u.t.Context())
	var work sync.WaitGroup
	defer work.Wait()
	defer end()
	applier := &ingest.Applier{Table: onlyRepeated{u.t, db}, Log: slog.New(slog.DiscardHandler)}
	for stream, done := range map[broker.Stream]func(context.Context, queue.Delivery) error{
		broker.Uploads: func(ctx context.Context, d queue.Delivery) error {
			var o events.Object
			if err := json.Unmarshal(d.Body, &o); err != nil {
				return err
			}
			got, err := db.Upload(ctx, o.UploadID())
			if _, settled := uploads[o.Key]; settled && !current[o.UploadID()] && errors.Is(err, events.ErrNotFound) {
				return nil
			}
			if err == nil && !got.Status.Settled() {
				err = fmt.Errorf("the event of %s is still in its queue, and the upload is %s", o.Key, got.Status)
			}
			return err
		},
		broker.Updates: func(ctx context.Context, d queue.Delivery) error {
			return errors.Join(applier.Apply(ctx, [][]byte{d.Body})...)
		},
	} {
		work.Go(func() {
			err := queues.Consume(ctx, queue.Config{Stream: stream, MaxMessages: 1}, func(ctx context.Context, group []queue.Delivery) []error {
				if err := done(ctx, group[0]); err != nil {
					u.t.Error(err)
				}
				return nil
			})
			if err != nil {
				u.t.Error(err)
			}
		})
	}
	testutil.WaitFor(u.t, "the queues to be empty", func() bool {
		depths, err := queues.Depths(ctx)
		if err != nil {
			u.t.Fatal(err)
		}
		return gocmp.Equal(depths, map[broker.Stream]queue.Depth{broker.Uploads: {}, broker.Updates: {}})
	})
}

// onlyRepeated is a table that has had every batch before.
type onlyRepeated struct {
	t *testing.T
	*sqlite.DB
}

func (o onlyRepeated) Apply(ctx context.Context, batches []events.Batch) ([]events.BatchResult, error) {
	tallies, err := o.DB.Apply(ctx, batches)
	for i, tally := range tallies {
		if !tally.Duplicate {
			o.t.Errorf("batch %s was still in its queue, and not applied", batches[i].ID())
		}
	}
	return tallies, err
}

// objects lists what is in the bucket, under the identities that were announced.
func (u *uploading) objects(ctx context.Context) map[string]events.Object {
	u.t.Helper()
	g, err := gateway.Start(gateway.Config{
		Dir: filepath.Join(u.dir, "bucket"), AccessKey: "test", SecretKey: "test", Bucket: "flavorless-uploads", Prefix: "uploads/",
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		u.t.Fatal(err)
	}
	objects := map[string]events.Object{}
	err = g.Objects(ctx, func(o events.Object) error { objects[o.Key] = o; return nil })
	if err = errors.Join(err, g.Stop(ctx)); err != nil {
		u.t.Fatal(err)
	}
	return objects
}

// returning is a subscriber who comes back whenever the server does, and goes on behind what it has heard.
type returning struct {
	*mortal
	*crew

	mu    sync.Mutex
	last  uint64                   // sequence of the newest message
	heard map[uint64]events.Change // by sequence
	ended bool                     // the last one's change came
}

func (r *returning) listen() {
	for {
		info, found := r.alive(r.mortal)
		if !found {
			return
		}
		err := subscribe(r.ctx, info, r.last+1, r.hear)
		if !r.pause(5 * time.Millisecond) {
			return
		}
		if info, found := r.info(); found && err != nil {
			r.t.Logf("subscribing at %s: %v", info.NATS, err)
		}
	}
}

// hear takes the next message.
func (r *returning) hear(sequence uint64, c events.Change) (more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if sequence != r.last+1 {
		r.t.Errorf("message %d comes behind %d", sequence, r.last)
	}
	r.last, r.heard[sequence] = sequence, c
	r.ended = r.ended || c.Person == lastPerson
	return true
}

// awaitLast waits for the change that is the last.
func (r *returning) awaitLast() {
	r.t.Helper()
	testutil.WaitFor(r.t, "the last change", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.ended
	})
}

// whole reads the stream of changes from its beginning.
func (r *returning) whole(info local.Info) map[uint64]events.Change {
	r.t.Helper()
	all := map[uint64]events.Change{}
	err := subscribe(r.t.Context(), info, 1, func(sequence uint64, c events.Change) bool {
		all[sequence] = c
		return sequence < r.last
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}

// subscribe hands over changes, with a subscriber's rights, from a sequence on until there are to be no more, or until the
// connection ends.
func subscribe(ctx context.Context, info local.Info, from uint64, each func(uint64, events.Change) (more bool)) error {
	conn, err := nats.Connect(info.NATS, nats.UserInfo(info.NATSUser, info.NATSPassword), nats.NoReconnect(),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // it is not to be printed
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := natsjs.New(conn)
	if err != nil {
		return err
	}
	consumer, err := js.CreateConsumer(ctx, "CHANGES", natsjs.ConsumerConfig{
		DeliverPolicy: natsjs.DeliverByStartSequencePolicy, OptStartSeq: from, AckPolicy: natsjs.AckNonePolicy, InactiveThreshold: time.Minute,
	})
	if err != nil {
		return err
	}
	for ctx.Err() == nil && !conn.IsClosed() {
		batch, err := consumer.Fetch(500, natsjs.FetchMaxWait(time.Second))
		if err != nil {
			return err
		}
		for m := range batch.Messages() {
			meta, err := m.Metadata()
			if err != nil {
				return err
			}
			c, err := events.DecodeChange(m.Data())
			if err != nil {
				return err
			}
			if !each(meta.Sequence.Stream, c) {
				return nil
			}
		}
		if err := batch.Error(); err != nil {
			return err
		}
	}
	return ctx.Err()
}
