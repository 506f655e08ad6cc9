// Command flavorless runs the ingestion pipeline on one machine, and is the command-line client of such a server and of
// a stack deployed on AWS.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	syscall.Umask(0o077) // other users can read none of our files, whatever the caller's umask is
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], newTerminal(os.Stdin, os.Stdout, os.Stderr)))
}

// Exit codes, for scripts.
const (
	exitOK       = 0 // done; an upload is live with every row
	exitFailed   = 1 // an upload failed, the server has no such object, or it could not answer
	exitUsage    = 2 // usage or environment error
	exitRejected = 3 // an upload is live, but some of its rows were rejected
)

// exit ends the program with a code. Its error is not printed yet; it is nil if there is nothing to print.
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

// exitWith returns an error that ends the program silently with a code, or nil for exitOK.
func exitWith(code int) error {
	if code == exitOK {
		return nil
	}
	return &exit{code: code}
}

// usage returns an error that the user must fix (exit code 2).
func usage(format string, args ...any) error {
	return &exit{exitUsage, fmt.Errorf(format, args...)}
}

// readError returns the usage error for a file or folder that can't be read.
func readError(err error) error {
	var failed *fs.PathError
	if errors.As(err, &failed) {
		return usage("reading %s: %w; check the name and the permissions", displayName(failed.Path), failed.Err)
	}
	return usage("reading the file: %w", err)
}

// errStopped is the error of a command that a signal ended.
var errStopped = errors.New("stopped")

// run runs one command line and returns its exit code. A command whose output could not be written has failed.
func run(ctx context.Context, args []string, t *terminal) int {
	out := &output{Writer: t.out}
	t.out = out
	code := execute(ctx, args, t)
	if out.err != nil && !errors.Is(out.err, syscall.EPIPE) {
		t.errorf("writing the output: %v; it is incomplete", out.err)
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
	code := exitCode(err)
	var e *exit
	switch {
	case errors.As(err, &e):
		if e.err == nil {
			return code
		}
	case !started: // cobra did not understand the command line
		code = exitUsage
		err = fmt.Errorf("%w; see: flavorless --help", err)
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		err = errStopped
	}
	if o, ok := t.out.(*output); !ok || o.err == nil || !errors.Is(err, o.err) { // run reports an error of the output
		t.errorf("%v", err)
	}
	return code
}

// exitCode returns the code with which an error of a command ends the program.
func exitCode(err error) int {
	var e *exit
	if errors.As(err, &e) {
		return e.code
	}
	return exitFailed
}
