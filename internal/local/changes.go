package local

import (
	"context"
	"iter"
	"sync/atomic"

	"github.com/flavorless/flavorless/events"
)

// changeLog is the log of changes while there is somebody to read it to: until the server stops.
type changeLog struct {
	streams   *streams
	open      context.Context //nolint:containedctx // of the server, beside that of each reader
	followers *atomic.Int64   // readers now
}

// Changes implements a port of the API.
func (l changeLog) Changes(ctx context.Context, from events.Start) (uint64, iter.Seq2[events.LoggedChange, error], error) {
	ctx, cancel := context.WithCancel(ctx)
	detach := context.AfterFunc(l.open, cancel)
	position, log, err := l.streams.changes.Changes(ctx, from)
	if err != nil {
		detach()
		cancel()
		return 0, nil, err
	}
	return position, func(yield func(events.LoggedChange, error) bool) {
		defer cancel()
		defer detach()
		l.followers.Add(1)
		defer l.followers.Add(-1)
		log(yield)
	}, nil
}
