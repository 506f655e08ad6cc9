package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/embedded/sqlite"
)

// TestConvergence is promise 2 (and 3 and 4 with it): several overlapping uploads are ingested, their events repeated;
// their batches are delivered in any order, repeatedly, in groups; and the process dies between any two steps. The table,
// the ledger's counts and the changes come out as a model has them that knows none of that.
func TestConvergence(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		h := newHouse(t, filepath.Join(dir, fmt.Sprint(n)))
		defer h.close()
		for range rapid.IntRange(1, 4).Draw(t, "uploads") {
			h.upload()
		}
		for len(h.events)+len(h.spans)+len(h.queue) > 0 {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				h.crash()
			case 1, 2:
				h.announce()
			case 3, 4, 5:
				h.ingest()
			default:
				h.apply()
			}
		}
		h.settle()
		h.check()
	})
}

// house is the core between queues that the test holds in its hands. What a real queue may do, it does: deliver in any
// order, and again what was not acknowledged.
type house struct {
	*rapid.T
	path string
	db   *sqlite.DB

	objects map[string]upload // by key
	reports map[string][]byte
	events  []events.Object
	spans   []events.Message
	queue   []events.Message // of updates
	heard   []events.Change  // by a subscriber

	model map[string]stored // the rule of the table, and nothing else
	want  map[string]*events.Counts
	seen  map[string]bool // batches
}

func newHouse(t *rapid.T, path string) *house {
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	h := &house{T: t, path: path, objects: map[string]upload{}, reports: map[string][]byte{}, model: map[string]stored{}, want: map[string]*events.Counts{}, seen: map[string]bool{}}
	h.open()
	return h
}

func (h *house) open() {
	var err error
	h.db, err = sqlite.Open(sqlite.Config{Path: filepath.Join(h.path, "db"), Relaxed: true})
	h.must(err)
}

func (h *house) close() {
	h.must(h.db.Close())
	h.must(os.RemoveAll(h.path))
}

func (h *house) must(err error) {
	if err != nil {
		h.Fatal(err)
	}
}

func (h *house) draw(label string, most int) int { return rapid.IntRange(0, most).Draw(h.T, label) }

// upload draws a file, and announces it once or more.
func (h *house) upload() {
	u := drawUpload(h.T, len(h.objects), 12)
	h.objects[u.object.Key] = u
	for range 1 + h.draw("events", 2) {
		h.events = append(h.events, u.object)
	}
}

// pick takes one of n at random, since no order is promised.
func (h *house) pick(n int) int { return rapid.IntRange(0, n-1).Draw(h.T, "pick") }

// ingest handles one event, or the rest of a file that was handed on; or dies in the middle of publishing, and will have
// it again. It hands on the rest whenever the test feels like it.
func (h *house) ingest() {
	if len(h.events)+len(h.spans) == 0 {
		return
	}
	topic := &queueTopic{house: h, left: 1000}
	if h.draw("break", 3) == 0 {
		topic.left = h.draw("published", 3)
	}
	in := ingest.New(ingest.Config{
		Objects: h, Updates: topic, Ledger: h.db, Reports: reports{h.reports}, Clock: time.Now, Log: slog.New(slog.DiscardHandler),
		BatchBytes:    460, // two rows or three
		Continuations: topic,
		Pause:         func(context.Context) bool { return h.draw("pause", 3) == 0 },
	})
	lost := h.draw("acknowledgement lost", 4) == 0
	i := h.pick(len(h.events) + len(h.spans))
	var err error
	if i < len(h.events) {
		if err = in.Ingest(context.Background(), h.events[i]); err == nil && !lost {
			h.events = slices.Delete(h.events, i, i+1)
		}
	} else {
		i -= len(h.events)
		span, bad := events.DecodeContinuation(h.spans[i].Body)
		h.must(bad)
		if err = in.Resume(context.Background(), span); err == nil && !lost {
			h.spans = slices.Delete(h.spans, i, i+1)
		}
	}
	switch {
	case topic.left < 0 && err == nil:
		h.Fatal("ingest was told that a batch was not published, and is content")
	case topic.left >= 0 && err != nil:
		h.Fatal(err)
	}
}

// Open implements the objects port of ingest.
func (h *house) Open(_ context.Context, o events.Object, offset int64) (io.ReadCloser, map[string]string, error) {
	return io.NopCloser(strings.NewReader(h.objects[o.Key].text[offset:])), nil, nil
}

// reports implements the reports port of ingest.
type reports struct{ stored map[string][]byte }

func (r reports) Put(_ context.Context, key string, body io.Reader) (string, error) {
	b, err := io.ReadAll(body)
	if err == nil {
		r.stored[key] = b
	}
	return "s3://reports/" + key, err
}

func (r reports) Get(_ context.Context, key string) (io.ReadCloser, error) {
	b, found := r.stored[key]
	if !found {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (r reports) Remove(_ context.Context, prefix string) error {
	maps.DeleteFunc(r.stored, func(key string, _ []byte) bool { return strings.HasPrefix(key, prefix) })
	return nil
}

// queueTopic is a topic with queues behind it, which fails for good after some messages.
type queueTopic struct {
	*house
	mu   sync.Mutex // several requests are under way
	left int
}

func (q *queueTopic) Publish(_ context.Context, messages []events.Message) []error {
	q.mu.Lock()
	defer q.mu.Unlock()
	errs := make([]error, len(messages))
	for i, m := range messages {
		if q.left--; q.left < 0 {
			errs[i] = fmt.Errorf("%w: the test stops here", events.ErrPermanent)
			continue
		}
		if m.Subject == events.ContinuationType {
			q.spans = append(q.spans, m)
		} else {
			q.queue = append(q.queue, m)
		}
	}
	return errs
}

// apply delivers a group of messages. It may be delivered again, because its acknowledgement is lost or because the
// process dies before or after the transaction.
func (h *house) apply() {
	if len(h.queue) == 0 {
		return
	}
	var group []events.Message
	var bodies [][]byte
	for range 1 + h.draw("group", 3) {
		if len(h.queue) == 0 {
			break
		}
		i := h.pick(len(h.queue))
		group = append(group, h.queue[i])
		bodies = append(bodies, bytes.Clone(h.queue[i].Body))
		h.queue = slices.Delete(h.queue, i, i+1)
	}
	again := func() { h.queue = append(h.queue, group...) }
	fate := h.draw("fate", 9)
	if fate == 0 { // dead before
		again()
		h.crash()
		return
	}
	applier := &ingest.Applier{Table: h.db, Log: slog.New(slog.DiscardHandler)}
	h.must(errors.Join(applier.Apply(context.Background(), bodies)...))
	h.account(bodies)
	switch fate {
	case 1: // dead after
		again()
		h.crash()
	case 2: // the acknowledgement lost
		again()
	}
}

// account does in the model what the table promises: of the new batches of a group, the newest row of each person is
// stored if it is newer than what is.
func (h *house) account(bodies [][]byte) {
	type versioned struct {
		events.Update
		version events.Version
	}
	var rows []versioned
	newest := map[string]events.Version{}
	for _, body := range bodies {
		b, err := events.DecodeBatch(body)
		h.must(err)
		if h.seen[b.ID()] {
			continue
		}
		h.seen[b.ID()] = true
		h.counts(b.UploadID()).BatchesApplied++
		for _, r := range b.Rows {
			v := b.Origin.At(r.Offset)
			rows = append(rows, versioned{r, v})
			newest[r.Person] = max(newest[r.Person], v)
		}
	}
	for _, r := range rows {
		c := h.counts(r.version.UploadID())
		if r.version != newest[r.Person] || h.model[r.Person].version >= r.version {
			c.Superseded++
			continue
		}
		c.Applied++
		h.model[r.Person] = stored{r.version, r.Flavor}
	}
}

func (h *house) counts(upload string) *events.Counts {
	if h.want[upload] == nil {
		h.want[upload] = &events.Counts{}
	}
	return h.want[upload]
}

// announce publishes some of the outbox; dead between publishing and noting so, it does so again later.
func (h *house) announce() {
	records, err := h.db.Pending(context.Background(), 1+h.draw("records", 3))
	h.must(err)
	announcer := &ingest.Announcer{Changes: subscriber{h}, Log: slog.New(slog.DiscardHandler)}
	for _, r := range records {
		h.must(errors.Join(announcer.Announce(context.Background(), r.Changes)...))
		if h.draw("dead", 4) == 0 {
			h.crash()
			return
		}
		h.must(h.db.Announced(context.Background(), r.Seq))
	}
}

type subscriber struct{ *house }

func (s subscriber) Publish(_ context.Context, messages []events.Message) []error {
	for _, m := range messages {
		c, err := events.DecodeChange(m.Body)
		s.must(err)
		s.heard = append(s.heard, c)
	}
	return make([]error, len(messages))
}

// crash ends the process, as far as the table can tell, and starts the next one.
func (h *house) crash() {
	h.must(h.db.Close())
	h.open()
}

// settle lets the last changes be announced.
func (h *house) settle() {
	for {
		records, err := h.db.Pending(context.Background(), 1)
		h.must(err)
		if len(records) == 0 {
			return
		}
		h.announce()
	}
}

func (h *house) check() {
	ctx := context.Background()
	team, err := h.db.Team(ctx, "", 1000)
	h.must(err)
	table := checkTable(h, h.objects, team)
	for _, u := range h.objects {
		got, err := h.db.Upload(ctx, u.object.UploadID())
		h.must(err)
		checkUpload(h, u, got, h.reports[got.ID+"/rejects.ndjson"])
		for key := range h.reports {
			if strings.HasPrefix(key, got.ID+"/rejects/") {
				h.Errorf("%s is left, although %s is settled", key, u.object.Key)
			}
		}
		want := *h.counts(got.ID)
		want.Rows, want.Rejected, want.Batches = int64(len(u.accepted)+len(u.rejected)), int64(len(u.rejected)), want.BatchesApplied
		if diff := gocmp.Diff(want, got.Counts); diff != "" {
			h.Fatalf("counts of %s (-want +got):\n%s", u.object.Key, diff)
		}
	}
	checkChanges(h, h.heard, table)
}
