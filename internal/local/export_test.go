package local

import (
	"context"

	"github.com/flavorless/flavorless/events"
)

// Stored hands an object to the house as its bucket does, which never has one of a bad form.
func (s *Server) Stored(ctx context.Context, o events.Object) error { return s.stored(ctx, o) }

// CloseTable takes the table away under the running house.
func (s *Server) CloseTable() error { return s.db.Close() }

// StopQueues takes the queues away under the running house.
func (s *Server) StopQueues() { s.streams.Stop() }
