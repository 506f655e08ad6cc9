package queue_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/brokertest"
	"github.com/flavorless/flavorless/internal/embedded/queue"
)

// errFull is the error of Capacity when the disk is full.
var errFull = fmt.Errorf("the disk is full: %w", events.ErrUnavailable)

// TestUnavailable checks that a message whose handler returns events.ErrUnavailable stays in flight without using up
// its tries, and the worker takes no other message meanwhile.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	s.Publish(t, broker.Updates, brokertest.Update("a"))
	s.Publish(t, broker.Updates, brokertest.Update("b"))
	rounds, after := 0, map[string]int{}
	s.ConsumeUntil(t, queue.Config{Pause: time.Millisecond, Backoff: brokertest.NoBackoff, MaxTries: 2, MaxMessages: 1},
		func(group []queue.Delivery) ([]error, bool) {
			if rounds < 20 {
				rounds++
				if len(group) != 1 || group[0].ID != "a" || group[0].Tries != 1 {
					t.Errorf("round %d: delivered %+v, want a at try 1", rounds, group)
				}
				return []error{errFull}, false
			}
			after[group[0].ID]++
			return nil, len(after) == 2
		})
	if dead := s.AllDeadLetters(t); len(dead) > 0 {
		t.Errorf("%d dead letters, want none", len(dead))
	}
	if after["a"] != 1 || after["b"] != 1 {
		t.Errorf("handled %v, want a and b once", after)
	}
}

// TestUnavailableInGroup checks that the other messages of the group are settled by their own outcomes.
func TestUnavailableInGroup(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	s.Publish(t, broker.Updates, brokertest.Update("done"), brokertest.Update("waits"), brokertest.Update("bad"))
	seen := map[string]int{}
	s.ConsumeUntil(t, queue.Config{Pause: time.Millisecond, Backoff: brokertest.NoBackoff},
		func(group []queue.Delivery) ([]error, bool) {
			errs := make([]error, len(group))
			for i, d := range group {
				switch seen[d.ID]++; {
				case d.ID == "waits" && seen[d.ID] < 5:
					errs[i] = errFull
				case d.ID == "bad":
					errs[i] = events.ErrPermanent
				}
			}
			return errs, seen["waits"] == 5 && seen["done"] > 0 && seen["bad"] > 0
		})
	if seen["done"] != 1 || seen["waits"] != 5 || seen["bad"] != 1 {
		t.Errorf("handled %v, want done and bad once, waits 5 times", seen)
	}
	if dead := s.AllDeadLetters(t); len(dead) != 1 || dead[0].ID != "bad" {
		t.Errorf("dead letters %+v, want bad", dead)
	}
}

// TestStopWhileUnavailable checks that a stop does not wait for the end of the pause, and loses nothing.
func TestStopWhileUnavailable(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	s.Publish(t, broker.Updates, brokertest.Update("a"))
	s.ConsumeUntil(t, queue.Config{Pause: time.Hour}, func([]queue.Delivery) ([]error, bool) {
		return []error{errFull}, true
	})
	s.ConsumeUntil(t, queue.Config{}, func(group []queue.Delivery) ([]error, bool) {
		return nil, group[0].ID == "a"
	})
}

// TestNoCapacity checks that without capacity neither messages nor dead letters are stored, and nothing is redriven,
// and that everything resumes with capacity.
func TestNoCapacity(t *testing.T) {
	t.Parallel()
	var full atomic.Bool
	s := brokertest.Start(t, t.TempDir(), func(c *broker.Config) {
		c.Capacity = func() error {
			if full.Load() {
				return errFull
			}
			return nil
		}
	})
	s.Publish(t, broker.Updates, brokertest.Update("bad"))
	full.Store(true)
	msgs := []events.Message{brokertest.Update("b"), {Subject: "elsewhere", Body: []byte("x")}}
	errs := s.Topic(broker.Updates).Publish(t.Context(), msgs)
	if !errors.Is(errs[0], events.ErrUnavailable) || !errors.Is(errs[1], events.ErrPermanent) {
		t.Errorf("Publish = %v, want events.ErrUnavailable and events.ErrPermanent", errs)
	}
	tries := 0
	s.ConsumeUntil(t, queue.Config{Backoff: brokertest.NoBackoff}, func([]queue.Delivery) ([]error, bool) {
		if tries++; tries == 3 {
			if dead := s.AllDeadLetters(t); len(dead) > 0 {
				t.Errorf("%d dead letters without capacity, want none", len(dead))
			}
			full.Store(false)
		}
		return []error{events.ErrPermanent}, tries == 3
	})
	dead := s.AllDeadLetters(t)
	if len(dead) != 1 {
		t.Fatalf("%d dead letters, want 1", len(dead))
	}
	full.Store(true)
	if err := s.Redrive(t.Context(), dead[0].Number); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("Redrive without capacity = %v, want events.ErrUnavailable", err)
	}
	if n := len(s.AllDeadLetters(t)); n != 1 {
		t.Errorf("%d dead letters after the failed Redrive, want 1", n)
	}
}
