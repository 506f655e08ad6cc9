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

// errFull is what a Room tells of a full disk.
var errFull = fmt.Errorf("the disk is full: %w", events.ErrUnavailable)

// TestUnavailableIsNoFailedTry: while what a message needs is out of order, it stays where it is, however often it is
// tried, and its neighbours are not tried in vain.
func TestUnavailableIsNoFailedTry(t *testing.T) {
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
					t.Errorf("round %d: %+v, want the same again", rounds, group)
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
		t.Errorf("handled in the end: %v", after)
	}
}

// TestOnlyWhatIsUnavailableIsKept: the rest of its group is settled by its own outcome.
func TestOnlyWhatIsUnavailableIsKept(t *testing.T) {
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
		t.Errorf("handled %v", seen)
	}
	if dead := s.AllDeadLetters(t); len(dead) != 1 || dead[0].ID != "bad" {
		t.Errorf("dead letters: %+v", dead)
	}
}

// TestStoppedWhileUnavailable: a stop does not wait for better times, and loses nothing.
func TestStoppedWhileUnavailable(t *testing.T) {
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

// TestNothingIsPublishedWithoutRoom: neither messages nor dead letters are, and both go on once there is room.
func TestNothingIsPublishedWithoutRoom(t *testing.T) {
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
	errs := s.Topic(broker.Updates).Publish(t.Context(), []events.Message{brokertest.Update("b"), {Subject: "elsewhere", Body: []byte("x")}})
	if !errors.Is(errs[0], events.ErrUnavailable) || !errors.Is(errs[1], events.ErrPermanent) {
		t.Errorf("Publish = %v", errs)
	}
	tries := 0
	s.ConsumeUntil(t, queue.Config{Backoff: brokertest.NoBackoff}, func([]queue.Delivery) ([]error, bool) {
		if tries++; tries == 3 {
			if dead := s.AllDeadLetters(t); len(dead) > 0 {
				t.Errorf("%d dead letters on a full disk", len(dead))
			}
			full.Store(false)
		}
		return []error{events.ErrPermanent}, tries == 3
	})
	dead := s.AllDeadLetters(t)
	if len(dead) != 1 {
		t.Fatalf("%d dead letters, want one", len(dead))
	}
	full.Store(true)
	if err := s.Redrive(t.Context(), dead[0].Number); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("Redrive = %v", err)
	}
	if len(s.AllDeadLetters(t)) != 1 {
		t.Error("the dead letter is gone")
	}
}
