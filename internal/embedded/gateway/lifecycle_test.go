package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"
	"github.com/versity/versitygw/s3err"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/gateway"
	"github.com/flavorless/flavorless/internal/testutil"
)

func TestSequencersNeverRepeat(t *testing.T) {
	t.Parallel()
	frozen := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	srv := start(t, func(c *gateway.Config) { c.Now = func() time.Time { return frozen } })
	const n = 200
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			body := fmt.Sprintf("person,flavor\nandy,%d\n", i)
			_, err := srv.s3.PutObject(t.Context(), &s3.PutObjectInput{
				Bucket: uploads, Key: aws.String(fmt.Sprintf("uploads/%d.csv", i%50)), Body: strings.NewReader(body),
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, o := range srv.all() {
		if seen[o.Sequencer] {
			t.Errorf("sequencer %s was used twice, want it once", o.Sequencer)
		}
		seen[o.Sequencer] = true
	}
	if len(seen) != n {
		t.Errorf("%d announcements, want %d", len(seen), n)
	}
	// Four uploads raced on each key. The one with the latest sequencer must be on disk.
	srv.checkScan(t)
}

func TestRestartContinuesSequencers(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	cfg := config(t, r)
	srv := open(t, cfg, r)
	srv.put(t, "uploads/a.csv", "x")
	srv.put(t, "uploads/deleted.csv", "x")
	last := srv.last(t, "uploads/deleted.csv")
	srv.delete(t, "uploads/deleted.csv")
	kept := srv.objects(t)
	stop(t, srv.Gateway)

	back := cfg
	back.Now = func() time.Time { return time.Now().Add(-time.Hour) } // the clock was set back
	srv = open(t, back, r)
	if diff := cmp.Diff(kept, srv.objects(t)); diff != "" {
		t.Errorf("objects after a restart (-before +after):\n%s", diff)
	}
	srv.put(t, "uploads/b.csv", "x")
	next := srv.last(t, "uploads/b.csv")
	if next.Sequencer <= last.Sequencer || next.Time.Before(last.Time) {
		t.Errorf("after a restart: %s at %v, want later than %s at %v", next.Sequencer, next.Time, last.Sequencer, last.Time)
	}
	stop(t, srv.Gateway)

	if err := os.WriteFile(filepath.Join(cfg.Dir, "sequencer"), nil, 0o644); err != nil { // lost
		t.Fatal(err)
	}
	srv = open(t, back, r)
	srv.put(t, "uploads/c.csv", "x")
	if got := srv.last(t, "uploads/c.csv"); got.Sequencer <= next.Sequencer {
		t.Errorf("without the mark: %s, want later than %s", got.Sequencer, next.Sequencer)
	}
}

func TestObjectsStops(t *testing.T) {
	t.Parallel()
	srv := start(t)
	for i := range 3 {
		srv.put(t, fmt.Sprintf("uploads/%d.csv", i), "x")
	}
	enough := fmt.Errorf("enough")
	calls := 0
	err := srv.Objects(t.Context(), func(events.Object) error { calls++; return enough })
	if !errors.Is(err, enough) || calls != 1 {
		t.Errorf("Objects = %v after %d calls, want its callback's error after one", err, calls)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := srv.Objects(ctx, func(events.Object) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Objects = %v, want context.Canceled", err)
	}
}

// TestObjectsAfterDrain checks that a scan continues to its end if the gateway stops serving meanwhile.
func TestObjectsAfterDrain(t *testing.T) {
	t.Parallel()
	srv := start(t)
	srv.put(t, "uploads/a.csv", "person,flavor\n")
	srv.put(t, "uploads/b.csv", "person,flavor\n")
	var keys []string
	err := srv.Objects(t.Context(), func(o events.Object) error {
		if len(keys) == 0 {
			if err := srv.Drain(t.Context()); err != nil {
				t.Errorf("Drain: %v, want success", err)
			}
		}
		keys = append(keys, o.Key)
		return nil
	})
	if err != nil || len(keys) != 2 {
		t.Errorf("Objects while draining = %q, %v, want both objects", keys, err)
	}
	if err := srv.Objects(t.Context(), func(events.Object) error { return nil }); err != nil {
		t.Errorf("Objects after Drain: %v", err)
	}
	if _, err := srv.DeleteBefore(t.Context(), bucket, time.Now(), func(string) bool { return false }); err != nil {
		t.Errorf("DeleteBefore after Drain: %v", err)
	}
}

func TestStopLetsRequestsFinish(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	srv := start(t, func(c *gateway.Config) {
		c.OnStored = func(ctx context.Context, _ events.Object) error {
			close(entered)
			<-leave
			return ctx.Err()
		}
	})
	put := make(chan error, 1)
	go func() {
		err := srv.tryPut(t, "uploads/a.csv", []byte("x"))
		put <- err
	}()
	<-entered
	stopped := make(chan struct{})
	go func() { stop(t, srv.Gateway); close(stopped) }()
	select {
	case <-stopped:
		t.Error("Stop returned, want it to wait for the request")
	case <-time.After(300 * time.Millisecond):
	}
	close(leave)
	if err := <-put; err != nil {
		t.Errorf("request in flight: %v, want success", err)
	}
	<-stopped
}

// TestRequestsDuringStopGet503 checks that requests whose contexts a stop cancels get a 503 if they read, so that
// clients retry, and that nothing is logged. Changes are still made.
func TestRequestsDuringStopGet503(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	srv := start(t, func(c *gateway.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	srv.put(t, "uploads/a.csv", "x")
	stopping, stop := context.WithCancel(t.Context())
	for call, err := range gateway.CallStore(stopping, srv.Gateway, bucket, "uploads/a.csv") {
		if err != nil {
			t.Errorf("%s before the stop: %v, want success", call, err)
		}
	}
	srv.put(t, "uploads/a.csv", "x")
	stop()
	for call, err := range gateway.CallStore(stopping, srv.Gateway, bucket, "uploads/a.csv") {
		var answer s3err.S3Error
		right := errors.As(err, &answer) && answer.StatusCode() == http.StatusServiceUnavailable
		if call == "delete" { // changes are not canceled
			right = err == nil
		}
		if !right {
			t.Errorf("%s during the stop: %v, want 503 for reads and success for delete", call, err)
		}
	}
	if log.Len() > 0 {
		t.Errorf("logged:\n%s\nwant nothing", &log)
	}
}

// TestStopLeavesNothing is not parallel because it counts goroutines and reads the working directory.
func TestStopLeavesNothing(t *testing.T) {
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	cfg := config(t, &recorder{})
	cycle := func() {
		g, err := gateway.Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		stop(t, g)
	}
	cycle() // versitygw's HTTP server starts some goroutines once and never ends them
	before := goroutines()
	for range 3 {
		cycle()
	}
	for deadline := time.Now().Add(testutil.Timeout); len(goroutines()) > len(before); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, want at most %d:\n%s", len(goroutines()), len(before), strings.Join(goroutines(), "\n\n"))
		}
	}
	if got, _ := os.Getwd(); got != cwd {
		t.Errorf("working directory = %s, want %s", got, cwd)
	}
}

// goroutines returns the stacks of all goroutines, except one of the HTTP server that checks every ten seconds whether
// it should end.
func goroutines() []string {
	buf := make([]byte, 1<<20)
	all := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
	return slices.DeleteFunc(all, func(stack string) bool {
		return strings.Contains(stack, "fasthttp.(*workerPool).Start")
	})
}
