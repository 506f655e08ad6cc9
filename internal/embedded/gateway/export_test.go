package gateway

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// Stamps opens a clock on a mark, with newest as the time of the newest object, and gives the named file two stamps.
func Stamps(mark, name string, now func() time.Time, newest int64) (first, second time.Time, err error) {
	c, err := openClock(mark, now, func() (int64, error) { return newest, nil })
	if err != nil {
		return first, second, err
	}
	first, err = c.stamp(name)
	if err == nil {
		second, err = c.stamp(name)
	}
	return first, second, errors.Join(err, c.close())
}

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
