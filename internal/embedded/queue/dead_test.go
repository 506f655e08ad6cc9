package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/brokertest"
	"github.com/flavorless/flavorless/internal/embedded/queue"
	"github.com/flavorless/flavorless/internal/testutil"
)

// deadLetter publishes the messages to an empty queue, and makes dead letters of them.
func deadLetter(t *testing.T, s *brokertest.Server, c queue.Config, reason error, msgs ...events.Message) {
	t.Helper()
	s.Publish(t, broker.Updates, msgs...)
	c.Stream, c.Backoff = broker.Updates, brokertest.NoBackoff
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var consuming sync.WaitGroup
	consuming.Go(func() {
		err := s.Consume(ctx, c, func(_ context.Context, group []queue.Delivery) []error {
			return slices.Repeat([]error{reason}, len(group))
		})
		if err != nil {
			t.Error(err)
		}
	})
	testutil.WaitFor(t, "dead letters", func() bool { return len(s.AllDeadLetters(t)) == len(msgs) })
	cancel()
	consuming.Wait()
}

// TestDeadLetter checks that a dead letter has the message, its tries, the times, and the reason as one line.
func TestDeadLetter(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	m := brokertest.Update("é")
	m.Attributes["flavor"] = "crème brûlée"
	begun := time.Now().Add(-time.Millisecond)
	deadLetter(t, s, queue.Config{MaxTries: 3}, errors.New("the table\nis closed \x00 "+strings.Repeat("é", 5000)), m)

	got := s.AllDeadLetters(t)
	want := []queue.DeadLetter{{
		Number: 1, Queue: broker.Updates,
		Delivery: queue.Delivery{ID: m.ID, Subject: m.Subject, Attributes: m.Attributes, Body: m.Body, Tries: 3},
	}}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(queue.DeadLetter{}, "Reason", "First", "Last")); diff != "" {
		t.Fatalf("dead letters (-want +got):\n%s", diff)
	}
	if !strings.HasPrefix(got[0].Reason, "the table is closed ") || len(got[0].Reason) > 3000 {
		t.Errorf("reason %q with %d bytes, want at most 3000, beginning with %q",
			got[0].Reason, len(got[0].Reason), "the table is closed ")
	}
	if d := got[0]; d.First.Before(begun) || d.Last.Before(d.First) || d.Last.After(time.Now()) {
		t.Errorf("first %s, last %s; want %s <= first <= last <= now", d.First, d.Last, begun)
	}
	depths, err := s.Depths(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[broker.Stream]queue.Depth{broker.Uploads: {}, broker.Updates: {Dead: 1}}, depths); diff != "" {
		t.Errorf("depths (-want +got):\n%s", diff)
	}
}

// TestLargestDeadLetter checks that the largest message fits into the dead-letter queue, with the longest reason.
func TestLargestDeadLetter(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	m := brokertest.Update("large")
	m.Attributes = nil
	m.Body = make([]byte, broker.MaxMessage-len(m.ID)-len(m.Subject))
	deadLetter(t, s, queue.Config{}, fmt.Errorf("%s: %w", strings.Repeat("x", 10_000), events.ErrPermanent), m)
	if got := s.AllDeadLetters(t); len(got) != 1 || len(got[0].Body) != len(m.Body) {
		t.Errorf("got %d dead letters, want one with a body of %d bytes", len(got), len(m.Body))
	}
}

func TestRedrive(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	deadLetter(t, s, queue.Config{MaxTries: 2}, errors.New("no"),
		brokertest.Update("a"), brokertest.Update("b"), brokertest.Update("c"))
	var numbers []uint64
	for _, d := range s.AllDeadLetters(t) {
		numbers = append(numbers, d.Number)
	}
	if len(numbers) != 3 {
		t.Fatalf("got %d dead letters, want 3", len(numbers))
	}
	if err := s.Redrive(t.Context(), numbers[1]); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []uint64{numbers[1], 99} {
		if err := s.Redrive(t.Context(), gone); !errors.Is(err, events.ErrNotFound) {
			t.Errorf("Redrive(%d) = %v, want events.ErrNotFound", gone, err)
		}
	}
	for _, waiting := range []uint64{numbers[0], numbers[2]} {
		if err := s.Redrive(t.Context(), waiting); err != nil {
			t.Errorf("Redrive(%d) = %v, want nil", waiting, err)
		}
	}
	got := map[string]queue.Delivery{}
	s.ConsumeUntil(t, queue.Config{}, func(group []queue.Delivery) ([]error, bool) {
		for _, d := range group {
			got[d.ID] = d
		}
		return nil, len(got) == 3
	})
	want := map[string]queue.Delivery{}
	for _, id := range []string{"a", "b", "c"} {
		m := brokertest.Update(id)
		want[id] = queue.Delivery{ID: id, Subject: m.Subject, Attributes: m.Attributes, Body: m.Body, Tries: 1}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("redriven (-want +got):\n%s", diff)
	}
	if dead := s.AllDeadLetters(t); len(dead) != 0 {
		t.Errorf("got %d dead letters, want none", len(dead))
	}
}
