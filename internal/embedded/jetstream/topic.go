package jetstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/events"
)

// What may be on its way to a stream and not stored yet, over all callers of one Topic.
const (
	maxInFlight      = 4096     // messages
	maxInFlightBytes = 16 << 20 // bytes; one larger message goes alone
	ackTimeout       = 30 * time.Second
)

// Topic publishes to one stream. It may be used concurrently.
type Topic struct {
	stream Stream
	conn   *nats.Conn
	life   context.Context //nolint:containedctx // Server.life
	free   func() error    // Config.Room
	prefix string          // of the subjects to which the server answers; the number of the message follows
	room   *room
	stored func(sequence uint64, m *events.Message) // if not nil, is called for each message that is stored; m is nil if Publish gave it up

	mu      sync.Mutex
	next    uint64
	pending map[uint64]waiting
}

// waiting is a message that the server has not answered yet.
type waiting struct {
	call  *call
	index int
	size  int
	m     *events.Message
}

// call is one call of Publish.
type call struct {
	errs []error
	left int // messages not answered; guarded by Topic.mu
	done chan struct{}
}

func newTopic(life context.Context, stream Stream, conn *nats.Conn, free func() error) (*Topic, error) {
	t := &Topic{
		stream: stream, conn: conn, life: life, free: free, prefix: conn.NewInbox() + ".",
		room: newRoom(maxInFlight, maxInFlightBytes), pending: map[uint64]waiting{},
	}
	sub, err := conn.Subscribe(t.prefix+"*", t.answered)
	if err != nil {
		return nil, err
	}
	return t, sub.SetPendingLimits(-1, -1) // bounded by maxInFlight
}

// Topic gives the publishing side of UPLOADS, UPDATES or CHANGES. For another stream every Publish fails.
func (s *Server) Topic(stream Stream) *Topic { return s.topics[stream] }

// Publish stores the messages and returns one error for each, nil for those that are stored. With errors.Is(err,
// events.ErrPermanent) the message itself is at fault: too large, with attributes that no header can carry, or with a
// subject that is none of this stream. Other failures may be retried; the message may have been stored all the same.
func (t *Topic) Publish(ctx context.Context, msgs []events.Message) []error {
	errs := make([]error, len(msgs))
	if t == nil {
		for i := range errs {
			errs[i] = fmt.Errorf("publishing: no such stream: %w", events.ErrPermanent)
		}
		return errs
	}
	if len(msgs) == 0 {
		return errs
	}
	// The call starts with one more than there is, so that it can't end before all have been sent.
	c := &call{errs: errs, left: 1, done: make(chan struct{})}
	ctx, cancel := within(ctx, t.life)
	defer cancel()
	ctx, stop := context.WithTimeoutCause(ctx, ackTimeout, errors.New("the server does not answer"))
	defer stop()
	full := t.free()
	for i := range msgs {
		m, err := encode(t.stream, msgs[i])
		if err == nil && full != nil {
			err = fmt.Errorf("publishing to %s: %w", t.stream, full)
		}
		if err == nil {
			err = t.send(ctx, c, i, m, &msgs[i])
		}
		if err != nil {
			t.mu.Lock()
			errs[i] = err
			t.mu.Unlock()
		}
	}
	t.mu.Lock()
	c.answer()
	t.mu.Unlock()
	select {
	case <-c.done:
		return errs
	case <-ctx.Done():
		return t.abandon(c, context.Cause(ctx))
	}
}

func (t *Topic) send(ctx context.Context, c *call, index int, m *nats.Msg, from *events.Message) error {
	size := from.Size()
	if err := t.room.take(ctx, size); err != nil {
		return fmt.Errorf("publishing to %s: %w", t.stream, err)
	}
	t.mu.Lock()
	t.next++
	id := t.next
	c.left++
	t.pending[id] = waiting{c, index, size, from}
	t.mu.Unlock()
	m.Reply = t.prefix + strconv.FormatUint(id, 36)
	if err := t.conn.PublishMsg(m); err != nil {
		t.settle(id, fmt.Errorf("publishing to %s: %w", t.stream, err))
	}
	return nil
}

// answered takes the server's answer to one message.
func (t *Topic) answered(m *nats.Msg) {
	id, err := strconv.ParseUint(strings.TrimPrefix(m.Subject, t.prefix), 36, 64)
	if err != nil {
		return
	}
	if err := ackError(m); err != nil {
		t.settle(id, fmt.Errorf("publishing to %s: %w", t.stream, err))
		return
	}
	if t.stored != nil {
		var ack jetstream.PubAck
		if err := json.Unmarshal(m.Data, &ack); err == nil {
			t.mu.Lock()
			m := t.pending[id].m
			t.mu.Unlock()
			t.stored(ack.Sequence, m)
		}
	}
	t.settle(id, nil)
}

func (t *Topic) settle(id uint64, err error) {
	t.mu.Lock()
	w, ok := t.pending[id]
	if ok {
		delete(t.pending, id)
		w.call.errs[w.index] = err
		w.call.answer()
	}
	t.mu.Unlock()
	if ok {
		t.room.give(w.size)
	}
}

// answer counts one message off. Topic.mu is held.
func (c *call) answer() {
	if c.left--; c.left == 0 {
		close(c.done)
	}
}

// abandon ends a call whose messages were not all answered in time. Whether those are stored is not known.
func (t *Topic) abandon(c *call, cause error) []error {
	t.mu.Lock()
	var freed []int
	for id, w := range t.pending {
		if w.call == c {
			delete(t.pending, id)
			c.errs[w.index] = fmt.Errorf("publishing to %s: %w", t.stream, cause)
			freed = append(freed, w.size)
		}
	}
	t.mu.Unlock()
	for _, size := range freed {
		t.room.give(size)
	}
	return c.errs
}

// ackError reads the server's answer to a published message.
func ackError(m *nats.Msg) error {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return jetstream.ErrNoStreamResponse
	}
	if bytes.HasPrefix(m.Data, []byte(`{"stream":`)) && !bytes.Contains(m.Data, []byte(`"error"`)) {
		return nil // by far the most
	}
	return parseAckError(m.Data)
}
