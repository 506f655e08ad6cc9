package main

import (
	"bufio"
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

// captureStderr turns what libraries print to standard error or with package log into log entries; the S3 gateway, for
// one, prints its panics. It can't catch a panic that ends the process: the runtime writes that to the original file
// descriptor.
func captureStderr(log *slog.Logger) (restore func(), err error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("capturing standard error: %w", err)
	}
	before := os.Stderr
	os.Stderr = write
	slog.SetDefault(log) // redirects package log, too
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewReader(read); ; {
			line, err := lines.ReadString('\n')
			if line = strings.TrimSpace(line); line != "" {
				log.Warn("a library printed to standard error", "event", "stderr", "line", line)
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

// logError writes the error of a command to the log, so that it is not printed at the end, too.
func logError(log *slog.Logger, err error) error {
	if err == nil {
		return nil
	}
	log.Error("server ended with an error", "event", "ended", "error", err)
	return exitWith(exitCode(err))
}
