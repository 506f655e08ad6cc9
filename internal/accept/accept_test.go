package accept_test

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flavorless/flavorless/internal/accept"
)

// failing is a listener whose Accept returns these errors first, and then connections.
type failing struct {
	errs  []error
	tries int
}

func (f *failing) Accept() (net.Conn, error) {
	f.tries++
	if len(f.errs) == 0 {
		c, _ := net.Pipe()
		return c, nil
	}
	err := f.errs[0]
	f.errs = f.errs[1:]
	return nil, err
}

func (f *failing) Close() error   { return nil }
func (f *failing) Addr() net.Addr { return &net.TCPAddr{} }

func acceptError(err error) error {
	return &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", err)}
}

func TestRetryTemporaryErrors(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ECONNABORTED} {
		t.Run(errno.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner := &failing{}
				for range 10 {
					inner.errs = append(inner.errs, acceptError(errno))
				}
				l := accept.Retry(inner, slog.New(slog.DiscardHandler))
				start := time.Now()
				if _, err := l.Accept(); err != nil {
					t.Fatalf("Accept() = %v, want a connection", err)
				}
				// 5, 10, … 640 ms, and 1 s twice.
				if got, want := time.Since(start), 1275*time.Millisecond+2*time.Second; got != want {
					t.Errorf("Accept() waited %s, want %s", got, want)
				}
				start = time.Now()
				if _, err := l.Accept(); err != nil || time.Since(start) != 0 {
					t.Errorf("next Accept() = %v after %s, want a connection at once", err, time.Since(start))
				}
			})
		})
	}
}

func TestRetryPermanentErrors(t *testing.T) {
	for _, want := range []error{net.ErrClosed, acceptError(syscall.EINVAL), errors.New("broken")} {
		inner := &failing{errs: []error{want}}
		if _, err := accept.Retry(inner, slog.New(slog.DiscardHandler)).Accept(); !errors.Is(err, want) || inner.tries != 1 {
			t.Errorf("Accept() = %v after %d tries, want %v after 1", err, inner.tries, want)
		}
	}
}

func TestCloseEndsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &failing{}
		for range 1000 {
			inner.errs = append(inner.errs, acceptError(syscall.EMFILE))
		}
		l := accept.Retry(inner, slog.New(slog.DiscardHandler))
		time.AfterFunc(time.Minute, func() { l.Close() })
		start := time.Now()
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) || time.Since(start) != time.Minute {
			t.Errorf("Accept() = %v after %s, want %v after 1 minute", err, time.Since(start), net.ErrClosed)
		}
		if err := l.Close(); err != nil {
			t.Errorf("second Close() = %v, want nil", err)
		}
	})
}
