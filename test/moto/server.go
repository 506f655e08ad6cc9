// Package moto runs moto for tests: a judge that speaks the protocols of S3, SNS, SQS and more. https://docs.getmoto.org
package moto

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flavorless/flavorless/internal/aws"
)

// Server is one moto for all tests of a test binary, started by the first test that wants it. TestMain has to Stop it.
// The zero value is ready.
type Server struct {
	once    sync.Once
	url     string
	missing error // why it can't be had here
	failed  error // why it does not run although it could
	stdin   io.Closer
	wait    func() error
}

// URL gives the server's URL. Without moto it skips the test, or fails it if FLAVORLESS_TEST_TOOLS is set.
func (s *Server) URL(t testing.TB) string {
	t.Helper()
	s.once.Do(s.start)
	switch {
	case s.failed != nil:
		t.Fatalf("moto_server does not start: %v", s.failed)
	case s.missing != nil && os.Getenv("FLAVORLESS_TEST_TOOLS") != "":
		t.Fatalf("no moto_server, although FLAVORLESS_TEST_TOOLS is set: %v", s.missing)
	case s.missing != nil:
		t.Skipf("no moto_server: %v; make test installs it", s.missing)
	}
	return s.url
}

// Access is how adapters reach all services at that URL, which is the server's own or that of a proxy in front of it.
func Access(url string) aws.Access {
	return aws.Access{Region: "us-east-1", KeyID: "test", Secret: "test", Endpoint: func(string) string { return url }}
}

// Stop ends the server, if it runs.
func (s *Server) Stop() {
	if s.wait != nil {
		s.stdin.Close()
		_ = s.wait() // it was killed, and says so
		s.wait = nil
	}
}

// keeper runs moto until its standard input ends. That is when Stop closes it, or when the test binary is gone, however it
// went: nothing is left behind.
const keeper = `"$@" & moto=$!; cat >/dev/null; kill -9 $moto`

func (s *Server) start() {
	program, err := exec.LookPath("moto_server")
	if err != nil {
		s.missing = err
		return
	}
	cmd := exec.Command("sh", "-c", keeper, "sh", program, "-H", "127.0.0.1", "-p", "0")
	output, err := cmd.StderrPipe()
	if err == nil {
		s.stdin, err = cmd.StdinPipe()
	}
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.failed = err
		return
	}
	s.wait = cmd.Wait
	found := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(output); lines.Scan(); { // to the end, so that it never blocks
			if _, url, ok := strings.Cut(lines.Text(), "Running on "); ok {
				found <- strings.TrimSpace(url)
			}
		}
		close(found)
	}()
	err = errors.New("it says nothing for a minute")
	select {
	case url, ok := <-found: // said once it listens
		if s.url, err = url, nil; !ok {
			err = errors.New("it ended at once")
		}
	case <-time.After(3 * time.Minute):
	}
	if err != nil {
		s.Stop()
		s.failed = fmt.Errorf("%s: %w", program, err)
	}
}
