package broker_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/brokertest"
	"github.com/flavorless/flavorless/internal/testutil"
	"github.com/flavorless/flavorless/test/raw"
)

// TestStartOnSmallDisk checks that the server starts although the limit of the changes is larger than the disk.
func TestStartOnSmallDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	large := func(c *broker.Config) { c.ChangesBytes = 1 << 60 }
	s := brokertest.Start(t, dir, large)
	s.Publish(t, broker.Updates, brokertest.Update("a"))
	s.Stop()
	brokertest.Start(t, dir, large)
}

// dial connects a client that need not follow the protocol.
func dial(t *testing.T, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c := raw.Dial(t, addr)
	return c, bufio.NewReader(c)
}

const hello = `CONNECT {"user":"subscriber","pass":"secret","verbose":false,"pedantic":false,"headers":true}` +
	"\r\nPING\r\n"

// answer reads until a line with that prefix, or the end, and returns the line.
func answer(t *testing.T, r *bufio.Reader, prefix string) string {
	t.Helper()
	var all strings.Builder
	for {
		line, err := r.ReadString('\n')
		all.WriteString(line)
		if err != nil || strings.HasPrefix(line, prefix) {
			if !strings.HasPrefix(line, prefix) {
				t.Errorf("read %q, %v, want a line that begins with %q", all.String(), err, prefix)
			}
			return line
		}
	}
}

// TestClientLimits checks what a client can use of the server.
func TestClientLimits(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir(), func(c *broker.Config) { c.MaxConnections = 3 })
	t.Run("payload", func(t *testing.T) {
		c, r := dial(t, s.Addr())
		fmt.Fprintf(c, "%sPUB $JS.API.INFO %d\r\n", hello, 2<<20)
		answer(t, r, "-ERR 'Maximum Payload")
	})
	t.Run("line", func(t *testing.T) {
		c, r := dial(t, s.Addr())
		fmt.Fprintf(c, "%sSUB %s 1\r\n", hello, strings.Repeat("a", 64<<10))
		answer(t, r, "-ERR 'maximum control line")
	})
	t.Run("subscriptions", func(t *testing.T) {
		c, r := dial(t, s.Addr())
		var many strings.Builder
		for i := range 1100 {
			fmt.Fprintf(&many, "SUB _INBOX.a.%d %d\r\n", i, i)
		}
		fmt.Fprint(c, hello+many.String())
		answer(t, r, "-ERR 'maximum subscriptions")
	})
	t.Run("authentication", func(t *testing.T) { // the server does not wait forever
		_, r := dial(t, s.Addr())
		answer(t, r, "-ERR 'Authentication Timeout'")
	})
	t.Run("connections", func(t *testing.T) {
		for range 3 {
			testutil.WaitFor(t, "a free connection", func() bool {
				c, r := dial(t, s.Addr())
				fmt.Fprint(c, hello)
				for {
					line, err := r.ReadString('\n')
					if err != nil || strings.HasPrefix(line, "PONG") {
						return err == nil
					}
				}
			})
		}
		_, r := dial(t, s.Addr())
		answer(t, r, "-ERR 'maximum connections exceeded'")
	})
}
