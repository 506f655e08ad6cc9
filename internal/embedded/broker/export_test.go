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

// CheckManifest checks the data folder, ManifestFile returns a file in it, and TakeSnapshot links its files.
var (
	CheckManifest = checkManifest
	ManifestFile  = manifestFile
	TakeSnapshot  = takeSnapshot
)

// Reasons why a request of a subscriber is refused.
const (
	OnlyChanges   = onlyChanges
	OnlyConsumers = onlyConsumers
	NoDurable     = noDurable
)

// LastSequences returns the last sequence numbers of CHANGES and of its mirror.
func (s *Server) LastSequences(ctx context.Context) (changes, mirror uint64, err error) {
	c, m, err := s.instance.states(ctx)
	return c.LastSeq, m.LastSeq, err
}

// Matches reports whether a mirror matches the log of changes.
func Matches(c Config, changes, mirror jetstream.StreamState, now time.Time) bool {
	return c.matches(changes, mirror, now)
}

// ConnectInside connects a client without the check of its requests.
func (s *Server) ConnectInside(user, password string) (*nats.Conn, error) {
	return nats.Connect("", nats.InProcessServer(s.instance.nats), nats.UserInfo(user, password),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
}

// FilterRequests returns what the server gets when a client sends these bytes.
func FilterRequests(sent []byte) []byte {
	var got bytes.Buffer
	r := newRequests(bytes.NewReader(sent), &got)
	r.api.SetLimit(rate.Inf)
	_ = r.run()
	return got.Bytes()
}

// RequestsLeft returns how many requests to JetStream a new connection may send at once, before and after it has sent
// these bytes.
func RequestsLeft(sent []byte) (before, after int) {
	r := newRequests(bytes.NewReader(sent), io.Discard)
	r.api.SetLimit(0) // the limiter does not refill meanwhile
	before = r.api.Burst()
	_ = r.run()
	return before, int(r.api.Tokens())
}

// NewServerLog returns a logger for the NATS server.
func NewServerLog(log *slog.Logger, broken func(error)) server.Logger {
	return newServerLog(log, broken)
}
