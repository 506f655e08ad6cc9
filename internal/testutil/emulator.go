package testutil

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

// ToolsEnv is the environment variable that `make test` sets to say that every emulator is installed. A test then
// fails, instead of being skipped, if its emulator is missing.
const ToolsEnv = "FLAVORLESS_TEST_TOOLS"

// Launch says how to run an emulator.
type Launch struct {
	Name string
	// Command returns the command to run, or an error if the server is not installed.
	Command func() (*exec.Cmd, error)
	// Ready waits until the server answers and returns its URL. Lines has what the server prints; ctx ends with the
	// server.
	Ready func(ctx context.Context, lines <-chan string) (url string, err error)
}

// Emulator is a server that stands in for a cloud service. All tests of a test binary share one process, which the
// first call of [Emulator.Endpoint] starts; TestMain has to call [Emulator.Stop]. The zero value is ready to use.
type Emulator struct {
	once    sync.Once
	url     string
	missing error // from Command
	failed  error // from starting it
	stdin   io.Closer
	wait    func() error
}

// Endpoint returns the server's URL. If the server is not installed, the test is skipped, or fails if [ToolsEnv] is
// set.
func (e *Emulator) Endpoint(t testing.TB, launch Launch) string {
	t.Helper()
	if testing.Short() {
		t.Skipf("short mode does not start %s; make test does", launch.Name)
	}
	e.once.Do(func() { e.start(launch) })
	switch {
	case e.failed != nil:
		t.Fatalf("starting %s: %v", launch.Name, e.failed)
	case e.missing != nil && os.Getenv(ToolsEnv) != "":
		t.Fatalf("%s is missing although %s is set: %v", launch.Name, ToolsEnv, e.missing)
	case e.missing != nil:
		t.Skipf("%s is missing (make test installs it): %v", launch.Name, e.missing)
	}
	return e.url
}

// Stop ends the server, if it runs.
func (e *Emulator) Stop() {
	if e.wait != nil {
		_ = e.stdin.Close()
		_ = e.wait() // reports that the server was killed
		e.wait = nil
	}
}

// supervise is a shell script that runs a server until standard input ends: when Stop closes it, or when the test
// binary is gone, even if it was killed.
const supervise = `"$@" & server=$!; cat >/dev/null; kill -9 $server`

func (e *Emulator) start(launch Launch) {
	server, err := launch.Command()
	if err != nil {
		e.missing = err
		return
	}
	cmd := exec.Command("sh", append([]string{"-c", supervise, "sh"}, server.Args...)...) //nolint:gosec // see Command
	cmd.Dir, cmd.Env = server.Dir, server.Env
	output, write, err := os.Pipe()
	if err != nil {
		e.failed = err
		return
	}
	defer write.Close()
	cmd.Stdout, cmd.Stderr = write, write
	if e.stdin, err = cmd.StdinPipe(); err == nil {
		err = cmd.Start()
	}
	if err != nil {
		e.failed = errors.Join(err, output.Close())
		return
	}
	e.wait = func() error { return errors.Join(cmd.Wait(), output.Close()) }
	var log tail
	lines := make(chan string, 1000)
	ctx, cancel := context.WithTimeout(context.Background(), Timeout)
	defer cancel()
	go func() {
		scanner := bufio.NewScanner(output)
		for scanner.Scan() { // to the end, so that the server never blocks
			log.add(scanner.Text())
			select {
			case lines <- scanner.Text():
			default: // nobody reads lines once the server is ready
			}
		}
		cancel()
	}()
	if e.url, err = launch.Ready(ctx, lines); err != nil {
		e.Stop()
		e.failed = fmt.Errorf("%w; its output:\n%s", err, &log)
	}
}

// tail has the last lines of an output.
type tail struct {
	mu    sync.Mutex
	lines []string
}

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lines = append(t.lines, line); len(t.lines) > 200 {
		t.lines = slices.Delete(t.lines, 0, 100)
	}
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "\n")
}
