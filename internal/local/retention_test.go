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
func (h *machine) pass(t *testing.T, d time.Duration) {
	t.Helper()
	h.later.Add(int64(d))
	if err := h.Tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (h *machine) keys(t *testing.T) (keys []string) {
	t.Helper()
	for _, u := range h.uploads(t) {
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
	h.mustPut(t, "uploads/same.csv", "person,flavor\nandy,vanilla\nbill\n")
	h.settled(t, 1)
	h.mustPut(t, "uploads/old.csv", "person,flavor\ncleo,vanilla\n")
	h.settled(t, 2)
	h.pass(t, 9*day)
	h.settled(t, 2)
	h.mustPut(t, "uploads/same.csv", "person,flavor\ndora,vanilla\n")
	h.settled(t, 3)
	h.pass(t, day-time.Minute)
	h.settled(t, 3)
	h.pass(t, 2*time.Minute)
	if left := h.settled(t, 1); left[0].Key != "uploads/same.csv" || left[0].Counts.Rejected != 0 {
		t.Errorf("left: %+v", left)
	}
	if got := h.get(t, bucket, "uploads/old.csv"); got != "" {
		t.Errorf("the old file is still there: %q", got)
	}
	if got := h.get(t, bucket, "uploads/same.csv"); got == "" {
		t.Error("the newer file is gone")
	}
	h.pass(t, 100*day) // the newest stays
	h.settled(t, 1)
	h.stop(t)
	h.start(t)
	h.settled(t, 1)
	h.mustPut(t, "uploads/new.csv", "person,flavor\nandy,mint\nbill,mint\ncleo,vanilla\n")
	if u := h.settled(t, 2)[0]; u.Counts.Applied != 3 {
		t.Errorf("%+v", u)
	}
	if n := h.changes(t, h.Info(), 5); n != 5 { // andy, cleo, dora; andy and bill: cleo was still there
		t.Errorf("%d changes, want 5", n)
	}
}

// changes counts what was announced, once so many are there.
func (h *machine) changes(t *testing.T, i local.Info, atLeast uint64) uint64 {
	t.Helper()
	nc, err := nats.Connect(i.NATS, nats.UserInfo(i.NATSUser, i.NATSPassword))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	var n uint64
	await(t, "changes are announced", func() bool {
		stream, err := js.Stream(t.Context(), "CHANGES")
		if err != nil {
			t.Fatal(err)
		}
		n = stream.CachedInfo().State.Msgs
		return n >= atLeast
	})
	return n
}

// TestUploadsAreKept for ever, unless told otherwise.
func TestUploadsAreKept(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *local.Config) { c.Retention.Newest = 1 })
	for i := range 3 {
		h.mustPut(t, fmt.Sprintf("uploads/%d.csv", i), "person,flavor\nandy,vanilla\n")
		h.settled(t, i+1)
	}
	h.pass(t, 10_000*day)
	h.settled(t, 3)
}

// TestNothingIsForgottenWhileDeadLettersWait: one may belong to it, and would be taken for news.
func TestNothingIsForgottenWhileDeadLettersWait(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *local.Config) { c.Retention.Uploads, c.Retention.Newest = 10*day, 1 })
	for i := range 3 {
		h.mustPut(t, fmt.Sprintf("uploads/%d.csv", i), "person,flavor\nandy,vanilla\n")
		h.settled(t, i+1)
	}
	if err := h.PublishNonsense(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "it is dead", func() bool {
		_, dead, err := h.Waiting(t.Context())
		return err == nil && dead == 1
	})
	h.later.Add(int64(11 * day))
	if err := h.Tidy(t.Context()); !errors.Is(err, local.ErrNotNow) {
		t.Errorf("Tidy = %v, want ErrNotNow", err)
	}
	if got := h.keys(t); len(got) != 3 {
		t.Errorf("left: %v", got)
	}
}

// TestReportsAreRemoved after their time; the record that names one stays.
func TestReportsAreRemoved(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *local.Config) { c.Retention.Reports = 10 * day })
	h.mustPut(t, "uploads/a.csv", "person,flavor\nbill\n")
	u := h.settled(t, 1)[0]
	key := u.ID + "/rejects.ndjson"
	h.pass(t, 10*day-time.Minute)
	if got := h.get(t, h.Info().ReportsBucket, key); got == "" {
		t.Fatal("the report is gone too early")
	}
	h.pass(t, 2*time.Minute)
	if got := h.get(t, h.Info().ReportsBucket, key); got != "" {
		t.Errorf("the report is still there: %q", got)
	}
	if got := h.get(t, h.Info().Bucket, "uploads/a.csv"); got == "" {
		t.Error("the upload is gone")
	}
	h.settled(t, 1)
}

// TestRemovedPeopleAreForgotten after their time, and not before.
func TestRemovedPeopleAreForgotten(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *local.Config) { c.Retention.Removed = 10 * day })
	h.mustPut(t, "uploads/a.json", `{"andy":"vanilla"}`)
	h.settled(t, 1)
	h.mustPut(t, "uploads/b.json", `{"andy":null}`)
	h.settled(t, 2)
	for _, test := range []struct {
		after time.Duration
		want  int
	}{{10*day - time.Minute, 1}, {2 * time.Minute, 0}} {
		h.pass(t, test.after)
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
		i := h.Info()
		nc, err := nats.Connect(i.NATS, nats.UserInfo(i.NATSUser, i.NATSPassword))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		stream, err := js.Stream(t.Context(), "CHANGES")
		if err != nil {
			t.Fatal(err)
		}
		if c := stream.CachedInfo().Config; c.MaxAge != want || c.MaxBytes != bytes {
			t.Errorf("kept for %s and %d bytes, want %s and %d", c.MaxAge, c.MaxBytes, want, bytes)
		}
		if _, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Name: "subscriber"}); err != nil {
			t.Errorf("a subscriber: %v", err)
		}
	}
	kept(20*day, 10<<30)
	h.stop(t)
	h.cfg.Retention.Changes, h.cfg.Retention.ChangesBytes = day, 1<<20
	h.start(t)
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
			h.mustPut(t, "uploads/done.csv", "person,flavor\nandy,vanilla\n")
			before := h.settled(t, 1)[0]
			h.lucky.Store(test.lucky)
			h.disk.Store(0)
			h.mustPut(t, "uploads/a.csv", "person,flavor\nandy,mint\ncleo,mint\nbill\n")
			least := h.low.Load() + 2
			await(t, "it stands still", func() bool { return h.low.Load() >= least })
			h.stop(t)
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
			h.start(t)
			await(t, "it is read again", func() bool {
				if err := h.Tidy(t.Context()); err != nil && !errors.Is(err, local.ErrNotNow) {
					t.Fatal(err)
				}
				list := h.uploads(t)
				return len(list) == 2 && list[0].Status.Settled()
			})
			list := h.settled(t, 2)
			c := list[0].Counts
			if list[0].Status != test.want || !test.delete && (c.Rows != 3 || c.Applied != 2 || c.Rejected != 1) {
				t.Errorf("it was read again as %+v", list[0])
			}
			if !before.Settled.Equal(list[1].Settled) {
				t.Errorf("what was done was done again: %+v, was %+v", list[1], before)
			}
			if want := map[bool]uint64{false: 2}[test.delete]; h.changes(t, h.Info(), want) != want {
				t.Errorf("%d changes, want %d", h.changes(t, h.Info(), want), want)
			}
		})
	}
}

// TestWhatIsUnderWayIsNotReadAgain: it only takes long.
func TestWhatIsUnderWayIsNotReadAgain(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *local.Config) { c.Limits.MinFree = reserve })
	h.lucky.Store(4)
	h.disk.Store(0)
	h.mustPut(t, "uploads/a.csv", "person,flavor\nandy,mint\n")
	least := h.low.Load() + 2
	await(t, "it stands still", func() bool { return h.low.Load() >= least })
	if err := h.Tidy(t.Context()); !errors.Is(err, local.ErrNotNow) {
		t.Errorf("Tidy = %v, want ErrNotNow", err)
	}
	if u := h.uploads(t)[0]; u.Status != events.Applying || u.Counts.Rows != 1 {
		t.Errorf("%+v", u)
	}
	h.disk.Store(plenty)
	h.settled(t, 1)
}
