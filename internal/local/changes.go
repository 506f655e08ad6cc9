package local

import (
	"context"
	"iter"
	"sync/atomic"

	"github.com/flavorless/flavorless/events"
)

// changeLog lets clients of the API follow the changes until the server stops.
type changeLog struct {
	streams   *streams
	stopping  <-chan struct{} // closed when the server stops
	followers *atomic.Int64   // number of clients that follow the changes now
}

// Changes implements a port of the API.
func (l changeLog) Changes(
	ctx context.Context, from events.Start,
) (uint64, iter.Seq2[events.LoggedChange, error], error) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		select {
		case <-l.stopping:
		case <-ctx.Done():
		}
	}()
	position, log, err := l.streams.changes.Changes(ctx, from)
	if err != nil {
		cancel()
		return 0, nil, err
	}
	return position, func(yield func(events.LoggedChange, error) bool) {
		defer cancel()
		l.followers.Add(1)
		defer l.followers.Add(-1)
		log(yield)
	}, nil
}
