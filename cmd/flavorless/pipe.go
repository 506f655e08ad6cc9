package main

import (
	"context"
	"errors"
	"io"
	"os/signal"
	"syscall"
)

// untilHangup returns a context that also ends when the terminal is closed, and ignores SIGPIPE from now on, so that a
// command can clean up in both cases: a broken pipe is an error of the next write.
func untilHangup(ctx context.Context) (context.Context, context.CancelFunc) {
	signal.Ignore(syscall.SIGPIPE)
	if signal.Ignored(syscall.SIGHUP) { // as under nohup
		return context.WithCancel(ctx)
	}
	return signal.NotifyContext(ctx, syscall.SIGHUP)
}

// pipe is a writer that calls broken with the error when its reader has gone.
type pipe struct {
	io.Writer
	broken context.CancelCauseFunc
}

func (p *pipe) Write(b []byte) (int, error) {
	n, err := p.Writer.Write(b)
	if errors.Is(err, syscall.EPIPE) {
		p.broken(err)
	}
	return n, err
}
