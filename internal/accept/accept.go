// Package accept keeps servers listening when the process is short of resources.
package accept

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"
)

// The waits between two attempts to accept a connection are those of net/http.
const (
	firstWait = 5 * time.Millisecond
	maxWait   = time.Second
)

// Retry returns a listener whose Accept waits and tries again after an error that passes: the process or the machine
// has no free file descriptors or buffers, or the client went away before the connection was accepted. Servers take any
// error of Accept for the end of their listener, so without it one burst of connections would stop them for good.
//
// The listener logs once when it begins to wait, and once when it accepts again. Close ends a wait.
func Retry(l net.Listener, log *slog.Logger) net.Listener {
	return &listener{Listener: l, log: log, closed: make(chan struct{})}
}

type listener struct {
	net.Listener

	log    *slog.Logger
	closed chan struct{}
	once   sync.Once
}

// Accept waits for the next connection. Errors that do not pass, net.ErrClosed among them, are returned as they are.
func (l *listener) Accept() (net.Conn, error) {
	for wait := time.Duration(0); ; {
		c, err := l.Listener.Accept()
		if err == nil {
			if wait > 0 {
				l.log.Info("accepting connections again", slog.String("addr", l.Addr().String()))
			}
			return c, nil
		}
		if !passes(err) {
			return nil, err //nolint:wrapcheck // the server looks at what kind it is
		}
		if wait == 0 {
			l.log.Warn("connections can't be accepted; retrying", slog.String("addr", l.Addr().String()), slog.Any("error", err))
		}
		wait = min(max(2*wait, firstWait), maxWait)
		select {
		case <-l.closed:
			return nil, net.ErrClosed
		case <-time.After(wait):
		}
	}
}

// Close closes the underlying listener and ends the wait of an Accept under way.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close() //nolint:wrapcheck // the listener's own
}

// passes reports whether accepting may succeed later without anybody changing the listener.
func passes(err error) bool {
	for _, known := range []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EINTR,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}
