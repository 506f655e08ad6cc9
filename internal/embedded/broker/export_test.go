package broker

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/time/rate"
)

// CheckSeal, SealFile and Keep are of a directory of streams.
var (
	CheckSeal = checkSeal
	SealFile  = sealFile
	Keep      = keep
)

// LastSequences are those of the log of changes and of its mirror.
func (s *Server) LastSequences(ctx context.Context) (log, mirror uint64, err error) {
	return s.lastSequences(ctx)
}

// Fits reports whether a mirror fits a log of changes.
func Fits(c Config, log, mirror jetstream.StreamState, now time.Time) bool {
	return c.fits(log, mirror, now)
}

// ConnectInside connects a client past the listener.
func (s *Server) ConnectInside(user, password string) (*nats.Conn, error) {
	return nats.Connect("", nats.InProcessServer(s.nats), nats.UserInfo(user, password),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
}

// FilterRequests returns what the server gets of what a client sends.
func FilterRequests(sent []byte) []byte {
	var got bytes.Buffer
	r := newRequests(bytes.NewReader(sent), &got)
	r.api.SetLimit(rate.Inf)
	_ = r.run()
	return got.Bytes()
}

// RequestsLeft returns how many requests to JetStream a new connection may send at once, and how many after it has sent this.
func RequestsLeft(sent []byte) (before, after int) {
	r := newRequests(bytes.NewReader(sent), io.Discard)
	r.api.SetLimit(0) // none come back meanwhile
	before = r.api.Burst()
	_ = r.run()
	return before, int(r.api.Tokens())
}

// NewServerLog carries the server's lines to log.
func NewServerLog(log *slog.Logger, broken func(error)) server.Logger {
	return newServerLog(log, broken)
}
