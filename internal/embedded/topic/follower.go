package topic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
)

// Limits of one fetch, and of the fetches at the same time. Together they stay far below the number of unsent bytes at
// which the server closes a connection, because all followers share one.
const (
	fetchMessages = 64
	fetchBytes    = 64 << 10 // the server stops after the message that exceeds it
	maxFetches    = 32
	fetchTimeout  = 10 * time.Second // after which the answer counts as lost
)

// follower reads CHANGES for one caller of [Log.Changes].
type follower struct {
	stream  jetstream.Stream
	conn    *nats.Conn
	fetches chan struct{}
	recent  *recent

	sub   *nats.Subscription
	inbox string // prefix of the reply subjects; the number of the request follows
	asked int    // requests so far
	next  uint64 // sequence number of the next message

	// missed is the value of next when an answer last began after it.
	missed uint64
}

// seek moves to the first message that was stored at that time or later. Without one, the follower stays at the end.
func (f *follower) seek(ctx context.Context, since time.Time) error {
	msgs, err := f.fetch(ctx, fetchRequest{Since: &since, Batch: 1})
	if err != nil || len(msgs) == 0 {
		return err
	}
	f.next, err = sequenceOf(msgs[0])
	return err
}

func sequenceOf(m *nats.Msg) (uint64, error) {
	sequence, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("a message has no sequence number: %w", err)
	}
	return sequence, nil
}

// read waits until there are messages, and yields them. It reports whether the caller of the iterator wants more.
func (f *follower) read(ctx context.Context, yield func(events.LoggedChange, error) bool) (more bool, err error) {
	recent, err := f.recent.wait(ctx, f.next)
	if err != nil {
		return false, err
	}
	for _, c := range recent {
		if f.next++; !yield(c, nil) {
			return false, nil
		}
	}
	if len(recent) > 0 {
		return true, nil
	}
	msgs, err := f.fetch(ctx, fetchRequest{Sequence: f.next, Batch: fetchMessages, MaxBytes: fetchBytes})
	if err == nil && len(msgs) == 0 {
		err = f.checkRetained(ctx)
	}
	if err != nil {
		return false, err
	}
	for _, m := range msgs {
		sequence, err := sequenceOf(m)
		if err != nil {
			return false, err
		}
		if sequence != f.next {
			return true, f.miss(ctx, sequence)
		}
		f.next++
		c := loggedChange(sequence, m.Header.Get(jetstream.SubjectHeader), m)
		if broker.IsChange(c.Message) && !yield(c, nil) {
			return false, nil
		}
	}
	return true, nil
}

// miss handles an answer that begins after the next message. If the connection lost the beginning of the answer, it
// returns nil, so that the message is requested again. Otherwise the message has been dropped.
func (f *follower) miss(ctx context.Context, found uint64) error {
	if f.missed == f.next {
		return f.dropped(found)
	}
	f.missed = f.next
	return f.checkRetained(ctx)
}

// checkRetained fails with events.ErrOutOfRetention if the next message has been dropped.
func (f *follower) checkRetained(ctx context.Context) error {
	info, err := f.stream.Info(ctx)
	if err != nil {
		return err
	}
	if first := info.State.FirstSeq; f.next < first {
		return f.dropped(first)
	}
	return nil
}

// dropped returns the error for a follower that was too slow.
func (f *follower) dropped(first uint64) error {
	return fmt.Errorf("the changes at positions %d to %d are gone: %w", f.next, first-1, events.ErrOutOfRetention)
}

// fetchRequest asks for messages from a sequence number or a time on.
// https://docs.nats.io/reference/reference-protocols/nats_api_reference
type fetchRequest struct {
	Sequence uint64     `json:"seq,omitempty"`
	Since    *time.Time `json:"start_time,omitempty"`
	Batch    int        `json:"batch"`
	MaxBytes int        `json:"max_bytes,omitempty"`
}

// fetch sends a request and returns the messages of the answer, none if they do not exist yet. It repeats the request
// when no answer comes, for example because the connection was lost.
func (f *follower) fetch(ctx context.Context, request fetchRequest) (msgs []*nats.Msg, err error) {
	select {
	case f.fetches <- struct{}{}:
		defer func() { <-f.fetches }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	for {
		msgs, err = f.ask(ctx, body)
		if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return msgs, err
		}
	}
}

// ask sends a request once. It fails with context.DeadlineExceeded when no answer comes.
func (f *follower) ask(ctx context.Context, body []byte) (msgs []*nats.Msg, err error) {
	f.asked++
	reply := f.inbox + strconv.Itoa(f.asked)
	if err := f.conn.PublishRequest("$JS.API.DIRECT.GET."+string(broker.Changes), reply, body); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	for {
		m, err := f.sub.NextMsgWithContext(ctx)
		switch {
		case err != nil:
			return nil, err
		case m.Subject != reply: // a late answer to an earlier request
		case m.Header.Get(jetstream.SequenceHeader) == "": // the end of the answer, or a status without messages
			return msgs, nil
		default:
			msgs = append(msgs, m)
		}
	}
}
