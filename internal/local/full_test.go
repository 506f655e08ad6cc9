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
)

const reserve = 1 << 20 // bytes

// TestAFullDiskRefusesUploads, with a clear word; and what was accepted before is finished with the rest of the
// reserve.
func TestAFullDiskRefusesUploads(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *local.Config) { c.Limits.MinFree = reserve })
	const file = "person,flavor\nandy,vanilla\nbill\n"
	s.fill(1, reserve/2)
	s.put("a.csv", file)
	if u := s.allSettled(1)[0]; u.Status != events.Live || u.Counts.Applied != 1 {
		t.Errorf("%+v", u)
	}
	for _, free := range []int64{0, reserve - 1, reserve + int64(len(file)) - 1} {
		s.disk.Store(free)
		if err := s.tryPut("b.csv", file); code(err) != "InsufficientStorage" || !strings.Contains(err.Error(), "--min-free") {
			t.Errorf("PUT with %d free: %v, want InsufficientStorage", free, err)
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

// TestAFullDiskLosesNothing: wherever the disk fills up on the way of an upload, it stands still there, through a
// restart, and goes on by itself once there is room.
func TestAFullDiskLosesNothing(t *testing.T) {
	t.Parallel()
	// How often is looked at the disk before: by the bucket, by the hand-over to UPLOADS, by ingest, when its batch is
	// published, by apply.
	for name, test := range map[string]struct {
		lucky  int64
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
			s.fill(test.lucky, 0)
			s.put("a.csv", "person,flavor\nandy,vanilla\n")
			for range 2 {
				least := s.low.Load() + 2
				await(t, "it stands still", func() bool {
					list := s.uploads()
					return s.low.Load() >= least && len(list) <= 1 && (test.status == "") == (len(list) == 0) &&
						(len(list) == 0 || list[0].Status == test.status)
				})
				if _, dead, err := s.Depth(t.Context()); dead > 0 || err != nil {
					t.Fatalf("%d dead letters, %v", dead, err)
				}
				s.stop()
				s.start()
			}
			s.disk.Store(plenty)
			if u := s.allSettled(1)[0]; u.Status != events.Live || u.Counts.Applied != 1 || u.Counts.Rows != 1 {
				t.Errorf("%+v", u)
			}
			s.allAnnounced()
			if _, dead, err := s.Depth(t.Context()); dead > 0 || err != nil {
				t.Errorf("%d dead letters, %v", dead, err)
			}
		})
	}
}

// TestStoppingCountsNoTries: a stop waits for requests to the bucket that are under way, and lets no new ones in. What
// stages would read then fails, and is no fault of the files.
func TestStoppingCountsNoTries(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	s := start(t, func(c *local.Config) {
		c.Limits.MinFree = reserve
		c.Log = slog.New(slog.NewTextHandler(io.MultiWriter(&log, t.Output()), &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	bucket, large := s.Info().Bucket, "large"
	_, err := s.S3().PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &large, Body: bytes.NewReader(make([]byte, 32<<20))})
	if err != nil {
		t.Fatal(err)
	}
	underWay, err := s.S3().GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &large})
	if err != nil {
		t.Fatal(err)
	}
	defer underWay.Body.Close()
	s.fill(2, 0) // the bucket looks at it, and the hand-over; ingest stands still
	s.put("a.csv", "person,flavor\nandy,vanilla\n")
	await(t, "it stands still", func() bool { return s.low.Load() > 0 })
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.stop()
	}()
	await(t, "the bucket is closed", func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.Info().S3, "http://"))
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	s.disk.Store(plenty)
	await(t, "its reading failed", func() bool { return strings.Contains(log.String(), "operation error S3: GetObject") })
	underWay.Body.Close()
	<-stopped
	if strings.Contains(log.String(), "will be retried") {
		t.Error("it counted as a try")
	}
	s.start()
	if u := s.allSettled(1)[0]; u.Status != events.Live || u.Counts.Applied != 1 {
		t.Errorf("%+v", u)
	}
}

func TestBadLimits(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*local.Config){
		"no size":                        func(c *local.Config) { c.Limits.MaxUpload = -1 },
		"more requests than connections": func(c *local.Config) { c.Limits.MaxRequests, c.Limits.MaxConnections = 11, 10 },
		"hardly a file":                  func(c *local.Config) { c.Limits.OpenFiles = 60 },
		"no patience":                    func(c *local.Config) { c.Limits.ClientTimeout = time.Millisecond },
		"removed before changes":         func(c *local.Config) { c.Retention.Removed, c.Retention.Changes = 48*time.Hour, 49*time.Hour },
		"removed for moments":            func(c *local.Config) { c.Retention.Removed, c.Retention.Changes = time.Hour, time.Hour },
		"uploads for moments":            func(c *local.Config) { c.Retention.Uploads = time.Hour },
		"reports for moments":            func(c *local.Config) { c.Retention.Reports = time.Minute },
		"changes for moments":            func(c *local.Config) { c.Retention.Changes = time.Minute },
		"no changes":                     func(c *local.Config) { c.Retention.ChangesBytes = 1 },
		"parts for moments":              func(c *local.Config) { c.Retention.Unfinished = time.Minute },
	} {
		cfg := local.Config{Dir: t.TempDir(), Log: discard}
		change(&cfg)
		s, err := local.Start(t.Context(), cfg)
		if !errors.Is(err, local.ErrConfig) {
			t.Errorf("%s: %v, want ErrConfig", name, err)
		}
		if err == nil {
			_ = s.Stop(t.Context())
		}
	}
}

// TestInodesAreSpace: a disk on which no file can be made any more is as full as one without a free byte.
func TestInodesAreSpace(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		free         int64
		inodes, left uint64
		want         int64
	}{
		"no inodes to run out of": {1 << 40, 0, 0, 1 << 40},
		"plenty":                  {1 << 30, 1 << 24, 1 << 20, 1 << 30},
		"few":                     {1 << 40, 1 << 24, 100, 100 * local.BytesPerInode},
		"none":                    {1 << 40, 1 << 24, 0, 0},
		"more than can be":        {1 << 40, math.MaxUint64, math.MaxUint64, 1 << 40},
	} {
		if got := local.Usable(test.free, test.inodes, test.left); got != test.want {
			t.Errorf("%s: usable = %d, want %d", name, got, test.want)
		}
	}
}
