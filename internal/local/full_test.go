package local_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/local"
	"github.com/flavorless/flavorless/internal/testutil"
)

const reserve = 1 << 20 // bytes

// TestFullDiskRejectsUploads checks that uploads are rejected with a clear error, and that accepted ones are processed
// with the rest of the reserve.
func TestFullDiskRejectsUploads(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *local.Config) { c.Limits.MinFree = reserve })
	const file = "person,flavor\nandy,vanilla\nbill\n"
	s.fill(1, reserve/2)
	s.put("a.csv", file)
	if u := s.allSettled(1)[0]; u.Status != events.Live || u.Counts.Applied != 1 {
		t.Errorf("upload = %+v, want it live with its rows counted once", u)
	}
	for _, free := range []int64{0, reserve - 1, reserve + int64(len(file)) - 1} {
		s.disk.Store(free)
		err := s.tryPut("b.csv", file)
		if code(err) != "InsufficientStorage" || !strings.Contains(err.Error(), "--min-free") {
			t.Errorf("PUT with %d bytes free: %v, want InsufficientStorage and a hint to --min-free", free, err)
		}
	}
	s.disk.Store(reserve + int64(len(file)))
	s.put("b.csv", file)
	s.allSettled(2)
	none := start(t, func(c *local.Config) { c.Limits.MinFree = -1 })
	none.disk.Store(0)
	none.put("a.csv", file)
	none.allSettled(1)
}

// TestFullDiskLosesNothing checks that an upload pauses at the stage where the disk becomes full, also across a
// restart, and continues by itself once there is space.
func TestFullDiskLosesNothing(t *testing.T) {
	t.Parallel()
	// The free space is read by the bucket, when the event is published, by ingest, when a batch is published, and by
	// apply.
	for name, test := range map[string]struct {
		spare  int64
		status events.Status
	}{
		"before ingest":   {2, ""},
		"before a batch":  {3, events.Publishing},
		"before apply":    {4, events.Applying},
		"before announce": {5, events.Live},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(c *local.Config) { c.Limits.MinFree = reserve })
			s.fill(test.spare, 0)
			s.put("a.csv", "person,flavor\nandy,vanilla\n")
			for range 2 {
				least := s.low.Load() + 2
				testutil.WaitFor(t, "the upload to pause", func() bool {
					list := s.uploads()
					return s.low.Load() >= least && len(list) <= 1 && (test.status == "") == (len(list) == 0) &&
						(len(list) == 0 || list[0].Status == test.status)
				})
				if _, dead, err := s.Depth(t.Context()); dead > 0 || err != nil {
					t.Fatalf("%d dead letters, error %v; want none", dead, err)
				}
				s.stop()
				s.start()
			}
			s.disk.Store(plenty)
			if u := s.allSettled(1)[0]; u.Status != events.Live || u.Counts.Applied != 1 || u.Counts.Rows != 1 {
				t.Errorf("upload = %+v, want it live with its rows counted once", u)
			}
			s.awaitAnnounced()
			if _, dead, err := s.Depth(t.Context()); dead > 0 || err != nil {
				t.Errorf("%d dead letters, error %v; want none", dead, err)
			}
		})
	}
}

// TestStoppingCountsNoTries checks that a failure to read an object while the server stops does not count as a try. At
// a stop the bucket finishes its requests and accepts no new ones, so reading fails.
func TestStoppingCountsNoTries(t *testing.T) {
	testutil.SkipIfShort(t)
	t.Parallel()
	var log syncBuffer
	s := start(t, func(c *local.Config) {
		c.Limits.MinFree = reserve
		c.Log = slog.New(slog.NewTextHandler(io.MultiWriter(&log, t.Output()), &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	bucket, large := s.Info().Bucket, "large"
	_, err := s.S3().PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: &bucket, Key: &large, Body: bytes.NewReader(make([]byte, 32<<20)),
	})
	if err != nil {
		t.Fatal(err)
	}
	inFlight, err := s.S3().GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &large})
	if err != nil {
		t.Fatal(err)
	}
	defer inFlight.Body.Close()
	s.fill(2, 0) // enough for the bucket and the event; ingest pauses
	s.put("a.csv", "person,flavor\nandy,vanilla\n")
	testutil.WaitFor(t, "the upload to pause", func() bool { return s.low.Load() > 0 })
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.stop()
	}()
	testutil.WaitFor(t, "the bucket to close", func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.Info().S3, "http://"))
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	s.disk.Store(plenty)
	testutil.WaitFor(t, "reading the object to fail", func() bool {
		// This matches the text of the SDK, because nothing else reports the failure.
		return strings.Contains(log.String(), "operation error S3: GetObject")
	})
	inFlight.Body.Close()
	<-stopped
	if n, err := s.Retried(); n > 0 || err != nil {
		t.Errorf("%v failures counted as tries, error %v; want none", n, err)
	}
	s.start()
	if u := s.allSettled(1)[0]; u.Status != events.Live || u.Counts.Applied != 1 {
		t.Errorf("upload = %+v, want it live with its rows counted once", u)
	}
}

// TestFullDiskAtStart checks that a server says at its start that it accepts no uploads.
func TestFullDiskAtStart(t *testing.T) {
	t.Parallel()
	for free, want := range map[int64]bool{reserve - 1: true, reserve: false} {
		var log syncBuffer
		s := start(t, func(c *local.Config) {
			c.Limits.MinFree = reserve
			c.Limits.FreeDisk = func(string) (int64, error) { return free, nil }
			c.Log = slog.New(slog.NewTextHandler(&log, nil))
		})
		s.stop()
		if got := strings.Contains(log.String(), "event=disk_full"); got != want {
			t.Errorf("warning with %d of %d bytes free = %t, want %t; log:\n%s", free, reserve, got, want, log.String())
		}
	}
}

func TestBadLimits(t *testing.T) {
	t.Parallel()
	removed := func(removed, changes time.Duration) func(c *local.Config) {
		return func(c *local.Config) { c.Retention.Removed, c.Retention.Changes = removed, changes }
	}
	for name, change := range map[string]func(*local.Config){
		"no size":                        func(c *local.Config) { c.Limits.MaxUpload = -1 },
		"more requests than connections": func(c *local.Config) { c.Limits.MaxRequests, c.Limits.MaxConnections = 11, 10 },
		"few open files":                 func(c *local.Config) { c.Limits.OpenFiles = 60 },
		"short timeout":                  func(c *local.Config) { c.Limits.ClientTimeout = time.Millisecond },
		"removed before changes":         removed(48*time.Hour, 49*time.Hour),
		"removed for an hour":            removed(time.Hour, time.Hour),
		"uploads for an hour":            func(c *local.Config) { c.Retention.Uploads = time.Hour },
		"reports for a minute":           func(c *local.Config) { c.Retention.Reports = time.Minute },
		"changes for a minute":           func(c *local.Config) { c.Retention.Changes = time.Minute },
		"no changes":                     func(c *local.Config) { c.Retention.ChangesBytes = 1 },
		"parts for a minute":             func(c *local.Config) { c.Retention.Unfinished = time.Minute },
	} {
		cfg := local.Config{Dir: t.TempDir(), Log: discard}
		change(&cfg)
		s, err := local.Start(t.Context(), cfg)
		if !errors.Is(err, local.ErrConfig) {
			t.Errorf("Start with %s: %v, want ErrConfig", name, err)
		}
		if err == nil {
			_ = s.Stop(t.Context())
		}
	}
}

// TestInodesAreSpace checks that a disk without free inodes counts as full, because no file can be created on it.
func TestInodesAreSpace(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		free         int64
		inodes, left uint64
		want         int64
	}{
		"file system without inodes": {1 << 40, 0, 0, 1 << 40},
		"plenty":                     {1 << 30, 1 << 24, 1 << 20, 1 << 30},
		"few":                        {1 << 40, 1 << 24, 100, 100 * local.BytesPerInode},
		"none":                       {1 << 40, 1 << 24, 0, 0},
		"largest number":             {1 << 40, math.MaxUint64, math.MaxUint64, 1 << 40},
	} {
		if got := local.Usable(test.free, test.inodes, test.left); got != test.want {
			t.Errorf("%s: usable(%d, %d, %d) = %d, want %d", name, test.free, test.inodes, test.left, got, test.want)
		}
	}
}
