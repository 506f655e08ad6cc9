package test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/local"
	"github.com/flavorless/flavorless/internal/testutil"
)

// subscriber receives changes. Whenever the server has been restarted, it reconnects and continues after the last
// change.
type subscriber struct {
	t          *testing.T
	supervisor *supervisor

	mu       sync.Mutex
	last     uint64                   // sequence of the newest message
	received map[uint64]events.Change // by sequence
	done     bool                     // the change of lastPerson was received
}

// run subscribes until ctx ends.
func (s *subscriber) run(ctx context.Context) {
	for {
		info, ready := s.supervisor.waitReady(ctx)
		if !ready {
			return
		}
		err := subscribe(ctx, info, s.last+1, s.receive)
		if !sleep(ctx, 5*time.Millisecond) {
			return
		}
		if info, ready := s.supervisor.info(); ready && err != nil {
			s.t.Logf("subscribing at %s: %v", info.NATS, err)
		}
	}
}

// receive records a change, whose sequence has to follow that of the one before.
func (s *subscriber) receive(sequence uint64, c events.Change) (more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if want := s.last + 1; sequence != want {
		s.t.Errorf("received the message with sequence %d, want %d", sequence, want)
	}
	s.last, s.received[sequence] = sequence, c
	s.done = s.done || c.Person == lastPerson
	return true
}

// waitForLast waits for the change of lastPerson.
func (s *subscriber) waitForLast() {
	s.t.Helper()
	testutil.WaitFor(s.t, "the last change", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.done
	})
}

// readAll reads the stream of changes from its beginning, by sequence.
func (s *subscriber) readAll(info local.Info) map[uint64]events.Change {
	s.t.Helper()
	all := map[uint64]events.Change{}
	err := subscribe(s.t.Context(), info, 1, func(sequence uint64, c events.Change) bool {
		all[sequence] = c
		return sequence < s.last
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// subscribe calls receive with changes, from the one with a sequence on, until receive returns false or the
// connection ends. It has the rights of a subscriber.
func subscribe(
	ctx context.Context, info local.Info, from uint64, receive func(uint64, events.Change) (more bool),
) error {
	conn, err := nats.Connect(info.NATS, nats.UserInfo(info.NATSUser, info.NATSPassword), nats.NoReconnect(),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // the default handler prints the error
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := natsjs.New(conn)
	if err != nil {
		return err
	}
	consumer, err := js.CreateConsumer(ctx, "CHANGES", natsjs.ConsumerConfig{
		DeliverPolicy: natsjs.DeliverByStartSequencePolicy, OptStartSeq: from,
		AckPolicy: natsjs.AckNonePolicy, InactiveThreshold: time.Minute,
	})
	if err != nil {
		return err
	}
	for ctx.Err() == nil && !conn.IsClosed() {
		batch, err := consumer.Fetch(500, natsjs.FetchMaxWait(time.Second))
		if err != nil {
			return err
		}
		for m := range batch.Messages() {
			meta, err := m.Metadata()
			if err != nil {
				return err
			}
			c, err := events.DecodeChange(m.Data())
			if err != nil {
				return err
			}
			if !receive(meta.Sequence.Stream, c) {
				return nil
			}
		}
		if err := batch.Error(); err != nil {
			return err
		}
	}
	return ctx.Err()
}
