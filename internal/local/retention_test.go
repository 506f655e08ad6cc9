package local_test

import (
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
func (s *testServer) pass(d time.Duration) {
	s.t.Helper()
	s.forward(d)
	if busy, err := s.Clean(s.t.Context()); busy || err != nil {
		s.t.Fatalf("Clean = %t, %v; want false, nil", busy, err)
	}
}

func (s *testServer) keys() (keys []string) {
	s.t.Helper()
	for _, u := range s.uploads() {
		keys = append(keys, u.Key)
	}
	return keys
}

// TestUploadsAreForgotten as a whole: file and record. What they brought stays, the next start does not ingest them
// anew, and a file of the same name that came later is not theirs.
func TestUploadsAreForgotten(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *local.Config) { c.Retention.Uploads, c.Retention.Newest = 10*day, 1 })
	bucket := s.Info().Bucket
	s.put("same.csv", "person,flavor\nandy,vanilla\nbill\n")
	s.allSettled(1)
	s.put("old.csv", "person,flavor\ncleo,vanilla\n")
	s.allSettled(2)
	s.pass(9 * day)
	s.allSettled(2)
	s.put("same.csv", "person,flavor\ndora,vanilla\n")
	s.allSettled(3)
	s.pass(day - time.Minute)
	s.allSettled(3)
	s.pass(2 * time.Minute)
	if left := s.allSettled(1); left[0].Key != "uploads/same.csv" || left[0].Counts.Rejected != 0 {
		t.Errorf("left: %+v", left)
	}
	if got := s.object(bucket, "uploads/old.csv"); got != "" {
		t.Errorf("the old file is still there: %q", got)
	}
	if got := s.object(bucket, "uploads/same.csv"); got == "" {
		t.Error("the newer file is gone")
	}
	s.pass(100 * day) // the newest stays
	s.allSettled(1)
	s.stop()
	s.start()
	s.allSettled(1)
	s.put("new.csv", "person,flavor\nandy,mint\nbill,mint\ncleo,vanilla\n")
	if u := s.allSettled(2)[0]; u.Counts.Applied != 3 {
		t.Errorf("%+v", u)
	}
	if n := s.changes(5); n != 5 { // andy, cleo, dora; andy and bill: cleo was still there
		t.Errorf("%d changes, want 5", n)
	}
}

// log is the stream of changes, as a subscriber sees it.
func (s *testServer) log() jetstream.Stream {
	s.t.Helper()
	i := s.Info()
	nc, err := nats.Connect(i.NATS, nats.UserInfo(i.NATSUser, i.NATSPassword))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		s.t.Fatal(err)
	}
	stream, err := js.Stream(s.t.Context(), "CHANGES")
	if err != nil {
		s.t.Fatal(err)
	}
	return stream
}

// changes counts what was announced, once so many are there.
func (s *testServer) changes(atLeast uint64) (n uint64) {
	s.t.Helper()
	log := s.log()
	await(s.t, "all changes", func() bool {
		info, err := log.Info(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		n = info.State.Msgs
		return n >= atLeast
	})
	return n
}

// TestUploadsAreKept for ever, unless told otherwise.
func TestUploadsAreKept(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *local.Config) { c.Retention.Newest = 1 })
	for i := range 3 {
		s.put(fmt.Sprintf("%d.csv", i), "person,flavor\nandy,vanilla\n")
		s.allSettled(i + 1)
	}
	s.pass(10_000 * day)
	s.allSettled(3)
}

// TestNothingIsForgottenWhileDeadLettersWait: one may belong to it, and would be taken for news.
func TestNothingIsForgottenWhileDeadLettersWait(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *local.Config) { c.Retention.Uploads, c.Retention.Newest = 10*day, 1 })
	for i := range 3 {
		s.put(fmt.Sprintf("%d.csv", i), "person,flavor\nandy,vanilla\n")
		s.allSettled(i + 1)
	}
	if err := s.PublishInvalidBatch(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "it is dead", func() bool {
		_, dead, err := s.Depth(t.Context())
		return err == nil && dead == 1
	})
	s.forward(11 * day)
	if busy, err := s.Clean(t.Context()); !busy || err != nil {
		t.Errorf("Clean = %t, %v; want true, nil", busy, err)
	}
	if got := s.keys(); len(got) != 3 {
		t.Errorf("left: %v", got)
	}
}

// TestReportsAreRemoved after their time; the record that names one stays.
func TestReportsAreRemoved(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *local.Config) { c.Retention.Reports = 10 * day })
	s.put("a.csv", "person,flavor\nbill\n")
	u := s.allSettled(1)[0]
	key := u.ID + "/rejects.ndjson"
	s.pass(10*day - time.Minute)
	if got := s.object(s.Info().ReportsBucket, key); got == "" {
		t.Fatal("the report is gone too early")
	}
	s.pass(2 * time.Minute)
	if got := s.object(s.Info().ReportsBucket, key); got != "" {
		t.Errorf("the report is still there: %q", got)
	}
	if got := s.object(s.Info().Bucket, "uploads/a.csv"); got == "" {
		t.Error("the upload is gone")
	}
	s.allSettled(1)
}

// TestRemovedPeopleAreForgotten after their time, and not before.
func TestRemovedPeopleAreForgotten(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *local.Config) { c.Retention.Removed = 10 * day })
	s.put("a.json", `{"andy":"vanilla"}`)
	s.allSettled(1)
	s.put("b.json", `{"andy":null}`)
	s.allSettled(2)
	for _, test := range []struct {
		after time.Duration
		want  int64
	}{{10*day - time.Minute, 1}, {2 * time.Minute, 0}} {
		s.pass(test.after)
		if n, err := s.Tombstones(); n != test.want || err != nil {
			t.Errorf("%d are remembered, %v; want %d", n, err, test.want)
		}
	}
}

// TestChangesAreKept as long as told, also when that was told otherwise before, and a subscriber of then is still
// there.
func TestChangesAreKept(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *local.Config) { c.Retention.Changes = 20 * day })
	kept := func(want time.Duration, bytes int64) {
		t.Helper()
		stream := s.log()
		if c := stream.CachedInfo().Config; c.MaxAge != want || c.MaxBytes != bytes {
			t.Errorf("kept for %s and %d bytes, want %s and %d", c.MaxAge, c.MaxBytes, want, bytes)
		}
		if _, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Name: "subscriber"}); err != nil {
			t.Errorf("a subscriber: %v", err)
		}
	}
	kept(20*day, 10<<30)
	s.stop()
	s.cfg.Retention.Changes, s.cfg.Retention.ChangesBytes = day, 1<<20
	s.start()
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
			s := start(t, func(c *local.Config) { c.Limits.MinFree = reserve })
			s.put("done.csv", "person,flavor\nandy,vanilla\n")
			before := s.allSettled(1)[0]
			s.fill(test.lucky, 0)
			s.put("a.csv", "person,flavor\nandy,mint\ncleo,mint\nbill\n")
			least := s.low.Load() + 2
			await(t, "it stands still", func() bool { return s.low.Load() >= least })
			s.stop()
			gone := []string{"streams"}
			if test.delete {
				gone = append(gone, "bucket/objects/flavorless-uploads/uploads/a.csv")
			}
			for _, path := range gone {
				if err := os.RemoveAll(filepath.Join(s.cfg.Dir, path)); err != nil {
					t.Fatal(err)
				}
			}
			s.disk.Store(plenty)
			s.start()
			await(t, "it is read again", func() bool {
				if _, err := s.Clean(t.Context()); err != nil {
					t.Fatal(err)
				}
				list := s.uploads()
				return len(list) == 2 && list[0].Status.Settled()
			})
			list := s.allSettled(2)
			c := list[0].Counts
			if list[0].Status != test.want || !test.delete && (c.Rows != 3 || c.Applied != 2 || c.Rejected != 1) {
				t.Errorf("it was read again as %+v", list[0])
			}
			if !before.Settled.Equal(list[1].Settled) {
				t.Errorf("what was done was done again: %+v, was %+v", list[1], before)
			}
			if want := map[bool]uint64{false: 2}[test.delete]; s.changes(want) != want {
				t.Errorf("%d changes, want %d", s.changes(want), want)
			}
		})
	}
}

// TestWhatIsUnderWayIsNotReadAgain: it only takes long.
func TestWhatIsUnderWayIsNotReadAgain(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *local.Config) { c.Limits.MinFree = reserve })
	s.fill(4, 0)
	s.put("a.csv", "person,flavor\nandy,mint\n")
	least := s.low.Load() + 2
	await(t, "it stands still", func() bool { return s.low.Load() >= least })
	if busy, err := s.Clean(t.Context()); !busy || err != nil {
		t.Errorf("Clean = %t, %v; want true, nil", busy, err)
	}
	if u := s.uploads()[0]; u.Status != events.Applying || u.Counts.Rows != 1 {
		t.Errorf("%+v", u)
	}
	s.disk.Store(plenty)
	s.allSettled(1)
}
