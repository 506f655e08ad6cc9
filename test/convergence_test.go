package test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
		for len(h.events)+len(h.queue) > 0 {
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
	events  []events.Object
	queue   []events.Message // of updates
	heard   []events.Change  // by a subscriber

	model map[string]stored // the rule of the table, and nothing else
	want  map[string]*events.Counts
	seen  map[string]bool // batches
}

// upload is a file, and the rows that it has.
type upload struct {
	object   events.Object
	text     string
	accepted []events.Update
	rejected int64
}

type stored struct {
	version events.Version
	flavor  string
}

func newHouse(t *rapid.T, path string) *house {
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	h := &house{T: t, path: path, objects: map[string]upload{}, model: map[string]stored{}, want: map[string]*events.Counts{}, seen: map[string]bool{}}
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

// upload makes a file of few people, so that they meet often, and announces it once or more.
func (h *house) upload() {
	key := fmt.Sprintf("uploads/%d.csv", len(h.objects))
	o := events.Object{
		Bucket: "b", Key: key, ETag: fmt.Sprintf("%032x", len(h.objects)),
		Time:      time.UnixMilli(1_700_000_000_000 + int64(h.draw("ms", 2))), // they tie, too
		Sequencer: fmt.Sprintf("%x", 16+h.draw("sequencer", 300)),
	}
	u := upload{object: o}
	text := "person,flavor,action\n"
	for range h.draw("rows", 12) {
		row := events.Update{Offset: int64(len(text)), Person: string(rune('a' + h.draw("person", 4)))}
		switch h.draw("kind", 6) {
		case 0:
			row.Remove = true
			text += row.Person + ",,remove\n"
		case 1:
			u.rejected++
			text += row.Person + ",,\n"
			continue
		default:
			row.Flavor = []string{"vanilla", "mint", "fudge"}[h.draw("flavor", 2)]
			text += row.Person + "," + row.Flavor + ",\n"
		}
		u.accepted = append(u.accepted, row)
	}
	u.text = text
	h.objects[key] = u
	for range 1 + h.draw("events", 2) {
		h.events = append(h.events, o)
	}
}

// pick takes one of n at random, since no order is promised.
func (h *house) pick(n int) int { return rapid.IntRange(0, n-1).Draw(h.T, "pick") }

// ingest handles one event; or dies in the middle of publishing, and will have it again.
func (h *house) ingest() {
	if len(h.events) == 0 {
		return
	}
	i := h.pick(len(h.events))
	o := h.events[i]
	topic := &queueTopic{house: h, left: 1000}
	if h.draw("break", 3) == 0 {
		topic.left = h.draw("published", 3)
	}
	in := ingest.New(ingest.Config{
		Objects: h, Updates: topic, Ledger: h.db, Reports: discard{}, Clock: time.Now, Log: slog.New(slog.DiscardHandler),
		BatchBytes: 460, // two rows or three
	})
	err := in.Ingest(context.Background(), o)
	switch {
	case topic.left < 0 && err == nil:
		h.Fatal("ingest was told that a batch was not published, and is content")
	case topic.left >= 0 && err != nil:
		h.Fatal(err)
	case err == nil && h.draw("acknowledgement lost", 4) > 0:
		h.events = slices.Delete(h.events, i, i+1)
	}
}

// Open implements the objects port of ingest.
func (h *house) Open(_ context.Context, o events.Object) (io.ReadCloser, map[string]string, error) {
	return io.NopCloser(strings.NewReader(h.objects[o.Key].text)), nil, nil
}

type discard struct{}

func (discard) Put(_ context.Context, key string, body io.Reader) (string, error) {
	_, err := io.Copy(io.Discard, body)
	return "s3://reports/" + key, err
}

// queueTopic is a topic with a queue behind it, which fails for good after some messages.
type queueTopic struct {
	*house
	left int
}

func (q *queueTopic) Publish(_ context.Context, messages []events.Message) []error {
	errs := make([]error, len(messages))
	for i, m := range messages {
		if q.left--; q.left < 0 {
			errs[i] = fmt.Errorf("%w: the test stops here", events.ErrPermanent)
			continue
		}
		q.queue = append(q.queue, m)
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
		h.counts(b.Upload()).BatchesApplied++
		for _, r := range b.Rows {
			v := b.Origin.At(r.Offset)
			rows = append(rows, versioned{r, v})
			newest[r.Person] = max(newest[r.Person], v)
		}
	}
	for _, r := range rows {
		c := h.counts(r.version.Upload())
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
		h.must(announcer.Announce(context.Background(), r.Changes))
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

	// The table is the fold of the files by version.
	folded := map[string]stored{}
	for _, u := range h.objects {
		origin, err := u.object.Origin()
		h.must(err)
		for _, r := range u.accepted {
			if v := origin.At(r.Offset); v > folded[r.Person].version {
				folded[r.Person] = stored{v, r.Flavor}
			}
		}
	}
	maps.DeleteFunc(folded, func(_ string, s stored) bool { return s.flavor == "" })
	team, err := h.db.Team(ctx, "", 1000)
	h.must(err)
	table := map[string]stored{}
	for _, f := range team {
		table[f.Person] = stored{f.Version, f.Flavor}
	}
	opt := gocmp.AllowUnexported(stored{})
	if diff := gocmp.Diff(folded, table, opt); diff != "" {
		h.Fatalf("the table is not the fold of the files (-want +got):\n%s", diff)
	}

	// Every upload is live, and its counts are the model's.
	for _, u := range h.objects {
		got, err := h.db.Upload(ctx, u.object.UploadID())
		h.must(err)
		if got.Status != events.Live {
			h.Fatalf("upload %s is %s: %+v", u.object.Key, got.Status, got.Counts)
		}
		c := got.Counts
		if c.Applied+c.Superseded+c.Rejected != c.Rows {
			h.Fatalf("upload %s does not add up: %+v", u.object.Key, c)
		}
		want := *h.counts(got.ID)
		want.Rows, want.Rejected, want.Batches = int64(len(u.accepted))+u.rejected, u.rejected, want.BatchesApplied
		if diff := gocmp.Diff(want, c); diff != "" {
			h.Fatalf("counts of %s (-want +got):\n%s", u.object.Key, diff)
		}
	}
	h.checkChanges(table)
}

// checkChanges: repeated ones left out, the changes of a person form a chain in which every link is a real change, and
// which ends at what the table has.
func (h *house) checkChanges(table map[string]stored) {
	chains := map[string]map[events.Version]events.Change{}
	for _, c := range h.heard {
		if chains[c.Person] == nil {
			chains[c.Person] = map[events.Version]events.Change{}
		}
		if before, repeated := chains[c.Person][c.Version]; repeated && before != c {
			h.Fatalf("one change, told in two ways: %+v and %+v", before, c)
		}
		chains[c.Person][c.Version] = c
	}
	folded := map[string]string{}
	for person, chain := range chains {
		flavor := ""
		for _, c := range slices.SortedFunc(maps.Values(chain), func(a, b events.Change) int { return cmp.Compare(a.Version, b.Version) }) {
			if c.Previous != flavor || c.Flavor == flavor {
				h.Fatalf("%s had %q, and then this is announced: %+v", person, flavor, c)
			}
			flavor = c.Flavor
		}
		if flavor != "" {
			folded[person] = flavor
		}
	}
	flavors := map[string]string{}
	for person, s := range table {
		flavors[person] = s.flavor
	}
	if diff := gocmp.Diff(flavors, folded); diff != "" {
		h.Fatalf("the changes do not add up to the table (-table +changes):\n%s", diff)
	}
}
