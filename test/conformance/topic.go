// Package conformance holds what every adapter of a port has to keep, whatever it is built on. An adapter's own test
// runs the suite of its port.
package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/testutil"
)

// Received is a message as a consumer gets it.
type Received struct {
	Attributes map[string]string
	Body       []byte
	Tries      int // deliveries so far, this one included
}

// Topic is a topic with one queue behind it, both empty.
type Topic struct {
	Subject  string // of messages that the topic takes
	TooLarge int    // a body of so many bytes is refused
	TextOnly bool   // bodies have to be text, as with SNS
	MaxTries int    // deliveries after which the queue gives a message up; at least 2

	// Publish returns one error a message, nil for those that are stored.
	Publish func(ctx context.Context, msgs []events.Message) []error
	// Consume runs until ctx ends, and returns nil then. Handle returns one error a message.
	Consume func(ctx context.Context, handle func(context.Context, []Received) []error) error
	// DeadLetters lists the dead letters.
	DeadLetters func(ctx context.Context) ([]Received, error)
}

// TestTopic holds a topic and its queue to their contract: at least once, retries, dead letters. Open gives a fresh
// one.
func TestTopic(t *testing.T, open func(t *testing.T) Topic) {
	tests := map[string]func(*testing.T, Topic){
		"what is published arrives unchanged":          arrives,
		"nothing published is nothing failed":          nothing,
		"concurrent publishers lose nothing":           concurrent,
		"one bad message does not stop the others":     perEntry,
		"what can never be sent is a permanent error":  permanent,
		"a failed message comes again, with its tries": comesAgain,
		"a permanent failure is a dead letter at once": deadAtOnce,
		"retries are bounded":                          bounded,
		"what a stopped consumer left comes later":     comesLater,
		"a cancelled publish says so":                  cancelled,
	}
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tests[name](t, open(t))
		})
	}
}

func arrives(t *testing.T, topic Topic) {
	want := []Received{
		{map[string]string{"type": topic.Subject, "person": "Zoë", "flavor": "crème brûlée 🍦", "n-1_x": "a, b; c=\"d\" 100%"}, []byte(`{"n":1}`), 1},
		{map[string]string{"type": "a"}, []byte("line\r\nline\x00\xff"), 1},
		{nil, []byte("no attributes"), 1},
		{nil, []byte(strings.Repeat("60 KB ", 10_000)), 1},
	}
	if topic.TextOnly {
		want = slices.Delete(want, 1, 2)
	}
	var msgs []events.Message
	for i, w := range want {
		msgs = append(msgs, events.Message{ID: fmt.Sprint("é/", i), Subject: topic.Subject, Attributes: w.Attributes, Body: w.Body})
	}
	publish(t, topic, msgs...)
	got := consume(t, topic, len(want), func(Received) error { return nil })
	for _, w := range want {
		g := got[string(w.Body)]
		if len(g) == 0 {
			t.Errorf("%.20q did not arrive", w.Body)
			continue
		}
		if len(g[0].Attributes) == 0 {
			g[0].Attributes = nil
		}
		if diff := cmp.Diff(w, g[0]); diff != "" {
			t.Errorf("got other than what was published (-want +got):\n%s", diff)
		}
	}
}

func nothing(t *testing.T, topic Topic) {
	if errs := topic.Publish(t.Context(), nil); len(errs) != 0 {
		t.Errorf("got %v for no messages", errs)
	}
}

func concurrent(t *testing.T, topic Topic) {
	const publishers, calls, each = 8, 5, 10
	var all sync.WaitGroup
	for p := range publishers {
		all.Go(func() {
			for c := range calls {
				var msgs []events.Message
				for i := range each {
					msgs = append(msgs, message(topic, fmt.Sprintf("%d-%d-%d", p, c, i)))
				}
				for i, err := range topic.Publish(t.Context(), msgs) {
					if err != nil {
						t.Errorf("publishing %s: %v", msgs[i].ID, err)
					}
				}
			}
		})
	}
	all.Wait()
	got := consume(t, topic, publishers*calls*each, func(Received) error { return nil })
	if want := publishers * calls * each; len(got) != want {
		t.Errorf("got %d different messages, want %d", len(got), want)
	}
}

// unsendable gives messages that no topic takes.
func unsendable(topic Topic) map[string]events.Message {
	with := func(change func(*events.Message)) events.Message {
		m := message(topic, "bad")
		change(&m)
		return m
	}
	return map[string]events.Message{
		"too large":         with(func(m *events.Message) { m.Body = make([]byte, topic.TooLarge) }),
		"empty body":        with(func(m *events.Message) { m.Body = nil }),
		"empty attribute":   with(func(m *events.Message) { m.Attributes = map[string]string{"flavor": ""} }),
		"attribute no name": with(func(m *events.Message) { m.Attributes = map[string]string{"": "x"} }),
		"attribute control": with(func(m *events.Message) { m.Attributes = map[string]string{"flavor": "a\r\nb: c"} }),
		"attribute bytes":   with(func(m *events.Message) { m.Attributes = map[string]string{"flavor": "\xff"} }),
		"attribute colon":   with(func(m *events.Message) { m.Attributes = map[string]string{"a: b": "x"} }),
	}
}

func permanent(t *testing.T, topic Topic) {
	for name, m := range unsendable(topic) {
		errs := topic.Publish(t.Context(), []events.Message{m})
		if len(errs) != 1 || !errors.Is(errs[0], events.ErrPermanent) {
			t.Errorf("%s: got %v, want events.ErrPermanent", name, errs)
		}
	}
}

func perEntry(t *testing.T, topic Topic) {
	msgs := []events.Message{message(topic, "first")}
	for _, m := range unsendable(topic) {
		msgs = append(msgs, m, message(topic, fmt.Sprint("good ", len(msgs))))
	}
	good := 0
	for i, err := range topic.Publish(t.Context(), msgs) {
		if bad := i%2 == 1; bad != (err != nil) || bad && !errors.Is(err, events.ErrPermanent) {
			t.Errorf("message %d: got %v", i, err)
		}
		if err == nil {
			good++
		}
	}
	if got := consume(t, topic, good, func(Received) error { return nil }); len(got) != good {
		t.Errorf("got %d messages, want %d", len(got), good)
	}
}

func comesAgain(t *testing.T, topic Topic) {
	publish(t, topic, message(topic, "a"), message(topic, "b"), message(topic, "fails once"), message(topic, "c"))
	var mu sync.Mutex
	failed := false
	got := consume(t, topic, 5, func(r Received) error {
		mu.Lock()
		defer mu.Unlock()
		if string(r.Body) == "fails once" && !failed {
			failed = true
			return errors.New("not now")
		}
		return nil
	})
	tries := []int{}
	for _, r := range got["fails once"] {
		tries = append(tries, r.Tries)
	}
	if diff := cmp.Diff([]int{1, 2}, tries); diff != "" {
		t.Errorf("tries (-want +got):\n%s", diff)
	}
	if len(got) != 4 {
		t.Errorf("got %d different messages, want 4", len(got))
	}
}

func deadAtOnce(t *testing.T, topic Topic) {
	m := message(topic, "poison")
	m.Attributes = map[string]string{"flavor": "crème"}
	publish(t, topic, m, message(topic, "fine"))
	got := consume(t, topic, 2, func(r Received) error {
		if string(r.Body) == "poison" {
			return fmt.Errorf("no batch: %w", events.ErrPermanent)
		}
		return nil
	})
	if n := len(got["poison"]); n != 1 {
		t.Errorf("poison was delivered %d times, want 1", n)
	}
	dead := awaitDead(t, topic, 1)
	if diff := cmp.Diff(m.Attributes, dead[0].Attributes); diff != "" || string(dead[0].Body) != "poison" {
		t.Errorf("dead letter %q, attributes (-want +got):\n%s", dead[0].Body, diff)
	}
}

func bounded(t *testing.T, topic Topic) {
	publish(t, topic, message(topic, "always fails"))
	got := consume(t, topic, topic.MaxTries, func(Received) error { return errors.New("never") })
	if n := len(got["always fails"]); n != topic.MaxTries {
		t.Errorf("delivered %d times, want %d", n, topic.MaxTries)
	}
	if dead := awaitDead(t, topic, 1); string(dead[0].Body) != "always fails" {
		t.Errorf("got dead letter %q", dead[0].Body)
	}
}

func comesLater(t *testing.T, topic Topic) {
	publish(t, topic, message(topic, "a"), message(topic, "b"))
	ctx, cancel := context.WithTimeout(t.Context(), testutil.Timeout)
	defer cancel()
	err := topic.Consume(ctx, func(ctx context.Context, group []Received) []error {
		cancel()
		<-ctx.Done()
		return slices.Repeat([]error{ctx.Err()}, len(group))
	})
	if err != nil {
		t.Fatalf("Consume: %v", err)
	}
	if got := consume(t, topic, 2, func(Received) error { return nil }); len(got) != 2 {
		t.Errorf("got %d messages after the stop, want 2", len(got))
	}
}

func cancelled(t *testing.T, topic Topic) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	msgs := make([]events.Message, 100)
	for i := range msgs {
		msgs[i] = message(topic, strconv.Itoa(i))
	}
	stored := 0
	for _, err := range topic.Publish(ctx, msgs) {
		if err == nil {
			stored++
		} else if errors.Is(err, events.ErrPermanent) {
			t.Errorf("got %v, which is not the message's fault", err)
		}
	}
	if got := consume(t, topic, stored, func(Received) error { return nil }); len(got) < stored {
		t.Errorf("got %d messages, want at least the %d without an error", len(got), stored)
	}
}

func message(topic Topic, body string) events.Message {
	return events.Message{ID: body, Subject: topic.Subject, Attributes: map[string]string{"type": topic.Subject}, Body: []byte(body)}
}

func publish(t *testing.T, topic Topic, msgs ...events.Message) {
	t.Helper()
	for i, err := range topic.Publish(t.Context(), msgs) {
		if err != nil {
			t.Fatalf("publishing %q: %v", msgs[i].ID, err)
		}
	}
}

// consume handles messages until at least so many were delivered, and returns the deliveries by body, in order.
func consume(t *testing.T, topic Topic, deliveries int, handle func(Received) error) map[string][]Received {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testutil.Timeout)
	defer cancel()
	var mu sync.Mutex
	got := map[string][]Received{}
	n := 0
	if deliveries == 0 {
		return got
	}
	err := topic.Consume(ctx, func(_ context.Context, group []Received) []error {
		errs := make([]error, len(group))
		mu.Lock()
		defer mu.Unlock()
		for i, r := range group {
			errs[i] = handle(r)
			got[string(r.Body)] = append(got[string(r.Body)], r)
			n++
		}
		if n >= deliveries {
			cancel()
		}
		return errs
	})
	if err != nil {
		t.Fatalf("Consume: %v", err)
	}
	if n < deliveries {
		t.Errorf("got %d deliveries in %s, want %d", n, testutil.Timeout, deliveries)
	}
	return got
}

// awaitDead waits for dead letters, consuming meanwhile: some queues move a message only when it would be delivered
// once more.
func awaitDead(t *testing.T, topic Topic, n int) []Received {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testutil.Timeout)
	defer cancel()
	var consuming sync.WaitGroup
	consuming.Go(func() {
		err := topic.Consume(ctx, func(_ context.Context, group []Received) []error {
			return slices.Repeat([]error{errors.New("never")}, len(group))
		})
		if err != nil {
			t.Errorf("Consume: %v", err)
		}
	})
	defer consuming.Wait()
	defer cancel()
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		dead, err := topic.DeadLetters(ctx)
		if err != nil {
			t.Fatalf("reading dead letters: %v", err)
		}
		if len(dead) >= n {
			return dead
		}
		select {
		case <-ctx.Done():
			t.Fatalf("got %d dead letters in %s, want %d", len(dead), testutil.Timeout, n)
		case <-tick.C:
		}
	}
}
