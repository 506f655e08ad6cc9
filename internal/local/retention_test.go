package local_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/local"
	"github.com/flavorless/flavorless/internal/testutil"
)

const day = 24 * time.Hour

// pass sets the clock forward and removes old data.
func (s *testServer) pass(d time.Duration) {
	s.t.Helper()
	s.forward(d)
	if busy, err := s.Clean(s.t.Context()); busy || err != nil {
		s.t.Fatalf("Clean = %t, %v; want false, nil", busy, err)
	}
}

// TestOldUploadsAreRemoved checks that the file and the record of an upload are removed, but not its rows; that the
// next start does not ingest it again; and that a newer file with the same name stays.
func TestOldUploadsAreRemoved(t *testing.T) {
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
		t.Errorf("remaining upload = %+v, want the newer same.csv without rejects", left)
	}
	if got := s.object(bucket, "uploads/old.csv"); got != "" {
		t.Errorf("the old file still has the content %q, want it removed", got)
	}
	if got := s.object(bucket, "uploads/same.csv"); got == "" {
		t.Error("the newer file was removed")
	}
	s.pass(100 * day) // the newest upload is kept
	s.allSettled(1)
	s.stop()
	s.start()
	s.allSettled(1)
	s.put("new.csv", "person,flavor\nandy,mint\nbill,mint\ncleo,vanilla\n")
	if u := s.allSettled(2)[0]; u.Counts.Applied != 3 {
		t.Errorf("upload = %+v, want 3 rows applied", u)
	}
	if n := s.changes(5); n != 5 { // andy, cleo, dora; then andy and bill, but not cleo, who has the same flavor
		t.Errorf("%d changes, want 5", n)
	}
}

// changesStream returns the stream of changes, as a subscriber sees it.
func (s *testServer) changesStream() jetstream.Stream {
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

// changes waits for a number of announced changes, and returns how many there are.
func (s *testServer) changes(atLeast uint64) (n uint64) {
	s.t.Helper()
	stream := s.changesStream()
	testutil.WaitFor(s.t, "all changes", func() bool {
		info, err := stream.Info(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		n = info.State.Msgs
		return n >= atLeast
	})
	return n
}

// TestUploadsAreKept checks that uploads are kept forever by default.
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

// TestUploadsAreKeptWhileDeadLettersWait checks that no upload is removed while there is a dead letter, which may
// belong to it and would be processed as a new upload after a redrive.
func TestUploadsAreKeptWhileDeadLettersWait(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *local.Config) { c.Retention.Uploads, c.Retention.Newest = 10*day, 1 })
	for i := range 3 {
		s.put(fmt.Sprintf("%d.csv", i), "person,flavor\nandy,vanilla\n")
		s.allSettled(i + 1)
	}
	if err := s.PublishInvalidBatch(t.Context()); err != nil {
		t.Fatal(err)
	}
	testutil.WaitFor(t, "a dead letter", func() bool {
		_, dead, err := s.Depth(t.Context())
		return err == nil && dead == 1
	})
	s.forward(11 * day)
	if busy, err := s.Clean(t.Context()); !busy || err != nil {
		t.Errorf("Clean = %t, %v; want true, nil", busy, err)
	}
	if got := s.uploads(); len(got) != 3 {
		t.Errorf("%d uploads are left, want 3", len(got))
	}
}

// TestOldReportsAreRemoved checks that the report of an upload is removed, but neither its record nor its file.
func TestOldReportsAreRemoved(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *local.Config) { c.Retention.Reports = 10 * day })
	s.put("a.csv", "person,flavor\nbill\n")
	u := s.allSettled(1)[0]
	key := u.ID + "/rejects.ndjson"
	s.pass(10*day - time.Minute)
	if got := s.object(s.Info().ReportsBucket, key); got == "" {
		t.Fatal("the report was removed too early")
	}
	s.pass(2 * time.Minute)
	if got := s.object(s.Info().ReportsBucket, key); got != "" {
		t.Errorf("the report still has the content %q, want it removed", got)
	}
	if got := s.object(s.Info().Bucket, "uploads/a.csv"); got == "" {
		t.Error("the file of the upload was removed")
	}
	s.allSettled(1)
}

// TestOldCopiesAreRemoved checks that the sorted copy of a large file, and the marker of one that was not sorted, are
// removed like reports, but not while there is a dead letter: a batch that arrives late may need the copy.
func TestOldCopiesAreRemoved(t *testing.T) {
	t.Parallel()
	for name, dead := range map[string]bool{"queues idle": false, "dead letter": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(c *local.Config) {
				c.SortFrom, c.Limits.MinFree, c.Retention.Reports = 1, reserve, 10*day
			})
			const file = "person,flavor\nandy,mint\nbill\n"
			sorted := s.settled(s.upload("a.csv", file)).ID
			s.disk.Store(reserve + 2*int64(len(file))) // for sorting, a third of this may be used
			unsorted := s.settled(s.upload("b.csv", file)).ID
			s.disk.Store(plenty)
			if dead {
				if err := s.PublishInvalidBatch(t.Context()); err != nil {
					t.Fatal(err)
				}
				testutil.WaitFor(t, "a dead letter", func() bool {
					_, n, err := s.Depth(t.Context())
					return err == nil && n == 1
				})
			}
			copies := []string{ingest.CopyKey(sorted), unsorted + "/unsorted"}
			all := append([]string{sorted + "/rejects.ndjson", unsorted + "/rejects.ndjson"}, copies...)
			s.forward(10*day - time.Minute)
			if busy, err := s.Clean(t.Context()); busy || err != nil {
				t.Errorf("Clean before the retention = %t, %v; want false, nil", busy, err)
			}
			if got := s.stored(s.Info().ReportsBucket); !same(got, all) {
				t.Errorf("before the retention, the reports bucket has %q, want %q", got, all)
			}
			s.forward(2 * time.Minute)
			if busy, err := s.Clean(t.Context()); busy != dead || err != nil {
				t.Errorf("Clean = %t, %v; want %t, nil", busy, err, dead)
			}
			if !dead {
				copies = nil
			}
			if got := s.stored(s.Info().ReportsBucket); !same(got, copies) {
				t.Errorf("after the retention, the reports bucket has %q, want %q", got, copies)
			}
		})
	}
}

// stored returns the keys of a bucket.
func (s *testServer) stored(bucket string) (keys []string) {
	s.t.Helper()
	list, err := s.S3().ListObjectsV2(s.t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, o := range list.Contents {
		keys = append(keys, *o.Key)
	}
	return keys
}

// same reports whether two lists have the same elements.
func same(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// TestOldTombstonesAreRemoved checks that the record of a removed person is removed after its retention, and not
// before.
func TestOldTombstonesAreRemoved(t *testing.T) {
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
			t.Errorf("%d records of removed people, error %v; want %d", n, err, test.want)
		}
	}
}

// TestChangesAreKept checks the limits of the stream of changes, also after they were changed while a subscriber has a
// consumer.
func TestChangesAreKept(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *local.Config) { c.Retention.Changes = 20 * day })
	kept := func(want time.Duration, bytes int64) {
		t.Helper()
		stream := s.changesStream()
		if c := stream.CachedInfo().Config; c.MaxAge != want || c.MaxBytes != bytes {
			t.Errorf("changes are kept for %s and up to %d bytes, want %s and %d", c.MaxAge, c.MaxBytes, want, bytes)
		}
		if _, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Name: "subscriber"}); err != nil {
			t.Errorf("creating a consumer: %v", err)
		}
	}
	kept(20*day, 10<<30)
	s.stop()
	s.cfg.Retention.Changes, s.cfg.Retention.ChangesBytes = day, 1<<20
	s.start()
	kept(day, 1<<20)
}

// TestWithoutStreams checks that a data folder without its queues, as in a backup that lacks them, loses no upload.
// Unsettled uploads are read again, and their rows are counted once. If the file is missing too, the upload fails.
func TestWithoutStreams(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		spare  int64
		noFile bool
		want   events.Status
	}{
		"before ingest":    {2, false, events.Live},
		"before a batch":   {3, false, events.Live},
		"before apply":     {4, false, events.Live},
		"without the file": {4, true, events.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(c *local.Config) { c.Limits.MinFree = reserve })
			s.put("done.csv", "person,flavor\nandy,vanilla\n")
			before := s.allSettled(1)[0]
			s.fill(test.spare, 0)
			s.put("a.csv", "person,flavor\nandy,mint\ncleo,mint\nbill\n")
			least := s.low.Load() + 2
			testutil.WaitFor(t, "the upload to pause", func() bool { return s.low.Load() >= least })
			s.stop()
			missing := []string{"streams"}
			if test.noFile {
				missing = append(missing, "bucket/objects/flavorless-uploads/uploads/a.csv")
			}
			for _, path := range missing {
				if err := os.RemoveAll(filepath.Join(s.cfg.Dir, path)); err != nil {
					t.Fatal(err)
				}
			}
			s.disk.Store(plenty)
			s.start()
			testutil.WaitFor(t, "the upload to be read again", func() bool {
				if _, err := s.Clean(t.Context()); err != nil {
					t.Fatal(err)
				}
				list := s.uploads()
				return len(list) == 2 && list[0].Status.Settled()
			})
			list := s.allSettled(2)
			c := list[0].Counts
			if list[0].Status != test.want || !test.noFile && (c.Rows != 3 || c.Applied != 2 || c.Rejected != 1) {
				t.Errorf("upload after it was read again = %+v, want status %s", list[0], test.want)
			}
			if !before.Settled.Equal(list[1].Settled) {
				t.Errorf("the settled upload was processed again: got %+v, want %+v", list[1], before)
			}
			if want := map[bool]uint64{false: 2}[test.noFile]; s.changes(want) != want {
				t.Errorf("%d changes, want %d", s.changes(want), want)
			}
		})
	}
}

// TestUploadsInProgressAreNotRestarted checks an upload that only takes long.
func TestUploadsInProgressAreNotRestarted(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *local.Config) { c.Limits.MinFree = reserve })
	s.fill(4, 0)
	s.put("a.csv", "person,flavor\nandy,mint\n")
	least := s.low.Load() + 2
	testutil.WaitFor(t, "the upload to pause", func() bool { return s.low.Load() >= least })
	if busy, err := s.Clean(t.Context()); !busy || err != nil {
		t.Errorf("Clean = %t, %v; want true, nil", busy, err)
	}
	if u := s.uploads()[0]; u.Status != events.Applying || u.Counts.Rows != 1 {
		t.Errorf("upload = %+v, want it unchanged", u)
	}
	s.disk.Store(plenty)
	s.allSettled(1)
}
