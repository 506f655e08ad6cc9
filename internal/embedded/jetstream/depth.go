package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Depth is how many messages of a queue wait where.
type Depth struct {
	Pending  uint64 // stored and not in flight
	InFlight uint64 // delivered: being handled, or waiting for their backoff
	Dead     uint64 // dead letters

	Oldest time.Time // when the oldest message was published that is pending or in flight; zero without one
}

// Depths gives the depth of every queue, for metrics and health.
func (s *Server) Depths(ctx context.Context) (map[Stream]Depth, error) {
	dead, err := s.js.Stream(ctx, string(Dead))
	if err != nil {
		return nil, fmt.Errorf("reading depths: %w", err)
	}
	info, err := dead.Info(ctx, jetstream.WithSubjectFilter(deadPrefix+">"))
	if err != nil {
		return nil, fmt.Errorf("reading depths: %w", err)
	}
	depths := map[Stream]Depth{}
	for _, q := range s.config.queues() {
		d := Depth{Dead: info.State.Subjects[q.deadSubject()]}
		stream, err := s.js.Stream(ctx, string(q))
		if err != nil {
			return nil, fmt.Errorf("reading the depth of %s: %w", q, err)
		}
		state := stream.CachedInfo().State
		if state.Msgs > 0 {
			d.Oldest = state.FirstTime
		}
		consumer, err := stream.Consumer(ctx, consumerName)
		switch {
		case err == nil:
			d.InFlight = uint64(max(consumer.CachedInfo().NumAckPending, 0))
		case !errors.Is(err, jetstream.ErrConsumerNotFound): // not found: nobody has consumed it yet
			return nil, fmt.Errorf("reading the depth of %s: %w", q, err)
		}
		d.Pending = state.Msgs - min(state.Msgs, d.InFlight) // the two are not read at the same moment
		depths[q] = d
	}
	return depths, nil
}
