package local_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/flavorless/flavorless/internal/local"
)

// TestInfoOfKilledServer checks that while a server starts on the folder of one that was killed, ReadInfo does not
// return the addresses of the killed one.
func TestInfoOfKilledServer(t *testing.T) {
	dir := t.TempDir()
	start := func(log slog.Handler) *local.Server {
		t.Helper()
		s, err := local.Start(t.Context(), local.Config{Dir: dir, Log: slog.New(log)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	stop := func(s *local.Server) {
		t.Helper()
		if err := s.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "server.json")
	s := start(slog.DiscardHandler)
	stale, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	killed := s.Info()
	stop(s)
	if err := os.WriteFile(path, stale, 0o600); err != nil { // as after a kill
		t.Fatal(err)
	}
	var reads atomic.Int64
	s = start(logHook(func() { // at each log entry of the start, and perhaps later ones
		reads.Add(1)
		info, err := local.ReadInfo(dir)
		if err == nil && info.Control == killed.Control || err != nil && !errors.Is(err, local.ErrNotRunning) {
			t.Errorf("ReadInfo during the start: PID %d, error %v; want %v", info.PID, err, local.ErrNotRunning)
		}
	}))
	defer stop(s)
	if reads.Load() == 0 {
		t.Error("ReadInfo was not called, because the start logs nothing")
	}
	if info, err := local.ReadInfo(dir); err != nil || !reflect.DeepEqual(info, s.Info()) {
		t.Errorf("ReadInfo after the start = %+v, %v; want %+v", info, err, s.Info())
	}
}

// TestReadInfoDoesNotPreventStart checks that commands that look for a server all the time do not keep one from
// starting.
func TestReadInfoDoesNotPreventStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var readers sync.WaitGroup
	defer readers.Wait()
	done := make(chan struct{})
	defer close(done)
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := local.ReadInfo(dir); err != nil && !errors.Is(err, local.ErrNotRunning) {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 1000 {
		if err := local.Lock(dir); err != nil {
			t.Fatal(err)
		}
	}
	s, err := local.Start(t.Context(), local.Config{Dir: dir, Log: discard})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := local.ReadInfo(dir); err != nil || !reflect.DeepEqual(info, s.Info()) {
		t.Errorf("ReadInfo = %+v, %v; want %+v", info, err, s.Info())
	}
	if err := s.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	if _, err := local.ReadInfo(dir); !errors.Is(err, local.ErrNotRunning) {
		t.Errorf("ReadInfo after Stop: %v, want %v", err, local.ErrNotRunning)
	}
}

// logHook is a log that calls a function at each entry.
type logHook func()

func (h logHook) Enabled(context.Context, slog.Level) bool { return true }
func (h logHook) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h logHook) WithGroup(string) slog.Handler            { return h }

func (h logHook) Handle(context.Context, slog.Record) error {
	h()
	return nil
}
