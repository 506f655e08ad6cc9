package main

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/flavorless/flavorless/events"
)

// TestServeSurvivesCrowds: far more connections than the process may have files open neither end it nor keep it from working
// once they are gone.
func TestServeSurvivesCrowds(t *testing.T) {
	t.Parallel()
	p := startServeAfter(t, "ulimit -n 128", t.TempDir())
	var crowd []net.Conn
	for range 60 {
		for _, url := range []string{p.info.API, p.info.S3, p.info.NATS} {
			_, address, _ := strings.Cut(url, "://")
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, _ = io.WriteString(c, "GET /team HTTP/1.1\r\nHost: a\r\n\r\nGET /") // it may be turned away first
			crowd = append(crowd, c)
		}
	}
	for _, c := range crowd {
		c.Close()
	}
	until(t, "it takes an upload", func() bool {
		err := p.tryPut("uploads/a.csv", "person,flavor\nandy,vanilla\n")
		if errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatal(err)
		}
		return err == nil
	})
	if u := p.settled("uploads/a.csv"); u.Status != events.Live {
		t.Errorf("the upload is %s, want %s", u.Status, events.Live)
	}
	if code := p.stopped(); code != 0 {
		t.Errorf("serve ended with %d", code)
	}
}
