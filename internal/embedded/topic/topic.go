package topic

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
)

// Limits of what a Topic has sent and the server has not acknowledged yet, over all callers.
const (
	maxInFlightBytes = 16 << 20 // bytes; a larger message is sent alone
	minMessageBytes  = 4 << 10  // bytes that each message counts for at least: no more than 4,096 are in flight
	ackTimeout       = 30 * time.Second
)

// Changes are published at changesRate bytes a second at most, after a burst of changesBurst bytes. nats-server keeps what
// is published to a stream that has readers in memory for ten seconds
// (https://github.com/nats-io/nats-server/issues/5740), so this bounds the memory of the process while the changes of a
// large file are announced. A change usually takes about 600 bytes.
const (
	changesRate  = 4 << 20
	changesBurst = 8 << 20
)

// Topic publishes to one stream. It may be used concurrently.
type Topic struct {
	broker   *broker.Server
	stream   broker.Stream
	conn     *nats.Conn
	prefix   string              // prefix of the reply subjects; the number of the message follows
	inFlight *semaphore.Weighted // bytes
	rate     *rate.Limiter       // of bytes; nil without a limit

	// stored, if not nil, is called for each message that is stored, in the order of their sequence numbers.
	// The message is nil if Publish no longer waits for its acknowledgement.
	stored func(sequence uint64, m *events.Message)

	mu      sync.Mutex
	next    uint64
	pending map[uint64]pending
}

// pending is a message that the server has not acknowledged yet.
type pending struct {
	call   *call
	index  int // in call.errs
	weight int64
	m      *events.Message
}

// call is one call of Publish.
type call struct {
	errs []error       // guarded by Topic.mu until done is closed
	left int           // messages without an acknowledgement; guarded by Topic.mu
	done chan struct{} // closed when left is 0
}

// New returns a Topic that publishes to a stream of the server.
func New(b *broker.Server, stream broker.Stream) (*Topic, error) {
	return newTopic(b, b.Conn(), stream, nil)
}

func newTopic(
	b *broker.Server, conn *nats.Conn, stream broker.Stream, stored func(uint64, *events.Message),
) (*Topic, error) {
	t := &Topic{
		broker: b, stream: stream, conn: conn, prefix: conn.NewInbox() + ".", stored: stored,
		inFlight: semaphore.NewWeighted(maxInFlightBytes), pending: map[uint64]pending{},
	}
	sub, err := conn.Subscribe(t.prefix+"*", t.receiveAck)
	if err == nil {
		err = sub.SetPendingLimits(-1, -1) // maxInFlightBytes limits them
	}
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
	c := &call{errs: make([]error, len(msgs)), done: make(chan struct{})}
	c.left = 1 // for this function, so that done is not closed before all messages are sent
	if len(msgs) == 0 {
		return c.errs
	}
	ctx, cancel := t.broker.Bind(ctx)
	defer cancel()
	ctx, stop := context.WithTimeoutCause(ctx, ackTimeout, errors.New("the server does not answer"))
	defer stop()
	full := t.broker.Capacity()
	for i := range msgs {
		m, err := broker.Encode(t.stream, msgs[i])
		if err == nil {
			if err = full; err == nil {
				err = t.send(ctx, c, i, m, &msgs[i])
			}
			err = t.failed(err)
		}
		if err != nil {
			t.mu.Lock()
			c.errs[i] = err
			t.mu.Unlock()
		}
	}
	t.mu.Lock()
	c.countDown()
	t.mu.Unlock()
	select {
	case <-c.done:
	case <-ctx.Done():
		t.abandon(c, context.Cause(ctx))
	}
	return c.errs
}

// failed returns err with the name of the stream, or nil.
func (t *Topic) failed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("publishing to %s: %w", t.stream, err)
}

func (t *Topic) send(ctx context.Context, c *call, index int, m *nats.Msg, from *events.Message) error {
	weight := int64(min(max(from.Size(), minMessageBytes), maxInFlightBytes))
	if t.rate != nil {
		if err := t.rate.WaitN(ctx, min(from.Size(), changesBurst)); err != nil {
			return err
		}
	}
	if err := t.inFlight.Acquire(ctx, weight); err != nil {
		return context.Cause(ctx)
	}
	t.mu.Lock()
	t.next++
	number := t.next
	c.left++
	t.pending[number] = pending{c, index, weight, from}
	t.mu.Unlock()
	m.Reply = t.prefix + strconv.FormatUint(number, 36)
	if err := t.conn.PublishMsg(m); err != nil {
		t.settle(number, err)
	}
	return nil
}

// receiveAck handles the server's answer to one message.
func (t *Topic) receiveAck(m *nats.Msg) {
	number, err := strconv.ParseUint(strings.TrimPrefix(m.Subject, t.prefix), 36, 64)
	if err != nil {
		return
	}
	sequence, err := parseAck(m, t.stored != nil)
	if err == nil && t.stored != nil {
		t.mu.Lock()
		message := t.pending[number].m
		t.mu.Unlock()
		t.stored(sequence, message)
	}
	t.settle(number, err)
}

func (t *Topic) settle(number uint64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p, ok := t.pending[number]; ok {
		delete(t.pending, number)
		p.call.errs[p.index] = t.failed(err)
		p.call.countDown()
		t.inFlight.Release(p.weight)
	}
}

// countDown counts one message off. The caller holds Topic.mu.
func (c *call) countDown() {
	if c.left--; c.left == 0 {
		close(c.done)
	}
}

// abandon settles the messages of a call that were not acknowledged in time. They may be stored or not.
func (t *Topic) abandon(c *call, cause error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for number, p := range t.pending {
		if p.call == c {
			delete(t.pending, number)
			c.errs[p.index] = t.failed(cause)
			t.inFlight.Release(p.weight)
		}
	}
}
