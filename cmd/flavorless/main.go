// Command flavorless runs the ingestion pipeline on one machine, and talks to it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	syscall.Umask(0o077) // no file is for other users, whatever the caller's umask is
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], newTerminal(os.Stdin, os.Stdout, os.Stderr)))
}

// Exit codes, for scripts.
const (
	exitOK       = 0 // done; an upload is live with every row
	exitFailed   = 1 // an upload failed, or there is no such thing, or the server could not answer
	exitUsage    = 2 // usage or environment error
	exitRejected = 3 // live, but with rejected rows
)

// exit ends the program with a code. Its text, if any, has not been printed yet.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// usage returns an error that the user must fix (exit code 2).
func usage(format string, args ...any) error {
	return &exit{exitUsage, fmt.Errorf(format, args...)}
}

// errStopped is the error of a command that a signal ended.
var errStopped = errors.New("stopped")

// run runs one command line and returns its exit code. Output that could not be written makes it fail.
func run(ctx context.Context, args []string, t *terminal) int {
	out := &output{Writer: t.out}
	t.out = out
	code := execute(ctx, args, t)
	if out.err != nil && !errors.Is(out.err, syscall.EPIPE) {
		t.errorf("the output is not complete: %v", out.err)
		if code != exitRejected {
			code = exitFailed
		}
	}
	return code
}

// output is a writer that remembers the first error.
type output struct {
	io.Writer

	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

func execute(ctx context.Context, args []string, t *terminal) int {
	started := false
	root := newRoot(t, &started)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	code := exitFailed
	var e *exit
	switch {
	case errors.As(err, &e):
		code = e.code
		if e.err == nil {
			return code
		}
	case !started: // the command line itself was not understood
		code = exitUsage
		err = fmt.Errorf("%w; see: flavorless --help", err)
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		err = errStopped
	}
	if o, ok := t.out.(*output); !ok || o.err == nil || !errors.Is(err, o.err) { // which run reports
		t.errorf("%v", err)
	}
	return code
}
