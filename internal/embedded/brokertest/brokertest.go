// Package brokertest starts the embedded broker for tests of the packages that build on it.
package brokertest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/queue"
	"github.com/flavorless/flavorless/internal/embedded/topic"
)

// Timeout is how long a test waits for something that should happen at once.
const Timeout = 3 * time.Minute

// Server is a broker with everything that builds on it.
type Server struct {
	*broker.Server
	*topic.Log
	*queue.Queues
	*queue.DeadQueue

	topics map[broker.Stream]*topic.Topic
}

// Start starts a broker on a free port, and stops it when the test ends. The functions may alter its configuration.
func Start(t testing.TB, dir string, change ...func(*broker.Config)) *Server {
	t.Helper()
	c := broker.Config{
		Dir: dir, Addr: "127.0.0.1:0", Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Subscriber: broker.Credential{User: "subscriber", Password: "secret"},
	}
	for _, f := range change {
		f(&c)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	b, err := broker.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Stop)
	dead := queue.NewDeadQueue(b, c.Logger)
	s := &Server{
		Server: b, Queues: queue.New(b, dead, c.Logger), DeadQueue: dead, topics: map[broker.Stream]*topic.Topic{},
	}
	if s.Log, err = topic.OpenLog(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	s.topics[broker.Changes] = s.Log.Topic
	for _, stream := range b.Queues() {
		if s.topics[stream], err = topic.New(b, stream); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// Topic returns the topic that publishes to a stream.
func (s *Server) Topic(stream broker.Stream) *topic.Topic { return s.topics[stream] }

// Publish publishes the messages and fails the test if that fails.
func (s *Server) Publish(t testing.TB, stream broker.Stream, msgs ...events.Message) {
	t.Helper()
	if err := errors.Join(s.topics[stream].Publish(t.Context(), msgs)...); err != nil {
		t.Fatal(err)
	}
}

// Announce publishes a change for each of the people.
func (s *Server) Announce(t testing.TB, people ...string) {
	t.Helper()
	for _, person := range people {
		s.Publish(t, broker.Changes, Change(t, person))
	}
}

// ReadLog reads n changes from a start on, and returns the position and the person of each. It calls meanwhile, if not
// nil, after Changes has returned.
func (s *Server) ReadLog(t testing.TB, from events.Start, n int, meanwhile func()) (read []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Timeout)
	defer cancel()
	position, changes, err := s.Changes(ctx, from)
	if err != nil {
		t.Fatal(err)
	}
	if meanwhile != nil {
		meanwhile()
	}
	for a, err := range changes {
		if err != nil {
			t.Fatal(err)
		}
		if len(read) == 0 && a.Sequence != position+1 {
			t.Errorf("Changes returned position %d and then the change at %d, want one before it", position, a.Sequence)
		}
		read = append(read, fmt.Sprint(a.Sequence, " ", a.Attributes["person"]))
		if diff := gocmp.Diff(Change(t, a.Attributes["person"]), a.Message); diff != "" {
			t.Errorf("message (-want +got):\n%s", diff)
		}
		if len(read) == n {
			break
		}
	}
	return read
}

// Subscriber connects a client from outside. The function returns how many of its requests the server has refused.
func (s *Server) Subscriber(t testing.TB) (conn *nats.Conn, refused func() int) {
	t.Helper()
	var n atomic.Int32
	conn, err := nats.Connect("nats://"+s.Addr(), nats.UserInfo("subscriber", "secret"),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				n.Add(1)
			}
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn, func() int { return int(n.Load()) }
}

// JetStream returns the streams that a connection can reach. Calls wait as long as the test does, not for 5 seconds.
func JetStream(t testing.TB, conn *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(conn, jetstream.WithDefaultTimeout(Timeout))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// Update returns a message to UPDATES. The body is its id, too.
func Update(body string) events.Message {
	return events.Message{
		ID: body, Subject: events.UpdatesType, Attributes: map[string]string{"type": events.UpdatesType}, Body: []byte(body),
	}
}

// Change returns a message to CHANGES: the person is new.
func Change(t testing.TB, person string) events.Message {
	t.Helper()
	origin, err := events.Object{Bucket: "b", Key: "k", Sequencer: "0055", Time: time.UnixMilli(1)}.Origin()
	if err != nil {
		t.Fatal(err)
	}
	c, _ := events.NewChange(person, "", "cookie dough", origin.At(0))
	return c.Message()
}

// ConsumeUntil consumes UPDATES, or another queue if c names one, until handle returns that it has enough.
func (s *Server) ConsumeUntil(
	t testing.TB, c queue.Config, handle func(group []queue.Delivery) (errs []error, enough bool),
) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Timeout)
	defer cancel()
	c.Stream = cmp.Or(c.Stream, broker.Updates)
	err := s.Consume(ctx, c, func(_ context.Context, group []queue.Delivery) []error {
		errs, enough := handle(group)
		if enough {
			cancel()
		}
		return errs
	})
	if err != nil {
		t.Error(err)
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Errorf("consuming %s: timed out after %s", c.Stream, Timeout)
	}
}

// ConsumeAll consumes until every message of the set has been delivered. It empties the set.
func (s *Server) ConsumeAll(t testing.TB, c queue.Config, left map[string]bool) {
	t.Helper()
	s.ConsumeUntil(t, c, func(group []queue.Delivery) ([]error, bool) {
		for _, d := range group {
			delete(left, d.ID)
		}
		return nil, len(left) == 0
	})
}

// ConsumeOne consumes until one group has been delivered.
func (s *Server) ConsumeOne(t testing.TB) {
	t.Helper()
	s.ConsumeUntil(t, queue.Config{}, func([]queue.Delivery) ([]error, bool) { return nil, true })
}

// AllDeadLetters returns the dead letters of all queues.
func (s *Server) AllDeadLetters(t testing.TB) []queue.DeadLetter {
	t.Helper()
	var all []queue.DeadLetter
	for d, err := range s.DeadLetters(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

// NoBackoff retries at once.
func NoBackoff(int) time.Duration { return 0 }
