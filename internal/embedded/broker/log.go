package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"golang.org/x/time/rate"
)

// serverLog carries the server's own lines to slog: what it calls a notice is chatter to an embedding process. It keeps
// the warnings of the start, since the server tells only its log why it leaves a stored stream aside, and fatal errors,
// which it doesn't return either. Nor does it tell otherwise that a stream broke.
type serverLog struct {
	log     *slog.Logger
	broken  func(error)
	clients *rate.Limiter // of lines about what clients do wrong, which could fill the disk

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
	if level == slog.LevelWarn && strings.HasPrefix(text, "Plaintext passwords") {
		return // they live in memory only; hashing them would protect nothing
	}
	if strings.Contains(text, " cid:") { // a client did something wrong, not the server
		if !l.clients.Allow() {
			return
		}
		text = text[:min(len(text), maxClientLine)]
		level = min(level, slog.LevelWarn)
	}
	l.mu.Lock()
	starting := l.starting
	if starting && level >= slog.LevelWarn {
		l.warnings = append(l.warnings, text)
	}
	l.mu.Unlock()
	if level == slog.LevelError && !starting {
		l.look(text)
	}
	l.log.LogAttrs(context.Background(), level, "nats server", slog.String("line", text))
}

// broken are the words with which the server says that a stream takes nothing more: after a failed write, of which the
// publisher hears nothing, and when its mirror met a full disk, upon which the server ends all streams. It says so nowhere
// else. TestFullDisk notices a release that words it otherwise.
var broken = []string{"critical write error", "jetstream out of "}

func (l *serverLog) look(text string) {
	lower := strings.ToLower(text)
	if slices.ContainsFunc(broken, func(words string) bool { return strings.Contains(lower, words) }) {
		l.broken(errors.New(text))
	}
}

func (l *serverLog) Noticef(format string, v ...any) { l.line(slog.LevelDebug, format, v) }
func (l *serverLog) Warnf(format string, v ...any)   { l.line(slog.LevelWarn, format, v) }
func (l *serverLog) Errorf(format string, v ...any)  { l.line(slog.LevelError, format, v) }
func (l *serverLog) Debugf(string, ...any)           {}
func (l *serverLog) Tracef(string, ...any)           {}

func (l *serverLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	if l.fatal == "" {
		l.fatal = fmt.Sprintf(format, v...)
	}
	l.mu.Unlock()
	l.line(slog.LevelError, format, v)
}

func (l *serverLog) started() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.starting, l.warnings = false, nil
}

// trouble gives what the server complained about since it was started.
func (l *serverLog) trouble() (fatal string, warnings []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal, append([]string(nil), l.warnings...)
}
