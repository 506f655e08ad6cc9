package topic

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
)

// Limits of the messages in flight: sent and not acknowledged yet, by all callers of a Topic together.
const (
	maxInFlightBytes = 16 << 20 // a larger message is sent alone
	minMessageBytes  = 4 << 10  // a smaller message counts as that many bytes, so that at most maxInFlight are in flight
	maxInFlight      = maxInFlightBytes / minMessageBytes
	ackTimeout       = 30 * time.Second
)

// Changes are published at this rate at most, in bytes per second, after a burst. nats-server keeps what is published
// to a stream that has readers in memory for ten seconds (https://github.com/nats-io/nats-server/issues/5740), so this
// bounds the memory of the process while a large file is announced. A change usually has about 600 bytes.
const (
	changesRate  = 3 << 20
	changesBurst = 8 << 20
)

// Topic publishes to one stream. It may be used concurrently.
type Topic struct {
	broker   *broker.Server
	stream   broker.Stream
	js       jetstream.JetStream
	inFlight *semaphore.Weighted // bytes
	held     sync.Map            // *nats.Msg in flight to the int64 bytes that it takes from inFlight
	rate     *rate.Limiter       // bytes
}

// New returns a Topic that publishes to a stream of b. To publish changes, use [OpenLog].
func New(b *broker.Server, stream broker.Stream) (*Topic, error) {
	return newTopic(b, b.Conn(), stream, func(uint64, *nats.Msg) {})
}

// newTopic returns a Topic that calls stored for each acknowledged message, in the order of their sequence numbers.
func newTopic(
	b *broker.Server, conn *nats.Conn, stream broker.Stream, stored func(sequence uint64, m *nats.Msg),
) (*Topic, error) {
	t := &Topic{
		broker: b, stream: stream,
		inFlight: semaphore.NewWeighted(maxInFlightBytes), rate: rate.NewLimiter(rate.Inf, 0),
	}
	var err error
	t.js, err = jetstream.New(conn,
		jetstream.WithPublishAsyncMaxPending(2*maxInFlight), // inFlight is the limit that callers wait for
		jetstream.WithPublishAsyncTimeout(ackTimeout),
		jetstream.WithPublishAsyncAckHandler(func(_ jetstream.JetStream, m *nats.Msg, ack *jetstream.PubAck) {
			t.release(m)
			stored(ack.Sequence, m)
		}),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, m *nats.Msg, _ error) { t.release(m) }),
	)
	if err != nil {
		return nil, fmt.Errorf("opening topic %s: %w", stream, err)
	}
	return t, nil
}

// Publish stores the messages and returns one error for each, which is nil if the message is stored. If the message
// itself is invalid, the error wraps [events.ErrPermanent]: it is too large, a header can't carry its id or an
// attribute, or its subject is not one of the stream. After any other error the caller may retry; the message may be
// stored nevertheless.
func (t *Topic) Publish(ctx context.Context, msgs []events.Message) []error {
	ctx, cancel := t.broker.Bind(ctx)
	defer cancel()
	ctx, stop := context.WithTimeoutCause(ctx, ackTimeout, errors.New("the server does not answer"))
	defer stop()
	full := t.broker.Capacity()
	errs := make([]error, len(msgs))
	acks := make([]jetstream.PubAckFuture, len(msgs))
	for i := range msgs {
		m, err := broker.Encode(t.stream, msgs[i])
		if err == nil {
			err = full
		}
		if err == nil {
			acks[i], err = t.send(ctx, m, msgs[i].Size())
		}
		errs[i] = err
	}
	for i, ack := range acks {
		if errs[i] == nil {
			errs[i] = await(ctx, ack)
		}
		if errs[i] != nil {
			errs[i] = fmt.Errorf("publishing to %s: %w", t.stream, errs[i])
		}
	}
	return errs
}

// send sends a message as soon as the limits allow it.
func (t *Topic) send(ctx context.Context, m *nats.Msg, size int) (jetstream.PubAckFuture, error) {
	n := weight(m)
	err := t.rate.WaitN(ctx, size)
	if err == nil {
		err = t.inFlight.Acquire(ctx, n)
	}
	if ctx.Err() != nil && err != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	t.held.Store(m, n)
	ack, err := t.js.PublishMsgAsync(m)
	if err != nil {
		t.release(m)
	}
	return ack, err
}

// release returns the bytes of a message to inFlight. It may be called twice: if the connection breaks, PublishMsgAsync
// can call the error handler and also return an error.
func (t *Topic) release(m *nats.Msg) {
	if n, held := t.held.LoadAndDelete(m); held {
		t.inFlight.Release(n.(int64))
	}
}

// await waits for an acknowledgement.
func await(ctx context.Context, ack jetstream.PubAckFuture) error {
	select {
	case <-ack.Ok():
		return nil
	case err := <-ack.Err():
		const tooLarge = 10054 // "message size exceeds maximum allowed"
		var api *jetstream.APIError
		if errors.As(err, &api) && api.ErrorCode == tooLarge {
			return fmt.Errorf("%w: %w", err, events.ErrPermanent)
		}
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// weight returns the bytes that a message takes from Topic.inFlight.
func weight(m *nats.Msg) int64 {
	n := len(m.Subject) + len(m.Data)
	for name, values := range m.Header {
		n += len(name) + len(values[0])
	}
	return int64(min(max(n, minMessageBytes), maxInFlightBytes))
}
