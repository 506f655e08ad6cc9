package test

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flavorless/flavorless/internal/local"
	"github.com/flavorless/flavorless/internal/testutil"
	"github.com/flavorless/flavorless/internal/testutil/program"
)

// supervisor runs the real program on one data folder, and starts it again after a test has killed it.
type supervisor struct {
	t        *testing.T
	program  string
	data     string
	args     []string // of serve, besides those of startProcess
	diskFull bool     // whether the program may log errors because its disk is full
	starts   int
	process  *process
	pid      atomic.Int64
	messages map[string]int // how often ended processes logged each message that is about an upload
}

func newSupervisor(t *testing.T) *supervisor {
	t.Helper()
	dir := t.TempDir()
	s := &supervisor{t: t, data: filepath.Join(dir, "data"), messages: map[string]int{}}
	var err error
	if s.program, err = program.Build(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.process == nil {
			return
		}
		s.process.kill()
		if t.Failed() {
			t.Logf("the end of the log of process %d:\n%s", s.starts, strings.Join(s.process.tail, ""))
		}
	})
	return s
}

// start starts a process. It does not wait until it is ready.
func (s *supervisor) start() {
	s.t.Helper()
	s.process = startProcess(s.t, s.program, s.data, s.args...)
	s.starts++
	s.pid.Store(int64(s.process.cmd.Process.Pid))
}

// kill kills the process, which must not have ended before.
func (s *supervisor) kill() {
	s.t.Helper()
	if !s.process.kill() {
		s.t.Fatalf("process %d ended by itself: %s", s.starts, s.process.cmd.ProcessState)
	}
	s.checkLog()
}

// stop ends the process as an operator does.
func (s *supervisor) stop() {
	s.t.Helper()
	if err := s.process.stop(); err != nil {
		s.t.Errorf("stopping process %d: %v", s.starts, err)
	}
	s.checkLog()
}

// checkLog fails the test if the process that has ended logged an error that is not expected.
func (s *supervisor) checkLog() {
	s.t.Helper()
	unexpected := s.process.errors
	if !s.diskFull {
		unexpected = append(unexpected, s.process.diskFull...)
	}
	for _, line := range unexpected {
		s.t.Errorf("process %d logged an error: %s", s.starts, line)
	}
	for message, n := range s.process.messages {
		s.messages[message] += n
	}
}

// loggedMessages returns the messages about uploads that processes have logged so far, in alphabetical order.
func (s *supervisor) loggedMessages() []string { return slices.Sorted(maps.Keys(s.messages)) }

// ready waits until the process is ready.
func (s *supervisor) ready() local.Info {
	s.t.Helper()
	info, ready := s.readyOrEnded()
	if !ready {
		s.t.Fatalf("process %d ended before it was ready", s.starts)
	}
	return info
}

// readyOrEnded waits until the process is ready or has ended.
func (s *supervisor) readyOrEnded() (info local.Info, ready bool) {
	s.t.Helper()
	testutil.WaitFor(s.t, "the server to be ready", func() bool {
		if info, ready = s.info(); ready {
			return true
		}
		select {
		case <-s.process.ended:
			return true
		default:
			return false
		}
	})
	return info, ready
}

// info returns how to reach the current process, and reports whether it is ready. It may be called from any goroutine.
func (s *supervisor) info() (local.Info, bool) { return program.Info(s.data, int(s.pid.Load())) }

// waitReady waits for a process that is ready, and returns false if ctx ends first. It may be called from any
// goroutine.
func (s *supervisor) waitReady(ctx context.Context) (local.Info, bool) {
	for {
		if info, ready := s.info(); ready {
			return info, true
		}
		if !sleep(ctx, 5*time.Millisecond) {
			return local.Info{}, false
		}
	}
}

// sleep waits for a duration, and returns false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// get decodes the JSON that the API returns for a route.
func (s *supervisor) get(info local.Info, route string, answer any) {
	s.t.Helper()
	token, err := program.Token(s.data, info)
	if err != nil {
		s.t.Fatal(err)
	}
	status, body := get(s.t, info.API+route, token)
	if status != http.StatusOK {
		s.t.Fatalf("GET %s: status %d: %s", route, status, body)
	}
	if err := json.Unmarshal(body, answer); err != nil {
		s.t.Fatalf("GET %s: %v", route, err)
	}
}

// get sends a request with a token.
func get(t testing.TB, url, token string) (status int, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err = io.ReadAll(res.Body); err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	return res.StatusCode, body
}

// command runs a command of the program on the data folder, and returns its standard output.
func (s *supervisor) command(args ...string) string {
	s.t.Helper()
	out, err := exec.CommandContext(s.t.Context(), s.program, append(args, "--data", s.data)...).Output()
	if err != nil {
		s.t.Fatalf("flavorless %v: %v", args, err)
	}
	return string(out)
}
