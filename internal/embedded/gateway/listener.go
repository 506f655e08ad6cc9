package gateway

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// listener limits the number of open connections. If there are too many, a new connection replaces the one that has
// been idle for longest.
type listener struct {
	net.Listener

	timeout time.Duration // for each client; see conn
	max     int           // connections

	mu   sync.Mutex
	open map[*conn]struct{}
	once sync.Once
	err  error
}

// Accept returns the next connection that may be open. Other connections get a 503.
func (l *listener) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err //nolint:wrapcheck // the server looks at its type
		}
		c := &conn{TCPConn: accepted.(*net.TCPConn), listener: l, budget: l.timeout}
		c.idleSince.Store(time.Now().UnixNano())
		if l.add(c) {
			return c, nil
		}
		_ = c.SetWriteDeadline(time.Now().Add(l.timeout))
		_, _ = io.WriteString(c.TCPConn, tooManyConnections) // it fits into the socket's buffer
		_ = c.TCPConn.Close()
	}
}

const tooManyConnections = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n" +
	"Content-Type: application/xml\r\nContent-Length: 94\r\n\r\n" +
	"<Error><Code>SlowDown</Code><Message>Too many connections. Try again later.</Message></Error>\n"

// add adds a connection. If there are too many, it closes an idle one, or else the slowest unauthenticated one. It
// returns false if there is neither.
func (l *listener) add(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.open) >= l.max {
		var oldest *conn
		for o := range l.open {
			if since := o.idleSince.Load(); since != 0 && (oldest == nil || since < oldest.idleSince.Load()) {
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

// maxUnauthenticatedWait is how long a client may keep the server waiting in a request, in total, before its signature
// is verified, if the connection is needed for another client. Without this limit, clients that send a byte now and
// then could keep out all others.
const maxUnauthenticatedWait = time.Second

// slowest returns the connection of the unauthenticated client that has kept the server waiting for longest, or nil if
// none has for maxUnauthenticatedWait.
func (l *listener) slowest() (slowest *conn) {
	longest, now := maxUnauthenticatedWait, time.Now().UnixNano()
	for c := range l.open {
		if c.authenticated.Load() {
			continue
		}
		waited := time.Duration(c.waited.Load())
		if since := c.waitingSince.Load(); since != 0 {
			waited += time.Duration(now - since)
		}
		if waited >= longest {
			slowest, longest = c, waited
		}
	}
	return slowest
}

// markAuthenticated notes that the signature of a request was verified.
func markAuthenticated(ctx context.Context) {
	if request, ok := ctx.(*fasthttp.RequestCtx); ok {
		if c, ok := request.Conn().(*conn); ok {
			c.authenticated.Store(true)
		}
	}
}

// idleTimeout is how long a connection may wait for its next request. It is at most half of Config.ClientTimeout.
const idleTimeout = 30 * time.Second

// state is called by the server when the state of a connection changes. A connection becomes busy with the first byte
// of a request, which Read sees. The server calls it active before that byte, or after it if the byte came together
// with the previous request.
func (*listener) state(nc net.Conn, state fasthttp.ConnState) {
	c, ok := nc.(*conn)
	switch {
	case !ok:
	case state == fasthttp.StateActive && c.used.Load():
		c.idleSince.Store(0)
	case state == fasthttp.StateIdle:
		c.authenticated.Store(false)
		c.idleSince.Store(time.Now().UnixNano())
	}
}

// Close closes the listener. Calling it again returns the first call's result; the server does so.
func (l *listener) Close() error {
	l.once.Do(func() { l.err = l.Listener.Close() })
	return l.err
}

// closeWhere closes the connections for which condition is true.
func (l *listener) closeWhere(condition func(*conn) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		if condition(c) {
			c.TCPConn.Close()
		}
	}
}
