package gateway_test

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/gateway"
)

func TestAnnouncedObjectMatchesFile(t *testing.T) {
	t.Parallel()
	srv := start(t)
	before := time.Now().Truncate(time.Millisecond)
	want := srv.put(t, "uploads/people.csv", "person,flavor\nandy,cookie dough\n")
	got := srv.last(t, "uploads/people.csv")
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(events.Object{}, "Sequencer", "Time")); diff != "" {
		t.Errorf("announced object (-want +got):\n%s", diff)
	}
	if got.Time.Before(before) || got.Time.After(time.Now()) {
		t.Errorf("Time = %v, want between %v and now", got.Time, before)
	}
	if len(got.Sequencer) != 16 || strings.Trim(got.Sequencer, "0123456789abcdef") != "" {
		t.Errorf("Sequencer = %q, want 16 lower-case hexadecimal digits", got.Sequencer)
	}
	info, err := os.Stat(filepath.Join(srv.cfg.Dir, "objects", bucket, "uploads/people.csv"))
	if err != nil {
		t.Fatal(err)
	}
	if !info.ModTime().Truncate(time.Millisecond).Equal(got.Time) {
		t.Errorf("modification time = %v, want the announced %v", info.ModTime(), got.Time)
	}
	srv.checkContent(t, "uploads/people.csv", "person,flavor\nandy,cookie dough\n")
}

func TestKeysAreStoredUnchanged(t *testing.T) {
	t.Parallel()
	srv := start(t)
	keys := []string{"uploads/a b.csv", "uploads/50%.csv", "uploads/50%25.csv", "uploads/grün/ü+ñ.json",
		"uploads/a/b/c/d.csv", "uploads/q?x=1&y#z.csv"}
	for _, key := range keys {
		srv.put(t, key, key)
	}
	if diff := cmp.Diff(keys, srv.keys()); diff != "" {
		t.Errorf("announced keys (-want +got):\n%s", diff)
	}
	for _, key := range keys {
		srv.checkContent(t, key, key)
	}
	srv.checkScan(t)
}

func TestOnlyPrefixIsAnnounced(t *testing.T) {
	t.Parallel()
	srv := start(t)
	srv.put(t, "elsewhere/a.csv", "x")
	srv.put(t, "uploads.csv", "x")
	srv.put(t, "uploads/in.csv", "x")
	srv.put(t, "uploads/folder/", "")
	srv.putObject(t, &s3.PutObjectInput{Bucket: aws.String("reports"),
		Key: aws.String("uploads/r.csv"), Body: strings.NewReader("x")})
	if diff := cmp.Diff([]string{"uploads/in.csv"}, srv.keys()); diff != "" {
		t.Errorf("announced keys (-want +got):\n%s", diff)
	}
	srv.checkScan(t)
}

func TestPrefixWithoutSlash(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"", "up", "uploads/d", "uploads/deep/"} {
		srv := start(t, func(c *gateway.Config) { c.Prefix = prefix })
		for _, key := range []string{"up.csv", "uploads/a.csv", "uploads/d.csv", "uploads/deep/er/a.csv"} {
			srv.put(t, key, "x")
		}
		if diff := cmp.Diff(srv.announced(), srv.objects(t)); diff != "" || len(srv.announced()) == 0 {
			t.Errorf("prefix %q: rescan (-announced +found):\n%s", prefix, diff)
		}
	}
}

func TestGetObject(t *testing.T) {
	t.Parallel()
	srv := start(t)
	key := aws.String("uploads/people.csv")
	srv.putObject(t, &s3.PutObjectInput{
		Bucket: uploads, Key: key, Body: strings.NewReader("0123456789"), ContentType: aws.String("text/csv"),
		Metadata: headers{"on-error": "abort"},
	})
	o := srv.last(t, *key)
	match := aws.String(`"` + o.ETag + `"`)
	out, err := srv.s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: uploads, Key: key, IfMatch: match,
		Range: aws.String("bytes=3-6")})
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, out.Body); got != "3456" {
		t.Errorf("range = %q, want 3456", got)
	}
	if diff := cmp.Diff(headers{"on-error": "abort"}, out.Metadata); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	out, err = srv.s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: uploads, Key: key, Range: aws.String("bytes=7-")})
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, out.Body); got != "789" {
		t.Errorf("open range = %q, want 789", got)
	}
	srv.put(t, *key, "other")
	_, err = srv.s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: uploads, Key: key, IfMatch: match})
	if got := status(err); got != 412 {
		t.Errorf("reading an overwritten object: status %d (%v), want 412", got, err)
	}
	_, err = srv.s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: uploads, Key: aws.String("uploads/none.csv")})
	var missing *types.NoSuchKey
	if !errors.As(err, &missing) {
		t.Errorf("reading a missing object: %v, want NoSuchKey", err)
	}
	_, err = srv.s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("nowhere"), Key: key})
	if got := status(err); got != 404 || strings.Contains(err.Error(), srv.cfg.Dir) {
		t.Errorf("reading a missing bucket: %v, want 404 without paths", err)
	}
}

// TestLargeObjectsAreStreamed is not parallel because it measures the allocations of the whole process.
func TestLargeObjectsAreStreamed(t *testing.T) {
	srv := start(t)
	const size = 64 << 20
	srv.putObject(t, &s3.PutObjectInput{
		Bucket: uploads, Key: aws.String("uploads/large.csv"), Body: &zeros{size: size}, ContentLength: aws.Int64(size),
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	out, err := srv.s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: uploads, Key: aws.String("uploads/large.csv")})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	n, err := io.Copy(io.Discard, out.Body)
	runtime.ReadMemStats(&after)
	if n != size || err != nil {
		t.Fatalf("read %d bytes, %v; want %d", n, err, size)
	}
	// The client and the server run in this process.
	if got := after.TotalAlloc - before.TotalAlloc; got > size/8 {
		t.Errorf("reading %d bytes allocated %d, want at most %d", size, got, size/8)
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := config(t, &recorder{})
	cfg.Addr, cfg.Dir = l.Addr().String(), filepath.Join(cfg.Dir, "sub")
	if _, err := gateway.Start(cfg); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("Start = %v, want EADDRINUSE", err)
	}
	if _, err := os.Stat(cfg.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory exists: %v, want it untouched", err)
	}
}

func TestMissingSettings(t *testing.T) {
	t.Parallel()
	for _, cfg := range []gateway.Config{{}, {Dir: t.TempDir()}, {Dir: t.TempDir(), AccessKey: "a"}} {
		if _, err := gateway.Start(cfg); err == nil {
			t.Errorf("Start(%+v) = nil, want an error", cfg)
		}
	}
}
