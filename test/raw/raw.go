// Package raw has network clients that can break the protocol they speak.
package raw

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/flavorless/flavorless/internal/testutil"
)

// Dial connects to a server until the test ends, with a deadline of [testutil.Timeout].
func Dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(testutil.Timeout)); err != nil {
		t.Fatal(err)
	}
	return c
}

// CutsOff checks that the server closes the connection of a client that sends begin and then trickle again and again.
func CutsOff(t *testing.T, addr, begin, trickle string) {
	t.Helper()
	c := Dial(t, addr)
	if _, err := io.WriteString(c, begin); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, c) // a response may come first
		ended <- err
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the connection is still open after %s", testutil.Timeout)
			}
			return
		case <-tick.C:
			_, _ = io.WriteString(c, trickle) // fails once the server has closed the connection
		}
	}
}
