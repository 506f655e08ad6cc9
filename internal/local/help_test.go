package local_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/local"
)

const plenty = 1 << 40 // bytes

var discard = slog.New(slog.DiscardHandler)

// soon is how long a test waits for what must happen.
const soon = 30 * time.Second

// machine is a running server with a clock and a disk of its own.
type machine struct {
	*local.Server
	cfg   local.Config
	later atomic.Int64 // how far its clock is ahead
	disk  atomic.Int64 // bytes that are free
	lucky atomic.Int64 // so many looks at the disk find plenty all the same
	low   atomic.Int64 // looks that did not
}

func start(t *testing.T, change ...func(*local.Config)) *machine {
	t.Helper()
	h := &machine{cfg: local.Config{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(t.Output(), nil))}}
	h.cfg.Limits.Pause = time.Millisecond
	h.disk.Store(plenty)
	h.cfg.Clock = func() time.Time { return time.Now().Add(time.Duration(h.later.Load())) }
	h.cfg.Limits.FreeDisk = func(string) (int64, error) {
		if h.lucky.Add(-1) >= 0 {
			return plenty, nil
		}
		if h.disk.Load() < plenty {
			h.low.Add(1)
		}
		return h.disk.Load(), nil
	}
	for _, c := range change {
		c(&h.cfg)
	}
	h.start(t)
	return h
}

func (h *machine) start(t *testing.T) {
	t.Helper()
	s, err := local.Start(t.Context(), h.cfg)
	if err != nil {
		t.Fatal(err)
	}
	h.Server = s
	t.Cleanup(func() { h.stop(t) })
}

func (h *machine) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	if err := h.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
	select {
	case err := <-h.Failed():
		t.Errorf("a part failed: %v", err)
	default:
	}
}

func (h *machine) put(t *testing.T, key, body string) error {
	t.Helper()
	_, err := h.S3().PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(h.Info().Bucket), Key: &key, Body: strings.NewReader(body)})
	return err
}

func (h *machine) mustPut(t *testing.T, key, body string) {
	t.Helper()
	if err := h.put(t, key, body); err != nil {
		t.Fatal(err)
	}
}

// get reads an object; it is empty if there is none.
func (h *machine) get(t *testing.T, bucket, key string) string {
	t.Helper()
	out, err := h.S3().GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if code(err) == "NoSuchKey" {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func (h *machine) uploads(t *testing.T) []events.Upload {
	t.Helper()
	list, err := h.Uploads(t.Context(), "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// settled waits until so many uploads are settled and no message is left.
func (h *machine) settled(t *testing.T, n int) []events.Upload {
	t.Helper()
	var list []events.Upload
	await(t, "uploads are settled", func() bool {
		list = h.uploads(t)
		for _, u := range list {
			if !u.Status.Settled() {
				return false
			}
		}
		waiting, _, err := h.Waiting(t.Context())
		return err == nil && waiting == 0 && len(list) >= n
	})
	if len(list) != n {
		t.Fatalf("%d uploads, want %d", len(list), n)
	}
	return list
}
