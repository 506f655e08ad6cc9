package broker_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/brokertest"
	"github.com/flavorless/flavorless/test/raw"
)

// TestStartsOnASmallDisk: how large the changes may grow is no claim on the disk as it is now.
func TestStartsOnASmallDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	large := func(c *broker.Config) { c.ChangesBytes = 1 << 60 }
	s := brokertest.Start(t, dir, large)
	s.Publish(t, broker.Updates, brokertest.Update("a"))
	s.Stop()
	brokertest.Start(t, dir, large)
}

// dial is a connection of a client that need not keep to the protocol.
func dial(t *testing.T, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c := raw.Dial(t, addr)
	return c, bufio.NewReader(c)
}

const hello = `CONNECT {"user":"subscriber","pass":"secret","verbose":false,"pedantic":false,"headers":true}` + "\r\nPING\r\n"

// answer reads until a line that begins so, or the end.
func answer(t *testing.T, r *bufio.Reader, prefix string) string {
	t.Helper()
	var all strings.Builder
	for {
		line, err := r.ReadString('\n')
		all.WriteString(line)
		if err != nil || strings.HasPrefix(line, prefix) {
			if !strings.HasPrefix(line, prefix) {
				t.Errorf("no %q but %q, %v", prefix, all.String(), err)
			}
			return line
		}
	}
}

// TestLimitsOfClients: what a client of the changes can take of the server is bounded, whatever it sends.
func TestLimitsOfClients(t *testing.T) {
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
	t.Run("silence", func(t *testing.T) { // who does not log in is not waited for
		_, r := dial(t, s.Addr())
		answer(t, r, "-ERR 'Authentication Timeout'")
	})
	t.Run("connections", func(t *testing.T) {
		for range 3 {
			brokertest.Await(t, "one of the others is gone", func() bool {
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
