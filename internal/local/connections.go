package local

import (
	"net"
	"net/http"
	"sync"
)

// connections is a listener that keeps at most max accepted connections open. When a further one arrives, the connection
// that has been idle for the longest time is closed to make room. When none is idle, the new one waits until another
// connection ends or becomes idle. So idle clients can't keep others out, and a request that is under way is never cut.
//
// The server that accepts from it must have state as its ConnState hook.
type connections struct {
	net.Listener

	max int

	mu     sync.Mutex
	free   *sync.Cond // signaled when a connection ends or becomes idle, and when the listener is closed
	closed bool
	open   map[*connection]struct{}
	clock  uint64 // counts when connections became idle
}

func limitConnections(l net.Listener, most int) *connections {
	c := &connections{Listener: l, max: most, open: map[*connection]struct{}{}}
	c.free = sync.NewCond(&c.mu)
	return c
}

// Accept implements net.Listener. One connection more than max is open while it waits for room.
func (l *connections) Accept() (net.Conn, error) {
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
		_ = idle.Conn.Close() // its server finds out by reading
	}
	if l.closed {
		_ = accepted.Close()
		return nil, net.ErrClosed
	}
	c := &connection{Conn: accepted, of: l}
	l.open[c] = struct{}{}
	l.idle(c)
	return c, nil
}

// Close implements net.Listener.
func (l *connections) Close() error {
	l.mu.Lock()
	l.closed = true
	l.free.Broadcast()
	l.mu.Unlock()
	return l.Listener.Close()
}

// oldestIdle returns the connection that has been idle for the longest time, or nil. It looks at all of them, which takes
// microseconds. The mutex must be held, as for idle.
func (l *connections) oldestIdle() (oldest *connection) {
	for c := range l.open {
		if c.idleSince > 0 && (oldest == nil || c.idleSince < oldest.idleSince) {
			oldest = c
		}
	}
	return oldest
}

func (l *connections) idle(c *connection) {
	l.clock++
	c.idleSince = l.clock
	l.free.Signal()
}

// state is the ConnState hook of the server. A connection is idle when it is new and between two requests. It stops being
// idle with the first byte of a request, which Read notices: the server itself reports StateActive only once it has read
// the whole head.
func (l *connections) state(conn net.Conn, state http.ConnState) {
	c, ok := conn.(*connection)
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

// connection is one that connections accepted.
type connection struct {
	net.Conn

	of        *connections
	idleSince uint64 // by the listener's count; 0 while a request is under way
}

// Read implements net.Conn.
func (c *connection) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.of.mu.Lock()
		c.idleSince = 0
		c.of.mu.Unlock()
	}
	return n, err
}

// Close implements net.Conn.
func (c *connection) Close() error {
	err := c.Conn.Close()
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	delete(c.of.open, c)
	c.of.free.Signal()
	return err
}
