package queue

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/internal/embedded/broker"
)

// redeliveryInterval is how often a queue is searched for acknowledged messages.
const redeliveryInterval = time.Minute

// redelivery finds acknowledged messages that are still stored, and publishes them again.
//
// The server stores the removal of a message with a delay. After a crash some acknowledged messages are therefore back
// in the stream, while the consumer remembers the acknowledgement. The server would neither deliver nor remove them,
// and count them as pending forever. (Servers in a cluster search for such messages, a single server does not.) They
// are delivered again rather than removed, because a duplicate does no harm and a lost message does.
type redelivery struct {
	broker   *broker.Server
	queue    broker.Stream
	consumer jetstream.Consumer
	log      *slog.Logger
	floor    uint64 // everything up to this sequence number was acknowledged at the last search
}

// newRedelivery makes a first search.
func newRedelivery(
	ctx context.Context, b *broker.Server, queue broker.Stream, consumer jetstream.Consumer, log *slog.Logger,
) (*redelivery, error) {
	r := &redelivery{broker: b, queue: queue, consumer: consumer, log: log}
	if err := r.updateFloor(ctx); err != nil {
		return nil, err
	}
	return r, r.requeue(ctx)
}

// run searches until ctx ends. Each search goes as far as the floor of the previous one, because a message that has
// just been acknowledged is about to be removed.
func (r *redelivery) run(ctx context.Context) {
	tick := time.NewTicker(redeliveryInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := r.requeue(ctx)
		if err == nil {
			err = r.updateFloor(ctx)
		}
		if err != nil && ctx.Err() == nil {
			r.log.WarnContext(ctx, "searching for acknowledged messages failed", "error", err)
		}
	}
}

func (r *redelivery) updateFloor(ctx context.Context) error {
	info, err := r.consumer.Info(ctx)
	if err != nil {
		return fmt.Errorf("reading the acknowledgement floor: %w", err)
	}
	r.floor = info.AckFloor.Stream
	return nil
}

// requeue publishes the messages up to the floor again, and deletes the originals.
func (r *redelivery) requeue(ctx context.Context) error {
	stream, err := r.broker.JetStream().Stream(ctx, string(r.queue))
	if err != nil {
		return err
	}
	for m, err := range stored(ctx, stream, r.floor) {
		if err != nil {
			return fmt.Errorf("searching for acknowledged messages: %w", err)
		}
		id, attributes := broker.Decode(m.Header)
		r.log.WarnContext(ctx, "acknowledged message was restored by a crash and will be delivered again",
			"upload", attributes["upload"], "id", id, "sequence", m.Sequence)
		if err := move(ctx, r.broker, stream, m, m.Subject); err != nil {
			return fmt.Errorf("publishing message %d again: %w", m.Sequence, err)
		}
	}
	return nil
}

// stored yields the messages that a stream has up to a sequence number.
func stored(ctx context.Context, stream jetstream.Stream, last uint64) iter.Seq2[*jetstream.RawStreamMsg, error] {
	return func(yield func(*jetstream.RawStreamMsg, error) bool) {
		for sequence := stream.CachedInfo().State.FirstSeq; sequence <= last; sequence++ {
			m, err := stream.GetMsg(ctx, sequence, jetstream.WithGetMsgSubject(">")) // this message, or the next that exists
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if sequence = m.Sequence; sequence > last || !yield(m, nil) {
				return
			}
		}
	}
}

// move publishes a message of a stream on another subject, and then deletes it. A crash in between leaves two messages
// rather than none.
func move(
	ctx context.Context, b *broker.Server, stream jetstream.Stream, m *jetstream.RawStreamMsg, subject string,
) error {
	copied := &nats.Msg{Subject: subject, Header: broker.PublishedHeader(m.Header), Data: m.Data}
	if err := b.Store(ctx, copied); err != nil {
		return err
	}
	err := stream.DeleteMsg(ctx, m.Sequence)
	if err == nil {
		return nil
	}
	if _, gone := stream.GetMsg(ctx, m.Sequence); errors.Is(gone, jetstream.ErrMsgNotFound) { // deleted by another caller
		return nil
	}
	return fmt.Errorf("it is published again, but the original can't be deleted: %w", err)
}
