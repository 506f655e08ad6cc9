package local_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/local"
)

const day = 24 * time.Hour

// pass lets time pass, and the hourly work be done.
func (h *house) pass(d time.Duration) {
	h.t.Helper()
	h.forward(d)
	if err := h.Tidy(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) keys() (keys []string) {
	h.t.Helper()
	for _, u := range h.uploads() {
		keys = append(keys, u.Key)
	}
	return keys
}

// TestUploadsAreForgotten as a whole: file and record. What they brought stays, the next start does not ingest them anew,
// and a file of the same name that came later is not theirs.
func TestUploadsAreForgotten(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *local.Config) { c.Retention.Uploads, c.Retention.Newest = 10*day, 1 })
	bucket := h.Info().Bucket
	h.put("same.csv", "person,flavor\nandy,vanilla\nbill\n")
	h.allSettled(1)
	h.put("old.csv", "person,flavor\ncleo,vanilla\n")
	h.allSettled(2)
	h.pass(9 * day)
	h.allSettled(2)
	h.put("same.csv", "person,flavor\ndora,vanilla\n")
	h.allSettled(3)
	h.pass(day - time.Minute)
	h.allSettled(3)
	h.pass(2 * time.Minute)
	if left := h.allSettled(1); left[0].Key != "uploads/same.csv" || left[0].Counts.Rejected != 0 {
		t.Errorf("left: %+v", left)
	}
	if got := h.object(bucket, "uploads/old.csv"); got != "" {
		t.Errorf("the old file is still there: %q", got)
	}
	if got := h.object(bucket, "uploads/same.csv"); got == "" {
		t.Error("the newer file is gone")
	}
	h.pass(100 * day) // the newest stays
	h.allSettled(1)
	h.stop()
	h.start()
	h.allSettled(1)
	h.put("new.csv", "person,flavor\nandy,mint\nbill,mint\ncleo,vanilla\n")
	if u := h.allSettled(2)[0]; u.Counts.Applied != 3 {
		t.Errorf("%+v", u)
	}
	if n := h.changes(5); n != 5 { // andy, cleo, dora; andy and bill: cleo was still there
		t.Errorf("%d changes, want 5", n)
	}
}

// log is the stream of changes, as a subscriber sees it.
func (h *house) log() jetstream.Stream {
	h.t.Helper()
	i := h.Info()
	nc, err := nats.Connect(i.NATS, nats.UserInfo(i.NATSUser, i.NATSPassword))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		h.t.Fatal(err)
	}
	stream, err := js.Stream(h.t.Context(), "CHANGES")
	if err != nil {
		h.t.Fatal(err)
	}
	return stream
}

// changes counts what was announced, once so many are there.
func (h *house) changes(atLeast uint64) (n uint64) {
	h.t.Helper()
	log := h.log()
	await(h.t, "all changes", func() bool {
		info, err := log.Info(h.t.Context())
		if err != nil {
			h.t.Fatal(err)
		}
		n = info.State.Msgs
		return n >= atLeast
	})
	return n
}

// TestUploadsAreKept for ever, unless told otherwise.
func TestUploadsAreKept(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *local.Config) { c.Retention.Newest = 1 })
	for i := range 3 {
		h.put(fmt.Sprintf("%d.csv", i), "person,flavor\nandy,vanilla\n")
		h.allSettled(i + 1)
	}
	h.pass(10_000 * day)
	h.allSettled(3)
}

// TestNothingIsForgottenWhileDeadLettersWait: one may belong to it, and would be taken for news.
func TestNothingIsForgottenWhileDeadLettersWait(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *local.Config) { c.Retention.Uploads, c.Retention.Newest = 10*day, 1 })
	for i := range 3 {
		h.put(fmt.Sprintf("%d.csv", i), "person,flavor\nandy,vanilla\n")
		h.allSettled(i + 1)
	}
	if err := h.PublishNonsense(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "it is dead", func() bool {
		_, dead, err := h.Waiting(t.Context())
		return err == nil && dead == 1
	})
	h.forward(11 * day)
	if err := h.Tidy(t.Context()); !errors.Is(err, local.ErrNotNow) {
		t.Errorf("Tidy = %v, want ErrNotNow", err)
	}
	if got := h.keys(); len(got) != 3 {
		t.Errorf("left: %v", got)
	}
}

// TestReportsAreRemoved after their time; the record that names one stays.
func TestReportsAreRemoved(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *local.Config) { c.Retention.Reports = 10 * day })
	h.put("a.csv", "person,flavor\nbill\n")
	u := h.allSettled(1)[0]
	key := u.ID + "/rejects.ndjson"
	h.pass(10*day - time.Minute)
	if got := h.object(h.Info().ReportsBucket, key); got == "" {
		t.Fatal("the report is gone too early")
	}
	h.pass(2 * time.Minute)
	if got := h.object(h.Info().ReportsBucket, key); got != "" {
		t.Errorf("the report is still there: %q", got)
	}
	if got := h.object(h.Info().Bucket, "uploads/a.csv"); got == "" {
		t.Error("the upload is gone")
	}
	h.allSettled(1)
}

// TestRemovedPeopleAreForgotten after their time, and not before.
func TestRemovedPeopleAreForgotten(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *local.Config) { c.Retention.Removed = 10 * day })
	h.put("a.json", `{"andy":"vanilla"}`)
	h.allSettled(1)
	h.put("b.json", `{"andy":null}`)
	h.allSettled(2)
	for _, test := range []struct {
		after time.Duration
		want  int
	}{{10*day - time.Minute, 1}, {2 * time.Minute, 0}} {
		h.pass(test.after)
		if n, err := h.Tombstones(t.Context()); n != test.want || err != nil {
			t.Errorf("%d are remembered, %v; want %d", n, err, test.want)
		}
	}
}

// TestChangesAreKept as long as told, also when that was told otherwise before, and a subscriber of then is still there.
func TestChangesAreKept(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *local.Config) { c.Retention.Changes = 20 * day })
	kept := func(want time.Duration, bytes int64) {
		t.Helper()
		stream := h.log()
		if c := stream.CachedInfo().Config; c.MaxAge != want || c.MaxBytes != bytes {
			t.Errorf("kept for %s and %d bytes, want %s and %d", c.MaxAge, c.MaxBytes, want, bytes)
		}
		if _, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Name: "subscriber"}); err != nil {
			t.Errorf("a subscriber: %v", err)
		}
	}
	kept(20*day, 10<<30)
	h.stop()
	h.cfg.Retention.Changes, h.cfg.Retention.ChangesBytes = day, 1<<20
	h.start()
	kept(day, 1<<20)
}

// TestWithoutStreams: a data folder whose queues are gone (a backup without them, say) loses no upload. Those that were
// under way are read again, and their rows are counted as if for the first time; if the file is gone, too, that shows.
func TestWithoutStreams(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		lucky  int64
		delete bool
		want   events.Status
	}{
		"before ingest":        {2, false, events.Live},
		"before a batch":       {3, false, events.Live},
		"before apply":         {4, false, events.Live},
		"and without the file": {4, true, events.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := start(t, func(c *local.Config) { c.Limits.MinFree = reserve })
			h.put("done.csv", "person,flavor\nandy,vanilla\n")
			before := h.allSettled(1)[0]
			h.fill(test.lucky, 0)
			h.put("a.csv", "person,flavor\nandy,mint\ncleo,mint\nbill\n")
			least := h.low.Load() + 2
			await(t, "it stands still", func() bool { return h.low.Load() >= least })
			h.stop()
			gone := []string{"streams"}
			if test.delete {
				gone = append(gone, "bucket/objects/flavorless-uploads/uploads/a.csv")
			}
			for _, path := range gone {
				if err := os.RemoveAll(filepath.Join(h.cfg.Dir, path)); err != nil {
					t.Fatal(err)
				}
			}
			h.disk.Store(plenty)
			h.start()
			await(t, "it is read again", func() bool {
				if err := h.Tidy(t.Context()); err != nil && !errors.Is(err, local.ErrNotNow) {
					t.Fatal(err)
				}
				list := h.uploads()
				return len(list) == 2 && list[0].Status.Settled()
			})
			list := h.allSettled(2)
			c := list[0].Counts
			if list[0].Status != test.want || !test.delete && (c.Rows != 3 || c.Applied != 2 || c.Rejected != 1) {
				t.Errorf("it was read again as %+v", list[0])
			}
			if !before.Settled.Equal(list[1].Settled) {
				t.Errorf("what was done was done again: %+v, was %+v", list[1], before)
			}
			if want := map[bool]uint64{false: 2}[test.delete]; h.changes(want) != want {
				t.Errorf("%d changes, want %d", h.changes(want), want)
			}
		})
	}
}

// TestWhatIsUnderWayIsNotReadAgain: it only takes long.
func TestWhatIsUnderWayIsNotReadAgain(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *local.Config) { c.Limits.MinFree = reserve })
	h.fill(4, 0)
	h.put("a.csv", "person,flavor\nandy,mint\n")
	least := h.low.Load() + 2
	await(t, "it stands still", func() bool { return h.low.Load() >= least })
	if err := h.Tidy(t.Context()); !errors.Is(err, local.ErrNotNow) {
		t.Errorf("Tidy = %v, want ErrNotNow", err)
	}
	if u := h.uploads()[0]; u.Status != events.Applying || u.Counts.Rows != 1 {
		t.Errorf("%+v", u)
	}
	h.disk.Store(plenty)
	h.allSettled(1)
}
