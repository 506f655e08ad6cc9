package main

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/testutil"
)

// TestServeSurvivesManyConnections: with more connections than file descriptors, the process keeps running, and it
// works again once the connections are closed.
func TestServeSurvivesManyConnections(t *testing.T) {
	t.Parallel()
	p := startServeAfter(t, "ulimit -n 128", t.TempDir())
	var conns []net.Conn
	for range 60 {
		for _, url := range []string{p.info.API, p.info.S3, p.info.NATS} {
			_, address, _ := strings.Cut(url, "://")
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, _ = io.WriteString(c, "GET /team HTTP/1.1\r\nHost: a\r\n\r\nGET /") // the server may have closed it already
			conns = append(conns, c)
		}
	}
	for _, c := range conns {
		c.Close()
	}
	testutil.WaitFor(t, "the server accepts an upload", func() bool {
		err := p.tryPut("uploads/a.csv", "person,flavor\nandy,vanilla\n")
		if errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatal(err)
		}
		return err == nil
	})
	if u := p.settled("uploads/a.csv"); u.Status != events.Live {
		t.Errorf("status of the upload = %s, want %s", u.Status, events.Live)
	}
	if code := p.stopped(); code != 0 {
		t.Errorf("exit code of serve = %d, want 0", code)
	}
}
