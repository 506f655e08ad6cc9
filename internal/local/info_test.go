package local_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"

	"github.com/flavorless/flavorless/internal/local"
)

// TestInfoOfAKilledServer: while a server starts on the folder of one that was killed, nobody is sent to where that one
// was.
func TestInfoOfAKilledServer(t *testing.T) {
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
	left, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	stop(s)
	if err := os.WriteFile(path, left, 0o600); err != nil { // as it would be had it been killed
		t.Fatal(err)
	}
	looked := 0
	s = start(eachLine(func() {
		looked++
		if _, err := local.ReadInfo(dir); !errors.Is(err, local.ErrNotRunning) {
			t.Errorf("while it starts: %v, want %v", err, local.ErrNotRunning)
		}
	}))
	defer stop(s)
	if looked == 0 {
		t.Error("the start logs nothing, so nobody looked")
	}
	if info, err := local.ReadInfo(dir); err != nil || !reflect.DeepEqual(info, s.Info()) {
		t.Errorf("when it is ready: %v, %v", info, err)
	}
}

// TestWhoLooksDoesNotStopAStart: commands ask all the time whether a server runs.
func TestWhoLooksDoesNotStopAStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var looking sync.WaitGroup
	defer looking.Wait()
	over := make(chan struct{})
	defer close(over)
	for range 4 {
		looking.Go(func() {
			for {
				select {
				case <-over:
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
		t.Errorf("%v, %v", info, err)
	}
	if err := s.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	if _, err := local.ReadInfo(dir); !errors.Is(err, local.ErrNotRunning) {
		t.Errorf("when it has stopped: %v", err)
	}
}

// eachLine does something at each line of a log, up to the one that the NATS server is ready.
func eachLine(do func()) slog.Handler { return &lineHandler{do: do} }

type lineHandler struct {
	mu   sync.Mutex
	do   func()
	over bool
}

func (h *lineHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h *lineHandler) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *lineHandler) WithGroup(string) slog.Handler            { return h }

func (h *lineHandler) Handle(_ context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.over {
		h.do()
	}
	h.over = h.over || r.Message == "nats server ready"
	return nil
}
