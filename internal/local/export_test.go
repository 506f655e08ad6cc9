package local

import (
	"context"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/jetstream"
)

// Tidy does at once what is done every hour. It fails with ErrNotNow when it was not the moment for some of it.
func (s *Server) Tidy(ctx context.Context) error {
	if later, err := s.tidy(ctx); err != nil || !later {
		return err
	}
	return ErrNotNow
}

// ErrNotNow is that.
var ErrNotNow = errNotNow

// Waiting is how many messages wait or are in hand, and how many are dead.
func (s *Server) Waiting(ctx context.Context) (waiting, dead uint64, err error) {
	depths, err := s.streams.Depths(ctx)
	for _, d := range depths {
		waiting, dead = waiting+d.Pending+d.InFlight, dead+d.Dead
	}
	return waiting, dead, err
}

// PublishNonsense makes a dead letter.
func (s *Server) PublishNonsense(ctx context.Context) error {
	return s.streams.Topic(jetstream.Updates).Publish(ctx, []events.Message{{Subject: events.UpdatesType, Body: []byte("nonsense")}})[0]
}

// Tombstones counts the removed people that are remembered, by looking into the file.
func (s *Server) Tombstones(context.Context) (n int, err error) {
	conn, err := sqlite.OpenConn(s.folder.path("flavorless.db"), sqlite.OpenReadOnly)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	n64, err := sqlitex.ResultInt64(conn.Prep("SELECT count(*) FROM favorites WHERE flavor IS NULL"))
	return int(n64), err
}
