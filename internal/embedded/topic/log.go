package topic

import (
	"context"
	"fmt"
	"iter"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/time/rate"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
)

// Log is the log of changes: the topic CHANGES, which stores what is published and lets any number of followers read it
// from any position that is retained.
type Log struct {
	*Topic

	stream  jetstream.Stream
	readers *nats.Conn    // shared by all followers
	fetches chan struct{} // semaphore
	recent  *recent
}

// OpenLog returns the log of changes of the server. It publishes on a connection of its own, so that nothing else
// delays changes. Followers read on another one.
func OpenLog(ctx context.Context, b *broker.Server) (*Log, error) {
	stream, err := b.JetStream().Stream(ctx, string(broker.Changes))
	if err != nil {
		return nil, fmt.Errorf("opening the log of changes: %w", err)
	}
	last := stream.CachedInfo().State.LastSeq
	l := &Log{stream: stream, fetches: make(chan struct{}, maxFetches), recent: newRecent(last)}
	publisher, err := b.Connect("announcer")
	if err != nil {
		return nil, err
	}
	if l.readers, err = b.Connect("readers"); err != nil {
		return nil, err
	}
	l.Topic, err = newTopic(b, publisher, broker.Changes, func(sequence uint64, m *nats.Msg) {
		l.recent.add(loggedChange(sequence, m.Subject, m))
	})
	if err != nil {
		return nil, err
	}
	l.rate = rate.NewLimiter(changesRate, changesBurst)
	return l, nil
}

// Changes returns the changes from a start on. The iterator first yields the stored ones, then waits for new ones,
// until ctx ends or an error does. The returned position is the one right before the first change.
//
// The error wraps [events.ErrOutOfRetention] if changes since the start are no longer retained, or if the position does
// not exist yet. The same error ends the iteration if the follower is so slow that changes are dropped before it reads
// them. Between two fetches a follower takes nothing from the server, so slow ones delay nobody.
//
// Stored messages that are not changes, which clients of earlier releases could cause, are skipped.
func (l *Log) Changes(ctx context.Context, from events.Start) (uint64, iter.Seq2[events.LoggedChange, error], error) {
	position, f, err := l.follow(ctx, from)
	if err != nil {
		return 0, nil, fmt.Errorf("reading the log of changes: %w", err)
	}
	return position, func(yield func(events.LoggedChange, error) bool) {
		defer func() { _ = f.sub.Unsubscribe() }()
		for {
			more, err := f.read(ctx, yield)
			if ctx.Err() != nil || err == nil && !more {
				return
			}
			if err != nil {
				yield(events.LoggedChange{}, fmt.Errorf("reading the log of changes: %w", err))
				return
			}
		}
	}, nil
}

// follow returns a follower that stands at the start, and the position before it.
func (l *Log) follow(ctx context.Context, from events.Start) (uint64, *follower, error) {
	info, err := l.stream.Info(ctx)
	if err != nil {
		return 0, nil, err
	}
	state := info.State
	f := &follower{stream: l.stream, conn: l.readers, fetches: l.fetches, recent: l.recent, next: state.LastSeq + 1}
	switch {
	case from.HasPosition():
		if from.After > state.LastSeq || from.After+1 < state.FirstSeq {
			return 0, nil, fmt.Errorf("position %d is not between %d and %d: %w",
				from.After, state.FirstSeq, state.LastSeq, events.ErrOutOfRetention)
		}
		f.next = from.After + 1
	case !from.Since.IsZero():
		if state.FirstSeq > 1 && from.Since.Before(state.FirstTime) {
			return 0, nil, fmt.Errorf("the log begins at %s: %w", events.FormatTime(state.FirstTime), events.ErrOutOfRetention)
		}
	}
	f.inbox = nats.NewInbox() + "."
	if f.sub, err = l.readers.SubscribeSync(f.inbox + "*"); err != nil {
		return 0, nil, err
	}
	if !from.Since.IsZero() && !from.HasPosition() {
		if err := f.seek(ctx, from.Since); err != nil {
			_ = f.sub.Unsubscribe()
			return 0, nil, err
		}
	}
	return f.next - 1, f, nil
}

// loggedChange returns a message of CHANGES. Its subject is not that of m if m is the answer to a fetch.
func loggedChange(sequence uint64, subject string, m *nats.Msg) events.LoggedChange {
	c := events.LoggedChange{Sequence: sequence}
	c.Subject, c.Body = subject, m.Data
	c.ID, c.Attributes = broker.Decode(m.Header)
	return c
}
