package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"golang.org/x/time/rate"
)

// serverLog writes the lines of the NATS server to a slog.Logger. It also collects what the server only logs:
// the warnings of the start, which say why a stored stream was not opened, a fatal error, and that a stream broke.
type serverLog struct {
	log     *slog.Logger
	broken  func(error)
	clients *rate.Limiter // of lines about clients, which could fill the disk

	mu       sync.Mutex
	starting bool
	warnings []string
	fatal    string
}

func newServerLog(log *slog.Logger, broken func(error)) *serverLog {
	return &serverLog{log: log, broken: broken, starting: true, clients: rate.NewLimiter(10, 100)}
}

const maxClientLine = 300 // bytes

func (l *serverLog) line(level slog.Level, format string, v []any) {
	text := strings.TrimSpace(fmt.Sprintf(format, v...))
	l.mu.Lock()
	starting := l.starting
	l.mu.Unlock()
	switch classify(level, text) {
	case lineIrrelevant:
		return
	case lineOfClient:
		if !l.clients.Allow() {
			return
		}
		text, level = text[:min(len(text), maxClientLine)], min(level, slog.LevelWarn)
	case lineBrokenStream:
		if !starting {
			l.broken(errors.New(text))
		}
	}
	if starting && level >= slog.LevelWarn {
		l.mu.Lock()
		l.warnings = append(l.warnings, text)
		l.mu.Unlock()
	}
	l.log.LogAttrs(context.Background(), level, "NATS server", slog.String("line", text))
}

// Noticef implements server.Logger. The server's notices are details to the process that embeds it.
func (l *serverLog) Noticef(format string, v ...any) { l.line(slog.LevelDebug, format, v) }

// Warnf implements server.Logger.
func (l *serverLog) Warnf(format string, v ...any) { l.line(slog.LevelWarn, format, v) }

// Errorf implements server.Logger.
func (l *serverLog) Errorf(format string, v ...any) { l.line(slog.LevelError, format, v) }

// Debugf implements server.Logger.
func (l *serverLog) Debugf(string, ...any) {}

// Tracef implements server.Logger.
func (l *serverLog) Tracef(string, ...any) {}

// Fatalf implements server.Logger. It does not end the process.
func (l *serverLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	if l.fatal == "" {
		l.fatal = fmt.Sprintf(format, v...)
	}
	l.mu.Unlock()
	l.line(slog.LevelError, format, v)
}

// started ends the collection of warnings.
func (l *serverLog) started() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.starting, l.warnings = false, nil
}

// startWarnings returns the warnings since the server was started.
func (l *serverLog) startWarnings() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.warnings...)
}

// fatalError returns the first fatal error, or nil.
func (l *serverLog) fatalError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal == "" {
		return nil
	}
	return errors.New(l.fatal)
}
