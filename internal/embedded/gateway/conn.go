package gateway

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// minRate is the rate that a client must keep up on average when it sends, in bytes per second.
const minRate = 1 << 10

// conn is a connection on which a client can't keep the server waiting for long. Each connection has a budget of time,
// the listener's timeout. The time that the server waits for the client to send is subtracted; each minRate bytes that
// are received add a second, and an answer that was sent restores the whole budget. So a client that sends nothing, or
// a byte now and then, is disconnected when its budget is used up, also within a request. A client that sends at
// minRate may take as long as it needs. Plain deadlines can't distinguish the two. When the server sends, the client
// must read each sendSize bytes within the timeout.
//
// conn embeds the TCP connection, so that files are still sent with sendfile.
type conn struct {
	*net.TCPConn

	listener  *listener
	used      atomic.Bool   // something was received
	idleSince atomic.Int64  // when the last request ended, in ns since 1970; 0 during a request
	budget    time.Duration // used only by the goroutine that serves the connection

	// waited is how much of the budget is used up, in ns. waitingSince is when the server began to wait for the next
	// bytes, in ns since 1970, or 0. authenticated is set once the signature of the current request is verified.
	waited, waitingSince atomic.Int64
	authenticated        atomic.Bool

	mu       sync.Mutex
	deadline time.Time // for reading, as set by the server
}

// Read reads within the budget. A connection that was reset or closed, or whose client is too slow, returns io.EOF like
// one that the client closed: within a request, the missing bytes make it fail in any case, and between requests
// versitygw would print other errors to stderr.
func (c *conn) Read(p []byte) (int, error) {
	start := time.Now()
	own, err := c.setReadDeadline(start.Add(c.budget))
	if err != nil {
		return 0, io.EOF // it is closed
	}
	c.waitingSince.Store(start.UnixNano())
	n, err := c.TCPConn.Read(p)
	c.waitingSince.Store(0)
	idle := c.idleSince.Load() != 0
	if n > 0 {
		c.used.Store(true)
		c.idleSince.Store(0)
	}
	earned := time.Duration(n) * time.Second / minRate
	c.budget = min(c.budget-time.Since(start)+earned, c.listener.timeout)
	c.waited.Store(int64(c.listener.timeout - c.budget))
	if err != nil && (own || idle || !errors.Is(err, os.ErrDeadlineExceeded)) {
		err = io.EOF
	}
	return n, err //nolint:wrapcheck // a net.Conn's errors are its own
}

// setReadDeadline sets the deadline of the next read to at, or to the server's deadline if that is earlier. It reports
// whether it set at.
func (c *conn) setReadDeadline(at time.Time) (own bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if own = c.deadline.IsZero() || at.Before(c.deadline); !own {
		at = c.deadline
	}
	return own, c.TCPConn.SetReadDeadline(at)
}

// SetReadDeadline sets the server's deadline.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return c.TCPConn.SetReadDeadline(t)
}

// SetDeadline sets the server's deadline for reading. Write and ReadFrom set those for writing.
func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// Write writes within the timeout.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.listener.timeout)); err != nil {
		return 0, err //nolint:wrapcheck // a net.Conn's errors are its own
	}
	defer c.restoreBudget()
	return c.TCPConn.Write(p) //nolint:wrapcheck // a net.Conn's errors are its own
}

func (c *conn) restoreBudget() {
	c.budget = c.listener.timeout
	c.waited.Store(0)
}

// sendSize is how many bytes of a file are sent at a time.
const sendSize = 256 << 10

// ReadFrom sends a file, sendSize bytes at a time, with sendfile if possible.
func (c *conn) ReadFrom(r io.Reader) (sent int64, err error) {
	limited, ok := r.(*io.LimitedReader) // sendfile is used for at most one LimitedReader around a file
	if !ok {
		limited = &io.LimitedReader{R: r, N: 1<<63 - 1}
	}
	defer c.restoreBudget()
	for limited.N > 0 {
		part := io.LimitedReader{R: limited.R, N: min(limited.N, sendSize)}
		if err := c.SetWriteDeadline(time.Now().Add(c.listener.timeout)); err != nil {
			return sent, err //nolint:wrapcheck // a net.Conn's errors are its own
		}
		n, err := c.TCPConn.ReadFrom(&part)
		sent += n
		limited.N -= n
		if err != nil || part.N > 0 { // failed, or at the end of the file
			return sent, err //nolint:wrapcheck // a net.Conn's errors are its own
		}
	}
	return sent, nil
}

// WriteTo reads through Read.
func (c *conn) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, struct{ io.Reader }{c}) }

// Close closes the connection and removes it from the listener.
func (c *conn) Close() error {
	c.listener.mu.Lock()
	delete(c.listener.open, c)
	c.listener.mu.Unlock()
	return c.TCPConn.Close()
}
