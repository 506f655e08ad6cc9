package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
)

// changesTopic stores published messages. It can refuse requests and messages.
type changesTopic struct {
	mu        sync.Mutex
	published []string // ids
	refuse    func(ids []string) error
	refuseOne func(id string) error
	answer    time.Duration // duration of a request
}

func (c *changesTopic) Publish(ctx context.Context, messages []events.Message) []error {
	select {
	case <-ctx.Done():
		return slices.Repeat([]error{ctx.Err()}, len(messages))
	case <-time.After(c.answer):
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []string
	for _, m := range messages {
		ids = append(ids, m.ID)
	}
	if c.refuse != nil {
		if err := c.refuse(ids); err != nil {
			return slices.Repeat([]error{err}, len(ids))
		}
	}
	errs := make([]error, len(ids))
	for i, id := range ids {
		if c.refuseOne != nil {
			errs[i] = c.refuseOne(id)
		}
		if errs[i] == nil {
			c.published = append(c.published, id)
		}
	}
	return errs
}

// changesOf returns n changes of people who take turns.
func changesOf(t *testing.T, n, people int) []events.Change {
	t.Helper()
	origin, err := events.Object{Bucket: "b", Key: "k", ETag: "e", Sequencer: "1",
		Time: time.UnixMilli(1_795_000_000_000)}.Origin()
	if err != nil {
		t.Fatal(err)
	}
	var changes []events.Change
	for i := range n {
		c, _ := events.NewChange(fmt.Sprint("person ", i%people), fmt.Sprint("flavor ", i), fmt.Sprint("flavor ", i+1),
			origin.At(int64(i)))
		changes = append(changes, c)
	}
	return changes
}

// TestAnnounceThrottled publishes to a topic that accepts a hundred messages per second, in invocations of five
// seconds. Each invocation must publish about as many changes as the topic accepts, each once, and those of a person in
// order.
func TestAnnounceThrottled(t *testing.T) {
	for _, people := range []int{1, 7, 60, 1000} {
		t.Run(fmt.Sprint(people, " people"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				changes := changesOf(t, 1000, people)
				left, last := 100.0, time.Now()
				topic := &changesTopic{answer: 20 * time.Millisecond, refuse: func(ids []string) error {
					left, last = min(100, left+100*time.Since(last).Seconds()), time.Now()
					if left < float64(len(ids)) {
						return errors.New("throttled")
					}
					left -= float64(len(ids))
					return nil
				}}
				want := make([]string, len(changes))
				for i, c := range changes {
					want[i] = c.Message().ID
				}
				announcer := &ingest.Announcer{Changes: topic, Log: slog.New(slog.DiscardHandler)}
				for invocations := 0; len(changes) > 0; invocations++ {
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					errs := announcer.Announce(ctx, changes[:min(500, len(changes))])
					cancel()
					n := slices.IndexFunc(errs, func(err error) bool { return err != nil })
					if n < 0 {
						n = len(errs)
					}
					if n == 0 || invocations == 10 {
						t.Fatalf("invocation %d published the first %d changes; %d are left", invocations, n, len(changes))
					}
					changes = changes[n:]
				}
				if extra := len(topic.published) - len(want); extra > 40 {
					t.Errorf("%d changes were published again, want at most 40", extra)
				}
				position := map[string]int{}
				for i, id := range slices.Backward(topic.published) {
					position[id] = i // of the first time
				}
				for i, id := range want {
					if i >= people && position[id] < position[want[i-people]] {
						t.Fatalf("change %d was published before the previous one of the same person", i)
					}
				}
			})
		})
	}
}

// TestAnnounceFailures checks the error of each change.
func TestAnnounceFailures(t *testing.T) {
	never, later, gone := fmt.Errorf("%w: never", events.ErrPermanent), errors.New("not now"), fmt.Errorf("%w: gone",
		events.ErrUnavailable)
	const people = 100
	changes := changesOf(t, 2*people, people)
	for _, test := range []struct {
		name      string
		failures  map[int]error // by the index of the change
		stored    func(i int) bool
		permanent []int
	}{
		{name: "none", stored: func(int) bool { return true }},
		{name: "one can't be published", failures: map[int]error{3: never}, stored: func(i int) bool { return i != 3 },
			permanent: []int{3}},
		{name: "two can't be published", failures: map[int]error{3: never, 150: never},
			stored: func(i int) bool { return i != 3 && i != 150 }, permanent: []int{3, 150}},
		// Requests in flight at the time of a failure may succeed. None of the second hundred is sent.
		{name: "one fails", failures: map[int]error{3: later}, stored: func(i int) bool { return i < 10 && i != 3 }},
		{name: "the topic is unavailable", failures: map[int]error{3: gone},
			stored: func(i int) bool { return i < 10 && i != 3 }},
		{name: "one fails, and another can't be published", failures: map[int]error{3: later, 5: never},
			stored: func(i int) bool { return i < 10 && i != 3 && i != 5 }, permanent: []int{5}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fate := map[string]error{}
				for i, err := range test.failures {
					fate[changes[i].Message().ID] = err
				}
				topic := &changesTopic{refuseOne: func(id string) error { return fate[id] }}
				errs := (&ingest.Announcer{Changes: topic, Log: slog.New(slog.DiscardHandler)}).Announce(t.Context(), changes)
				for i, err := range errs {
					published := slices.Contains(topic.published, changes[i].Message().ID)
					if published != (err == nil) {
						t.Errorf("change %d: published = %v with error %v, want the change published or an error", i, published, err)
					}
					if permanent := errors.Is(err, events.ErrPermanent); permanent != slices.Contains(test.permanent, i) {
						t.Errorf("change %d: error = %v, want a permanent one: %v", i, err, !permanent)
					}
					if test.stored(i) != published && (i < 10 || i >= people) {
						t.Errorf("change %d: published = %v with error %v, want published %v", i, published, err, test.stored(i))
					}
				}
			})
		})
	}
}
