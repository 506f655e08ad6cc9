package local

import (
	"net"
	"net/http"
	"sync"
)

// limitedListener is a listener that keeps at most max accepted connections open. When a further one arrives, the
// connection that has been idle for the longest time is closed. When none is idle, the new one waits until another
// connection ends or becomes idle. So idle clients can't keep others out, and a connection with a request in flight is
// never closed.
//
// The server that accepts from it must have connState as its ConnState hook.
type limitedListener struct {
	net.Listener

	max int

	mu     sync.Mutex
	free   *sync.Cond // signaled when a connection ends or becomes idle, and when the listener is closed
	closed bool
	open   map[*limitedConn]struct{}
	clock  uint64 // increases when a connection becomes idle
}

func limitConnections(l net.Listener, maxOpen int) *limitedListener {
	c := &limitedListener{Listener: l, max: maxOpen, open: map[*limitedConn]struct{}{}}
	c.free = sync.NewCond(&c.mu)
	return c
}

// Accept implements net.Listener. While it waits, one connection more than max is open.
func (l *limitedListener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.open) >= l.max && !l.closed {
		idle := l.oldestIdle()
		if idle == nil {
			l.free.Wait()
			continue
		}
		delete(l.open, idle)
		_ = idle.Conn.Close() // the server notices when it reads
	}
	if l.closed {
		_ = accepted.Close()
		return nil, net.ErrClosed
	}
	c := &limitedConn{Conn: accepted, listener: l}
	l.open[c] = struct{}{}
	l.idle(c)
	return c, nil
}

// Close implements net.Listener.
func (l *limitedListener) Close() error {
	l.mu.Lock()
	l.closed = true
	l.free.Broadcast()
	l.mu.Unlock()
	return l.Listener.Close()
}

// oldestIdle returns the connection that has been idle for the longest time, or nil. A linear search takes
// microseconds. The caller must hold the mutex.
func (l *limitedListener) oldestIdle() (oldest *limitedConn) {
	for c := range l.open {
		if c.idleSince > 0 && (oldest == nil || c.idleSince < oldest.idleSince) {
			oldest = c
		}
	}
	return oldest
}

// idle marks a connection as idle. The caller must hold the mutex.
func (l *limitedListener) idle(c *limitedConn) {
	l.clock++
	c.idleSince = l.clock
	l.free.Signal()
}

// connState is the ConnState hook of the server. A connection is idle while it is new and between two requests. Read
// ends that with the first byte of a request; the server itself reports StateActive only after it has read all headers.
func (l *limitedListener) connState(conn net.Conn, state http.ConnState) {
	c, ok := conn.(*limitedConn)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch state {
	case http.StateIdle:
		l.idle(c)
	case http.StateActive, http.StateHijacked:
		c.idleSince = 0
	case http.StateNew, http.StateClosed:
	}
}

// limitedConn is a connection that a limitedListener has accepted.
type limitedConn struct {
	net.Conn

	listener  *limitedListener
	idleSince uint64 // by the clock of the listener; 0 while a request is in flight
}

// Read implements net.Conn.
func (c *limitedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.listener.mu.Lock()
		c.idleSince = 0
		c.listener.mu.Unlock()
	}
	return n, err
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	delete(c.listener.open, c)
	c.listener.free.Signal()
	return err
}
