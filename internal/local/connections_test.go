package local_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flavorless/flavorless/internal/local"
	"github.com/flavorless/flavorless/internal/testutil"
	"github.com/flavorless/flavorless/test/raw"
)

// client is a connection on which a test writes requests itself.
type client struct {
	net.Conn
	in *bufio.Reader
}

func dial(t *testing.T, address string) client {
	t.Helper()
	c := raw.Dial(t, address)
	return client{c, bufio.NewReader(c)}
}

func (c client) send(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// response reads a whole response, and returns an error unless its status is 200.
func (c client) response() error {
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

// get sends a request that needs no token, and reads the response.
func (c client) get(t *testing.T) {
	t.Helper()
	c.send(t, publicRequest+"\r\n")
	if err := c.response(); err != nil {
		t.Fatal(err)
	}
}

// TestIdleConnectionsAreClosed checks that clients with idle connections can't keep others out, neither of the API nor
// of the metrics.
func TestIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *local.Config) {
		c.Limits.MaxConnections, c.Limits.MaxRequests, c.Metrics = 4, 4, "127.0.0.1:0"
	})
	metrics, _, _ := strings.Cut(strings.TrimPrefix(s.Info().Metrics, "http://"), "/")
	t.Run("API", func(t *testing.T) {
		silent := dial(t, s.address())
		var idle []client
		for range 3 {
			c := dial(t, s.address())
			c.get(t)
			idle = append(idle, c)
		}
		// A client gets its response before the server marks the connection as idle.
		testutil.WaitFor(t, "four idle connections", func() bool { return s.IdleConnections() == 4 })
		idle[0].get(t) // so idle[1] has been idle for longer
		testutil.WaitFor(t, "four idle connections after a request", func() bool { return s.IdleConnections() == 4 })
		dial(t, s.address()).get(t)
		testutil.WaitFor(t, "four idle connections after a new one", func() bool { return s.IdleConnections() == 4 })
		dial(t, s.address()).get(t)
		for name, c := range map[string]client{"unused connection": silent, "least recently used connection": idle[1]} {
			if _, err := c.in.ReadByte(); !errors.Is(err, io.EOF) {
				t.Errorf("%s: %v, want EOF", name, err)
			}
		}
		idle[0].get(t)
		idle[2].get(t)
	})
	t.Run("metrics", func(t *testing.T) {
		for range 20 {
			c := dial(t, metrics)
			c.send(t, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
			if err := c.response(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestFollowersStayConnected checks that a client that follows the changes keeps its connection when many others
// connect.
func TestFollowersStayConnected(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *local.Config) { c.Limits.MaxConnections, c.Limits.MaxRequests = 4, 4 })
	follower := dial(t, s.address())
	follower.send(t, "GET /changes HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+s.token()+"\r\n\r\n")
	following, err := http.ReadResponse(follower.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	// The body ends with the connection, so it is not closed here: that would read it to its end.
	for range 10 {
		dial(t, s.address()).get(t)
	}
	s.upload("a.csv", "person,flavor\nandy,vanilla\n")
	for lines := bufio.NewScanner(following.Body); ; {
		if !lines.Scan() {
			t.Fatalf("the stream of changes ended (%v), want the change to vanilla", lines.Err())
		}
		if strings.Contains(lines.Text(), "vanilla") {
			return
		}
	}
}

// TestConnectionsAreBounded checks that while each connection has a request in flight, or the beginning of one, the
// next one waits until another one is closed or becomes idle, or until the listener is closed.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	type hook = func(net.Conn, http.ConnState)
	for name, release := range map[string]func(l net.Listener, state hook, busy net.Conn){
		"one is closed":          func(_ net.Listener, _ hook, busy net.Conn) { _ = busy.Close() },
		"one becomes idle":       func(_ net.Listener, state hook, busy net.Conn) { state(busy, http.StateIdle) },
		"the listener is closed": func(l net.Listener, _ hook, _ net.Conn) { _ = l.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				clients := make(pipes, 3)
				l, state := local.LimitConnections(clients, 2)
				sending, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				go io.WriteString(<-clients, "G") //nolint:errcheck // Read notices
				if _, err := sending.Read(make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				busy, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				state(busy, http.StateActive)
				var third net.Conn
				var failed error
				accepted := false
				go func() {
					third, failed = l.Accept()
					accepted = true
				}()
				synctest.Wait()
				if accepted {
					t.Fatal("a third connection was accepted although two were busy")
				}
				release(l, state, busy)
				synctest.Wait()
				closed := name == "the listener is closed"
				if !accepted || (third == nil) != closed || errors.Is(failed, net.ErrClosed) != closed {
					t.Errorf("Accept returned %t: %v, %v", accepted, third, failed)
				}
				for _, c := range []net.Conn{sending, busy} {
					want := os.ErrDeadlineExceeded // open, but nothing reads
					if c == busy && !closed {
						want = io.ErrClosedPipe
					}
					_ = c.SetDeadline(time.Unix(0, 0)) // fails on a closed one
					if _, err := c.Write([]byte("x")); !errors.Is(err, want) {
						t.Errorf("writing to a connection: %v, want %v", err, want)
					}
				}
			})
		})
	}
}

// pipes is a listener that always has a new connection. It sends the other end to the test.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	server, client := net.Pipe()
	p <- client
	return server, nil
}

func (pipes) Addr() net.Addr { return nil }

func (pipes) Close() error { return nil }
