package main

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
)

func newLog(t *terminal, verbose, asJSON bool) *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	if verbose {
		options.Level = slog.LevelDebug
	}
	if asJSON {
		return slog.New(slog.NewJSONHandler(t.err, options))
	}
	return slog.New(slog.NewTextHandler(t.err, options))
}

// captureStderr makes entries of the log of what libraries print to standard error: the bucket's its panics, others by
// package log. The end of the process by a panic of our own is the one thing that it can't catch: the runtime writes that
// to where standard error was.
func captureStderr(log *slog.Logger) (restore func(), err error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("capturing standard error: %w", err)
	}
	before := os.Stderr
	os.Stderr = write
	slog.SetDefault(log) // and that of package log
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewReader(read); ; {
			line, err := lines.ReadString('\n')
			if line = strings.TrimSpace(line); line != "" {
				log.Warn("printed", "line", line)
			}
			if err != nil {
				return
			}
		}
	}()
	return func() {
		os.Stderr = before
		_ = write.Close()
		<-done
		_ = read.Close()
	}, nil
}

// logged writes the error of a command to the log, instead of having it printed at the end.
func logged(log *slog.Logger, err error) error {
	if err == nil {
		return nil
	}
	code := exitFailed
	var e *exit
	if errors.As(err, &e) {
		code = e.code
	}
	log.Error("ended", "error", err)
	return &exit{code: code}
}
