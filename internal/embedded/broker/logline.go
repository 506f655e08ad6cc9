package broker

import (
	"log/slog"
	"slices"
	"strings"
)

// lineKind is what a line of the server's log is about.
type lineKind int

const (
	lineOther lineKind = iota
	lineIrrelevant
	lineOfClient     // a client made a mistake
	lineBrokenStream // a stream accepts no more messages
)

// brokenStream are parts of the lines about streams that accept no more messages. The first one follows a failed write,
// which the server does not report to the publisher. The second one follows a full disk under the mirror, after which
// no stream accepts messages.
var brokenStream = []string{"critical write error", "jetstream out of "}

// classify returns what a line is about. It is the only decision that depends on the text of a log: nats-server 2.15
// reports a broken stream in no other way, neither by an error, nor by an event, nor by the state of the stream.
// TestFullDisk and TestBrokenStream fail if a release changes these lines.
func classify(level slog.Level, text string) lineKind {
	lower := strings.ToLower(text)
	contained := func(part string) bool { return strings.Contains(lower, part) }
	switch {
	case level == slog.LevelWarn && strings.HasPrefix(text, "Plaintext passwords"): // they are only in memory
		return lineIrrelevant
	case strings.Contains(text, " cid:"): // the id of a client's connection
		return lineOfClient
	case level == slog.LevelError && slices.ContainsFunc(brokenStream, contained):
		return lineBrokenStream
	}
	return lineOther
}
