// Package raw has clients that need not keep to any protocol.
package raw

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// Patience is how long a test waits for a server.
const Patience = 3 * time.Minute

// Dial connects to a server until the test ends.
func Dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(Patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// CutsOff makes sure that the server cuts a client off which says how it begins, and then the trickle, again and again.
func CutsOff(t *testing.T, addr, begin, trickle string) {
	t.Helper()
	c := Dial(t, addr)
	if _, err := io.WriteString(c, begin); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, c) // an answer may come first
		ended <- err
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("still connected after %s", Patience)
			}
			return
		case <-tick.C:
			_, _ = io.WriteString(c, trickle) // fails once it is cut off
		}
	}
}
