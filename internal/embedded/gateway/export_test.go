package gateway

import (
	"context"
	"log/slog"
)

// Answer is what a client is told of an error.
func Answer(err error) error {
	return (&store{log: slog.New(slog.DiscardHandler)}).fail(context.Background(), err)
}

// Connections is how many are open.
func Connections(g *Gateway) int {
	l := g.server.listener
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}
