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

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/testutil"
)

// Received is a message that a consumer receives.
type Received struct {
	Attributes map[string]string
	Body       []byte
	Tries      int // number of deliveries including this one
}

// Topic is an empty topic with one empty queue that subscribes to it.
type Topic struct {
	Subject  string // of messages that the topic accepts
	TooLarge int    // a size in bytes of bodies that the topic refuses
	TextOnly bool   // whether bodies must be text, as with SNS
	MaxTries int    // number of deliveries before a message becomes a dead letter; at least 2

	// Publish returns one error for each message, nil if the message is stored.
	Publish func(ctx context.Context, msgs []events.Message) []error
	// Consume runs until ctx ends, and then returns nil. Handle returns one error for each message.
	Consume func(ctx context.Context, handle func(context.Context, []Received) []error) error
	// DeadLetters returns all dead letters.
	DeadLetters func(ctx context.Context) ([]Received, error)
}

// TestTopic holds a topic and its queue to their contract: at least once, retries, dead letters. Open gives a fresh
// one.
func TestTopic(t *testing.T, open func(t *testing.T) Topic) {
	tests := map[string]func(*testing.T, Topic){
		"published messages arrive unchanged":                             arrives,
		"publishing no messages returns no errors":                        nothing,
		"concurrent publishers lose no messages":                          concurrent,
		"one bad message does not stop the others":                        perEntry,
		"an invalid message is a permanent error":                         permanent,
		"a failed message is redelivered with its number of tries":        redelivered,
		"a message becomes a dead letter at once after a permanent error": deadAtOnce,
		"the number of tries is limited":                                  bounded,
		"messages of a stopped consumer are redelivered":                  redeliveredAfterStop,
		"a cancelled publish returns errors":                              cancelled,
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
		{map[string]string{
			"type": topic.Subject, "person": "Zoë", "flavor": "crème brûlée 🍦", "n-1_x": "a, b; c=\"d\" 100%",
		}, []byte(`{"n":1}`), 1},
		{map[string]string{"type": "a"}, []byte("line\r\nline\x00\xff"), 1},
		{nil, []byte("no attributes"), 1},
		{nil, []byte(strings.Repeat("60 KB ", 10_000)), 1},
	}
	if topic.TextOnly {
		want = slices.Delete(want, 1, 2)
	}
	var msgs []events.Message
	for i, w := range want {
		msgs = append(msgs, events.Message{
			ID: fmt.Sprint("é/", i), Subject: topic.Subject, Attributes: w.Attributes, Body: w.Body,
		})
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
			t.Errorf("received message (-published +received):\n%s", diff)
		}
	}
}

func nothing(t *testing.T, topic Topic) {
	if errs := topic.Publish(t.Context(), nil); len(errs) != 0 {
		t.Errorf("Publish of no messages = %v, want no errors", errs)
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

// invalid returns messages that every topic refuses.
func invalid(topic Topic) map[string]events.Message {
	with := func(change func(*events.Message)) events.Message {
		m := message(topic, "bad")
		change(&m)
		return m
	}
	attributes := func(attributes map[string]string) events.Message {
		return with(func(m *events.Message) { m.Attributes = attributes })
	}
	return map[string]events.Message{
		"a large body":                  with(func(m *events.Message) { m.Body = make([]byte, topic.TooLarge) }),
		"an empty body":                 with(func(m *events.Message) { m.Body = nil }),
		"an empty attribute":            attributes(map[string]string{"flavor": ""}),
		"an attribute without a name":   attributes(map[string]string{"": "x"}),
		"control characters":            attributes(map[string]string{"flavor": "a\r\nb: c"}),
		"an attribute that is no UTF-8": attributes(map[string]string{"flavor": "\xff"}),
		"a colon in an attribute name":  attributes(map[string]string{"a: b": "x"}),
	}
}

func permanent(t *testing.T, topic Topic) {
	for name, m := range invalid(topic) {
		errs := topic.Publish(t.Context(), []events.Message{m})
		if len(errs) != 1 || !errors.Is(errs[0], events.ErrPermanent) {
			t.Errorf("Publish of a message with %s = %v, want events.ErrPermanent", name, errs)
		}
	}
}

func perEntry(t *testing.T, topic Topic) {
	msgs := []events.Message{message(topic, "first")}
	for _, m := range invalid(topic) {
		msgs = append(msgs, m, message(topic, fmt.Sprint("good ", len(msgs))))
	}
	good := 0
	for i, err := range topic.Publish(t.Context(), msgs) {
		if bad := i%2 == 1; bad != (err != nil) || bad && !errors.Is(err, events.ErrPermanent) {
			t.Errorf("Publish of message %d = %v, invalid: %t", i, err, bad)
		}
		if err == nil {
			good++
		}
	}
	if got := consume(t, topic, good, func(Received) error { return nil }); len(got) != good {
		t.Errorf("got %d messages, want %d", len(got), good)
	}
}

func redelivered(t *testing.T, topic Topic) {
	publish(t, topic, message(topic, "a"), message(topic, "b"), message(topic, "fails once"), message(topic, "c"))
	var mu sync.Mutex
	failed := false
	got := consume(t, topic, 5, func(r Received) error {
		mu.Lock()
		defer mu.Unlock()
		if string(r.Body) == "fails once" && !failed {
			failed = true
			return errors.New("injected by the test")
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
	m := message(topic, "invalid")
	m.Attributes = map[string]string{"flavor": "crème"}
	publish(t, topic, m, message(topic, "fine"))
	got := consume(t, topic, 2, func(r Received) error {
		if string(r.Body) == "invalid" {
			return fmt.Errorf("injected by the test: %w", events.ErrPermanent)
		}
		return nil
	})
	if n := len(got["invalid"]); n != 1 {
		t.Errorf("the message was delivered %d times, want once", n)
	}
	dead := waitForDeadLetters(t, topic, 1)
	if diff := cmp.Diff(m.Attributes, dead[0].Attributes); diff != "" || string(dead[0].Body) != "invalid" {
		t.Errorf("the dead letter has the body %q, want %q; attributes (-want +got):\n%s", dead[0].Body, m.Body, diff)
	}
}

func bounded(t *testing.T, topic Topic) {
	publish(t, topic, message(topic, "always fails"))
	got := consume(t, topic, topic.MaxTries, func(Received) error { return errors.New("injected by the test") })
	if n := len(got["always fails"]); n != topic.MaxTries {
		t.Errorf("the message was delivered %d times, want %d", n, topic.MaxTries)
	}
	if dead := waitForDeadLetters(t, topic, 1); string(dead[0].Body) != "always fails" {
		t.Errorf("the dead letter has the body %q, want %q", dead[0].Body, "always fails")
	}
}

func redeliveredAfterStop(t *testing.T, topic Topic) {
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
		t.Errorf("got %d messages after the consumer was stopped, want 2", len(got))
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
			t.Errorf("Publish with a cancelled context = %v, want no permanent error", err)
		}
	}
	if got := consume(t, topic, stored, func(Received) error { return nil }); len(got) < stored {
		t.Errorf("got %d messages, want at least the %d that were published without an error", len(got), stored)
	}
}

func message(topic Topic, body string) events.Message {
	return events.Message{
		ID: body, Subject: topic.Subject, Attributes: map[string]string{"type": topic.Subject}, Body: []byte(body),
	}
}

func publish(t *testing.T, topic Topic, msgs ...events.Message) {
	t.Helper()
	for i, err := range topic.Publish(t.Context(), msgs) {
		if err != nil {
			t.Fatalf("publishing %q: %v", msgs[i].ID, err)
		}
	}
}

// consume handles messages until a number of deliveries, and returns the deliveries in their order, by body.
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

// waitForDeadLetters waits for n dead letters. It consumes meanwhile, because some queues move a message only when it
// would be delivered once more.
func waitForDeadLetters(t *testing.T, topic Topic, n int) []Received {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testutil.Timeout)
	defer cancel()
	var consuming sync.WaitGroup
	consuming.Go(func() {
		err := topic.Consume(ctx, func(_ context.Context, group []Received) []error {
			return slices.Repeat([]error{errors.New("injected by the test")}, len(group))
		})
		if err != nil {
			t.Errorf("Consume: %v", err)
		}
	})
	defer consuming.Wait()
	defer cancel()
	var dead []Received
	testutil.WaitFor(t, fmt.Sprintf("%d dead letters", n), func() bool {
		var err error
		if dead, err = topic.DeadLetters(ctx); err != nil {
			t.Fatalf("DeadLetters: %v", err)
		}
		return len(dead) >= n
	})
	return dead
}
