package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/brokertest"
	"github.com/flavorless/flavorless/internal/embedded/queue"
	"github.com/flavorless/flavorless/internal/testutil"
)

// TestBackoff checks that a failed message is delivered again after its backoff, and does not delay others.
func TestBackoff(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	s.Publish(t, broker.Updates, brokertest.Update("fails"), brokertest.Update("a"), brokertest.Update("b"))
	const unit = 100 * time.Millisecond
	var at []time.Time
	var tries []int
	fine := map[string]int{}
	s.ConsumeUntil(t, queue.Config{Backoff: func(try int) time.Duration { return time.Duration(try) * unit }},
		func(group []queue.Delivery) ([]error, bool) {
			errs := make([]error, len(group))
			for i, d := range group {
				if d.ID != "fails" {
					fine[d.ID]++
					continue
				}
				at, tries = append(at, time.Now()), append(tries, d.Tries)
				if d.Tries < 4 {
					errs[i] = errors.New("not yet")
				}
			}
			return errs, len(tries) == 4
		})
	if diff := cmp.Diff([]int{1, 2, 3, 4}, tries); diff != "" {
		t.Errorf("tries (-want +got):\n%s", diff)
	}
	for i := 1; i < len(at); i++ {
		if got, want := at[i].Sub(at[i-1]), time.Duration(i)*unit; got < want {
			t.Errorf("try %d: delivered after %s, want at least %s", i+1, got, want)
		}
	}
	if diff := cmp.Diff(map[string]int{"a": 1, "b": 1}, fine); diff != "" {
		t.Errorf("deliveries of the other messages (-want +got):\n%s", diff)
	}
}

// TestGroupLimits checks that a group has the messages that are ready at once, up to the limits.
func TestGroupLimits(t *testing.T) {
	t.Parallel()
	big := string(make([]byte, 60_000))
	for _, test := range []struct {
		name   string
		config queue.Config
		bodies []string
		want   []int
	}{
		{"all", queue.Config{MaxMessages: 100}, []string{"1", "2", "3", "4", "5"}, []int{5}},
		{"one at a time", queue.Config{MaxMessages: 1}, []string{"1", "2", "3"}, []int{1, 1, 1}},
		{"two messages", queue.Config{MaxMessages: 2}, []string{"1", "2", "3", "4", "5"}, []int{2, 2, 1}},
		{"limited bytes", queue.Config{MaxMessages: 100, MaxBytes: 200_000}, []string{big, big, big, big, big}, []int{3, 2}},
		{"larger than the limit", queue.Config{MaxMessages: 100, MaxBytes: 1000}, []string{big, "2", big}, []int{1, 1, 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := brokertest.Start(t, t.TempDir())
			var msgs []events.Message
			for i, body := range test.bodies {
				msgs = append(msgs, events.Message{ID: fmt.Sprint(i), Subject: events.UpdatesType, Body: []byte(body)})
			}
			s.Publish(t, broker.Updates, msgs...)
			var got []int
			n := 0
			s.ConsumeUntil(t, test.config, func(group []queue.Delivery) ([]error, bool) {
				got = append(got, len(group))
				n += len(group)
				return nil, n == len(msgs)
			})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("group sizes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConcurrency(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	const concurrency = 4
	for i := range concurrency {
		s.Publish(t, broker.Updates, brokertest.Update(fmt.Sprint(i)))
	}
	ctx, cancel := context.WithTimeout(t.Context(), brokertest.Timeout)
	defer cancel()
	var inside sync.WaitGroup
	inside.Add(concurrency)
	err := s.Consume(ctx, queue.Config{Stream: broker.Updates, MaxMessages: 1, Concurrency: concurrency},
		func(context.Context, []queue.Delivery) []error {
			inside.Done()
			inside.Wait() // for all groups
			cancel()
			return nil
		})
	if err != nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Errorf("Consume = %v, context: %v; want %d groups at the same time", err, ctx.Err(), concurrency)
	}
}

// TestHeartbeat checks that a message that is handled for longer than AckWait is not delivered again.
func TestHeartbeat(t *testing.T) {
	testutil.SkipIfShort(t)
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	s.Publish(t, broker.Updates, brokertest.Update("slow"))
	const ackWait = time.Second // long enough for a heartbeat on a busy machine
	var deliveries atomic.Int32
	ctx, cancel := context.WithTimeout(t.Context(), brokertest.Timeout)
	defer cancel()
	err := s.Consume(ctx, queue.Config{Stream: broker.Updates, AckWait: ackWait, Concurrency: 2},
		func(ctx context.Context, _ []queue.Delivery) []error {
			if deliveries.Add(1) > 1 {
				cancel()
				return nil
			}
			select {
			case <-time.After(3 * ackWait):
			case <-ctx.Done():
			}
			cancel()
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	if n := deliveries.Load(); n != 1 {
		t.Errorf("delivered %d times, want once", n)
	}
}

// TestStopWhileHandling checks that a stop is not a failure of the messages in flight: those that are not done are
// delivered again at once, and the stopped delivery counts as a try.
func TestStopWhileHandling(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]func(*testing.T, *brokertest.Server, string) *brokertest.Server{
		"of a queue": func(_ *testing.T, s *brokertest.Server, _ string) *brokertest.Server { return s },
		"of the server": func(t *testing.T, s *brokertest.Server, dir string) *brokertest.Server {
			t.Helper()
			s.Stop()
			return brokertest.Start(t, dir)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := brokertest.Start(t, dir)
			s.Publish(t, broker.Updates, brokertest.Update("done"), brokertest.Update("interrupted"))
			ctx, cancel := context.WithCancel(t.Context())
			err := s.Consume(ctx, queue.Config{Stream: broker.Updates, MaxTries: 1, AckWait: brokertest.Timeout},
				func(ctx context.Context, group []queue.Delivery) []error {
					cancel()
					<-ctx.Done()
					errs := make([]error, len(group))
					for i, d := range group {
						if d.ID == "interrupted" {
							errs[i] = ctx.Err()
						}
					}
					return errs
				})
			if err != nil {
				t.Fatal(err)
			}
			if dead := s.AllDeadLetters(t); len(dead) > 0 {
				t.Errorf("dead letters %+v, want none", dead)
			}
			s = again(t, s, dir)
			begun := time.Now()
			config := queue.Config{MaxTries: 2, AckWait: brokertest.Timeout}
			s.ConsumeUntil(t, config, func(group []queue.Delivery) ([]error, bool) {
				if len(group) != 1 || group[0].ID != "interrupted" || group[0].Tries != 2 {
					t.Errorf("delivered %+v, want the interrupted message at try 2", group)
				}
				return nil, true
			})
			if took := time.Since(begun); took > brokertest.Timeout/2 {
				t.Errorf("delivered again after %s, want at once", took)
			}
		})
	}
}

func TestRestartContinues(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := brokertest.Start(t, dir)
	s.Publish(t, broker.Updates, brokertest.Update("a"), brokertest.Update("b"), brokertest.Update("c"))
	s.ConsumeUntil(t, queue.Config{MaxMessages: 1}, func([]queue.Delivery) ([]error, bool) { return nil, true })
	s.Stop()

	s = brokertest.Start(t, dir)
	var got []string
	s.ConsumeUntil(t, queue.Config{}, func(group []queue.Delivery) ([]error, bool) {
		for _, d := range group {
			got = append(got, d.ID)
		}
		return nil, len(got) == 2
	})
	slices.Sort(got)
	if diff := cmp.Diff([]string{"b", "c"}, got); diff != "" {
		t.Errorf("after the restart (-want +got):\n%s", diff)
	}
}

// TestBadHandler checks that a panic, or a wrong number of errors, is a failure of all messages.
func TestBadHandler(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	s.Publish(t, broker.Updates, brokertest.Update("a"), brokertest.Update("b"))
	calls := 0
	done := map[string]int{}
	s.ConsumeUntil(t, queue.Config{Backoff: brokertest.NoBackoff}, func(group []queue.Delivery) ([]error, bool) {
		calls++
		switch calls {
		case 1:
			panic("a bug")
		case 2:
			return make([]error, len(group)+1), false
		}
		for _, d := range group {
			done[d.ID] = d.Tries
		}
		return nil, len(done) == 2
	})
	if len(done) != 2 {
		t.Errorf("handled %v, want both messages", done)
	}
}

func TestConsumeErrors(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	for _, stream := range []broker.Stream{broker.Changes, broker.Dead, "X"} {
		if err := s.Consume(t.Context(), queue.Config{Stream: stream}, nil); err == nil {
			t.Errorf("Consume(%s) = nil, want an error: it is not a work queue", stream)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), brokertest.Timeout)
	defer cancel()
	s.Publish(t, broker.Updates, brokertest.Update("a"))
	err := s.Consume(ctx, queue.Config{Stream: broker.Updates}, func(context.Context, []queue.Delivery) []error {
		defer cancel()
		if err := s.Consume(ctx, queue.Config{Stream: broker.Updates}, nil); err == nil {
			t.Error("second Consume of the same queue = nil, want an error")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
