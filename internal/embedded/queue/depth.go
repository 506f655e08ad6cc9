package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/internal/embedded/broker"
)

// Depth is the number of messages of a queue by state.
type Depth struct {
	Pending  uint64 // stored and not in flight
	InFlight uint64 // delivered: being handled, or waiting for their backoff
	Dead     uint64 // dead letters

	Oldest time.Time // when the oldest pending or in-flight message was published; zero if there is none
}

// Depths returns the depth of every queue.
func (q *Queues) Depths(ctx context.Context) (map[broker.Stream]Depth, error) {
	dead, err := q.dead.count(ctx)
	if err != nil {
		return nil, err
	}
	depths := map[broker.Stream]Depth{}
	for _, name := range q.broker.Queues() {
		d := Depth{Dead: dead[name.DeadSubject()]}
		stream, err := q.broker.JetStream().Stream(ctx, string(name))
		if err != nil {
			return nil, fmt.Errorf("reading the depth of %s: %w", name, err)
		}
		state := stream.CachedInfo().State
		if state.Msgs > 0 {
			d.Oldest = state.FirstTime
		}
		consumer, err := stream.Consumer(ctx, broker.QueueConsumer)
		switch {
		case err == nil:
			d.InFlight = uint64(max(consumer.CachedInfo().NumAckPending, 0))
		case !errors.Is(err, jetstream.ErrConsumerNotFound): // not found: the queue has not been consumed yet
			return nil, fmt.Errorf("reading the depth of %s: %w", name, err)
		}
		d.Pending = state.Msgs - min(state.Msgs, d.InFlight) // the two are not read at the same moment
		depths[name] = d
	}
	return depths, nil
}
