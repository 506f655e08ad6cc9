package jetstream_test

import (
	"cmp"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/brokertest"
	"github.com/flavorless/flavorless/internal/embedded/jetstream"
	"github.com/flavorless/flavorless/test/conformance"
)

func noWait(int) time.Duration { return 0 }

// consume consumes UPDATES until handle says that it is enough, or brokertest.Timeout ends.
func consume(t testing.TB, s *brokertest.Server, c jetstream.QueueConfig, handle func(group []jetstream.Delivery) (errs []error, enough bool)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), brokertest.Timeout)
	defer cancel()
	consumeUntil(ctx, cancel, t, s, c, handle)
}

// consumeAll consumes until every id of those has come.
func consumeAll(t testing.TB, s *brokertest.Server, c jetstream.QueueConfig, left map[string]bool) {
	t.Helper()
	consume(t, s, c, func(group []jetstream.Delivery) ([]error, bool) {
		for _, d := range group {
			delete(left, d.ID)
		}
		return nil, len(left) == 0
	})
}

func consumeUntil(ctx context.Context, cancel func(), t testing.TB, s *brokertest.Server, c jetstream.QueueConfig, handle func(group []jetstream.Delivery) (errs []error, enough bool)) {
	t.Helper()
	c.Stream = cmp.Or(c.Stream, jetstream.Updates)
	err := s.Consume(ctx, c, func(_ context.Context, group []jetstream.Delivery) []error {
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
		t.Errorf("what was awaited did not happen in %s", brokertest.Timeout)
	}
}

func deadLetters(t testing.TB, s *brokertest.Server) []jetstream.DeadLetter {
	t.Helper()
	var all []jetstream.DeadLetter
	for d, err := range s.DeadLetters(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

func TestConformance(t *testing.T) {
	conformance.TestTopic(t, func(t *testing.T) conformance.Topic {
		s := brokertest.Start(t, t.TempDir())
		return conformance.Topic{
			Subject: events.UpdatesType, TooLarge: jetstream.MaxMessage + 1, MaxTries: 3,
			Publish: s.Topic(jetstream.Updates).Publish,
			Consume: func(ctx context.Context, handle func(context.Context, []conformance.Received) []error) error {
				c := jetstream.QueueConfig{Stream: jetstream.Updates, MaxTries: 3, Backoff: noWait, Concurrency: 2}
				return s.Consume(ctx, c, func(ctx context.Context, group []jetstream.Delivery) []error {
					var received []conformance.Received
					for _, d := range group {
						received = append(received, conformance.Received{Attributes: d.Attributes, Body: d.Body, Tries: d.Tries})
					}
					return handle(ctx, received)
				})
			},
			Dead: func(ctx context.Context) ([]conformance.Received, error) {
				var dead []conformance.Received
				for d, err := range s.DeadLetters(ctx) {
					if err != nil {
						return nil, err
					}
					dead = append(dead, conformance.Received{Attributes: d.Attributes, Body: d.Body, Tries: d.Tries})
				}
				return dead, nil
			},
		}
	})
}
