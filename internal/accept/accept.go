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

// Retry returns a listener whose Accept waits and retries after a temporary error: the process or the machine has no
// free file descriptors or buffers, or the client disconnected before its connection was accepted. Servers stop at any
// error of Accept, so without Retry one burst of connections would end them.
//
// The listener logs when it begins to wait and when it accepts connections again. Close ends a wait.
func Retry(l net.Listener, log *slog.Logger) net.Listener {
	return &listener{Listener: l, log: log, closed: make(chan struct{})}
}

type listener struct {
	net.Listener

	log    *slog.Logger
	closed chan struct{}
	once   sync.Once
}

// Accept waits for the next connection. It returns permanent errors such as net.ErrClosed.
func (l *listener) Accept() (net.Conn, error) {
	for wait := time.Duration(0); ; {
		c, err := l.Listener.Accept()
		if err == nil {
			if wait > 0 {
				l.log.Info("accepting connections again", slog.String("addr", l.Addr().String()))
			}
			return c, nil
		}
		if !isTemporary(err) {
			return nil, err //nolint:wrapcheck // servers inspect the error
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

// isTemporary reports whether a later Accept may succeed although the listener is unchanged.
func isTemporary(err error) bool {
	for _, known := range []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EINTR,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}
