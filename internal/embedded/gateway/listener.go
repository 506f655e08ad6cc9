package gateway

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// listener knows its open connections, and which of them have never carried a request.
type listener struct {
	net.Listener

	mu   sync.Mutex
	open map[*conn]struct{}
	once sync.Once
	err  error
}

// conn embeds the TCP connection itself, so that whole files still reach it by sendfile.
type conn struct {
	*net.TCPConn

	of   *listener
	used atomic.Bool
}

// Accept waits for the next connection.
func (l *listener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err //nolint:wrapcheck // the server looks at what kind it is
	}
	c := &conn{TCPConn: accepted.(*net.TCPConn), of: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[c] = struct{}{}
	return c, nil
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

// Read marks the connection as used. A connection that was reset or cut ends like one that was closed: in the midst of a
// request the missing bytes fail it either way, and between requests versitygw would print the difference to stderr.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if n > 0 {
		c.used.Store(true)
	}
	var timeout net.Error
	if err != nil && (!errors.As(err, &timeout) || !timeout.Timeout()) {
		err = io.EOF
	}
	return n, err //nolint:wrapcheck // a net.Conn's errors are its own
}

// Close forgets the connection.
func (c *conn) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.TCPConn.Close()
}
