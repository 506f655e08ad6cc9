package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// listener knows its open connections, which of them have never carried a request, and which are idle. When as many are
// open as may be, a new connection takes the place of the one that has been idle for longest.
type listener struct {
	net.Listener

	patience time.Duration // with each client
	max      int           // connections

	mu   sync.Mutex
	open map[*conn]struct{}
	once sync.Once
	err  error
}

// leastRate is how much a client has to send or to take on the long run, in bytes a second.
const leastRate = 1 << 10

// conn is a connection on which nobody can keep the server waiting for long. A client has so much time, the patience. What
// the server waits for it to send takes from that; each leastRate of bytes that come give a second back, and an answer that
// was taken gives all of it back. So whoever sends nothing, or a byte now and then, is cut off when the time is used up,
// whether or not a request has begun; and who keeps up leastRate may send as long as it takes. For the other direction
// there is no such account: each stretch of an answer has to be taken within the patience.
//
// It embeds the TCP connection itself, so that whole files still reach it by sendfile.
type conn struct {
	*net.TCPConn

	of   *listener
	used atomic.Bool
	idle atomic.Int64  // since when no request is under way, in ns since 1970; 0 if one is
	left time.Duration // of the patience; used by the one goroutine that serves the connection

	// How long the client has kept the server waiting in a request, in ns: what is used up of the patience, and since when the
	// server has been waiting for the next bytes, in ns since 1970, or 0.
	kept, waiting atomic.Int64
	known         atomic.Bool // it is known who sends the request under way

	mu       sync.Mutex
	deadline time.Time // for reading, as the server has set it
}

// Accept waits for the next connection that may be open. Others are told to come back later.
func (l *listener) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err //nolint:wrapcheck // the server looks at what kind it is
		}
		c := &conn{TCPConn: accepted.(*net.TCPConn), of: l, left: l.patience}
		c.idle.Store(time.Now().UnixNano())
		if l.add(c) {
			return c, nil
		}
		_ = c.TCPConn.SetWriteDeadline(time.Now().Add(l.patience))
		_, _ = io.WriteString(c.TCPConn, tooMany) // it fits into the socket's buffer
		_ = c.TCPConn.Close()
	}
}

// tooMany is the answer to a connection for which there is no place.
const tooMany = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Type: application/xml\r\nContent-Length: 94\r\n\r\n" +
	"<Error><Code>SlowDown</Code><Message>Too many connections. Try again later.</Message></Error>\n"

// add makes a place for a connection, if necessary by closing an idle one, or else that of a slow client of whom nothing is
// known yet. It reports false if requests are under way on all others.
func (l *listener) add(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.open) >= l.max {
		var oldest *conn
		for o := range l.open {
			if since := o.idle.Load(); since != 0 && (oldest == nil || since < oldest.idle.Load()) {
				oldest = o
			}
		}
		if oldest == nil {
			oldest = l.slowest()
		}
		if oldest == nil {
			return false
		}
		_ = oldest.TCPConn.Close()
		delete(l.open, oldest)
	}
	l.open[c] = struct{}{}
	return true
}

// maxKept is how long a client may keep the server waiting in a request, in all, before its signature is verified, if there is no
// place for another connection. Without a limit, clients that send a byte now and then could keep all others out.
const maxKept = time.Second

// slowest returns the connection of an unknown client that has kept the server waiting for longest, or nil if none has for
// maxKept.
func (l *listener) slowest() (slowest *conn) {
	most, now := maxKept, time.Now().UnixNano()
	for c := range l.open {
		if c.known.Load() {
			continue
		}
		kept := time.Duration(c.kept.Load())
		if since := c.waiting.Load(); since != 0 {
			kept += time.Duration(now - since)
		}
		if kept >= most {
			slowest, most = c, kept
		}
	}
	return slowest
}

// known notes that the signature of a request was verified.
func known(ctx context.Context) {
	if request, ok := ctx.(*fasthttp.RequestCtx); ok {
		if c, ok := request.Conn().(*conn); ok {
			c.known.Store(true)
		}
	}
}

// idleTimeout is how long a connection may wait for its next request. It is never longer than half the patience.
const idleTimeout = 30 * time.Second

// state is told by the server what it does with a connection. A connection becomes busy with the first byte of a request,
// which Read sees; the server calls it active before, or after if the byte came together with the request before.
func (*listener) state(nc net.Conn, state fasthttp.ConnState) {
	c, ok := nc.(*conn)
	switch {
	case !ok:
	case state == fasthttp.StateActive && c.used.Load():
		c.idle.Store(0)
	case state == fasthttp.StateIdle:
		c.known.Store(false)
		c.idle.Store(time.Now().UnixNano())
	}
}

// Close may be called again, as the server does.
func (l *listener) Close() error {
	l.once.Do(func() { l.err = l.Listener.Close() })
	return l.err
}

// cut closes the connections that the condition picks.
func (l *listener) cut(which func(*conn) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		if which(c) {
			c.TCPConn.Close()
		}
	}
}

// Read marks the connection as used. A connection that was reset or cut, or whose client is too slow, ends like one that
// was closed: in the midst of a request the missing bytes fail it either way, and between requests versitygw would print
// the difference to stderr.
func (c *conn) Read(p []byte) (int, error) {
	start := time.Now()
	mine, err := c.limit(start.Add(c.left))
	if err != nil {
		return 0, io.EOF // it is closed
	}
	c.waiting.Store(start.UnixNano())
	n, err := c.TCPConn.Read(p)
	c.waiting.Store(0)
	waiting := c.idle.Load() != 0
	if n > 0 {
		c.used.Store(true)
		c.idle.Store(0)
	}
	earned := time.Duration(n) * time.Second / leastRate
	c.left = min(c.left-time.Since(start)+earned, c.of.patience)
	c.kept.Store(int64(c.of.patience - c.left))
	if err != nil && (mine || waiting || !errors.Is(err, os.ErrDeadlineExceeded)) {
		err = io.EOF
	}
	return n, err //nolint:wrapcheck // a net.Conn's errors are its own
}

// limit makes the next read end at a time, or when the server wants it to, if that is earlier. It tells which.
func (c *conn) limit(at time.Time) (mine bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if mine = c.deadline.IsZero() || at.Before(c.deadline); !mine {
		at = c.deadline
	}
	return mine, c.TCPConn.SetReadDeadline(at)
}

// SetReadDeadline holds for this and later reads, as always.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return c.TCPConn.SetReadDeadline(t)
}

// SetDeadline sets that for reading; writes have their own.
func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// Write gives the client its time to take what is written.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.of.patience)); err != nil {
		return 0, err //nolint:wrapcheck // a net.Conn's errors are its own
	}
	n, err := c.TCPConn.Write(p)
	c.left = c.of.patience
	c.kept.Store(0)
	return n, err //nolint:wrapcheck // likewise
}

// stretch is how much of a file is sent in one time, in bytes.
const stretch = 256 << 10

// ReadFrom writes a file, by sendfile where that is possible, a stretch at a time.
func (c *conn) ReadFrom(r io.Reader) (sent int64, err error) {
	limited, ok := r.(*io.LimitedReader) // the kernel does not look into two of them
	if !ok {
		limited = &io.LimitedReader{R: r, N: 1<<63 - 1}
	}
	defer func() { c.left = c.of.patience; c.kept.Store(0) }()
	for limited.N > 0 {
		part := io.LimitedReader{R: limited.R, N: min(limited.N, stretch)}
		if err := c.SetWriteDeadline(time.Now().Add(c.of.patience)); err != nil {
			return sent, err //nolint:wrapcheck // a net.Conn's errors are its own
		}
		n, err := c.TCPConn.ReadFrom(&part)
		sent += n
		limited.N -= n
		if err != nil || part.N > 0 { // failed, or at the end
			return sent, err //nolint:wrapcheck // likewise
		}
	}
	return sent, nil
}

// WriteTo reads as Read does.
func (c *conn) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, struct{ io.Reader }{c}) }

// Close forgets the connection.
func (c *conn) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.TCPConn.Close()
}
