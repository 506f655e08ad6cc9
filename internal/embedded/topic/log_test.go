package topic_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/brokertest"
	"github.com/flavorless/flavorless/internal/testutil"
)

func TestChangesStart(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	more := func() { s.Announce(t, "dan") }
	s.Announce(t, "andy", "bill", "cedric")
	for name, c := range map[string]struct {
		from events.Start
		want []string
	}{
		"the beginning":      {events.Start{Beginning: true}, []string{"1 andy", "2 bill"}},
		"beginning and time": {events.Start{Beginning: true, Since: time.Now().Add(time.Hour)}, []string{"1 andy", "2 bill"}},
		"a position":         {events.Start{After: 1}, []string{"2 bill", "3 cedric"}},
		"a time":             {events.Start{Since: time.Now().Add(-time.Hour)}, []string{"1 andy", "2 bill"}},
		"position and time":  {events.Start{After: 2, Since: time.Now().Add(-time.Hour)}, []string{"3 cedric"}},
	} {
		if diff := cmp.Diff(c.want, s.ReadLog(t, c.from, len(c.want), nil)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if diff := cmp.Diff([]string{"4 dan"}, s.ReadLog(t, events.Start{}, 1, more)); diff != "" {
		t.Errorf("without a start (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"5 dan"}, s.ReadLog(t, events.Start{After: 4}, 1, more)); diff != "" {
		t.Errorf("after the last position (-want +got):\n%s", diff)
	}
	if _, _, err := s.Changes(t.Context(), events.Start{After: 6}); !errors.Is(err, events.ErrOutOfRetention) {
		t.Errorf("Changes after a position that does not exist: %v, want events.ErrOutOfRetention", err)
	}
}

// TestChangesOfEmptyLog checks that a reader that comes before the first change gets position 0. It reads everything
// from there, also after a restart.
func TestChangesOfEmptyLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := brokertest.Start(t, dir)
	for name, from := range map[string]events.Start{
		"no start": {}, "the beginning": {Beginning: true}, "a time": {Since: time.Now().Add(-time.Hour)},
	} {
		if position, _, err := s.Changes(t.Context(), from); err != nil || position != 0 {
			t.Errorf("Changes with %s: position %d, %v; want 0", name, position, err)
		}
	}
	s.Announce(t, "andy")
	s.Stop()
	s = brokertest.Start(t, dir)
	if diff := cmp.Diff([]string{"1 andy"}, s.ReadLog(t, events.Start{Beginning: true}, 1, nil)); diff != "" {
		t.Errorf("after the restart (-want +got):\n%s", diff)
	}
}

// TestChangesWithoutConsumer checks that readers need no consumers, so thousands may come and go.
func TestChangesWithoutConsumer(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	s.Announce(t, "andy")
	s.ReadLog(t, events.Start{Since: time.Now().Add(-time.Hour)}, 1, nil)
	conn, _ := s.Subscriber(t)
	js := brokertest.JetStream(t, conn)
	testutil.WaitFor(t, "no consumer", func() bool {
		stream, err := js.Stream(t.Context(), "CHANGES")
		if err != nil {
			t.Fatal(err)
		}
		return stream.CachedInfo().State.Consumers == 0
	})
}

func TestChangesOutOfRetention(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir(), func(c *broker.Config) { c.ChangesBytes = 8 << 10 })
	began := time.Now()
	s.Announce(t, "andy")
	_, log, err := s.Changes(t.Context(), events.Start{Since: began.Add(-time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	for range 15 { // more than recent holds
		s.Publish(t, broker.Changes, slices.Repeat([]events.Message{brokertest.Change(t, "bill")}, 100)...)
	}
	for name, from := range map[string]events.Start{
		"a position": {After: 1}, "the beginning": {Beginning: true}, "a time": {Since: began},
	} {
		if _, _, err := s.Changes(t.Context(), from); !errors.Is(err, events.ErrOutOfRetention) {
			t.Errorf("Changes from %s that is not retained: %v, want events.ErrOutOfRetention", name, err)
		}
	}
	// A slow reader gets an error, rather than a gap.
	last := uint64(0)
	for a, err := range log {
		if errors.Is(err, events.ErrOutOfRetention) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if last++; a.Sequence != last {
			t.Fatalf("read position %d, want %d", a.Sequence, last)
		}
	}
}

// TestManyFollowers checks that as many readers as the API allows each read everything in order. Half of them lag so
// far behind that they have to fetch, and their shared connection is cut meanwhile.
func TestManyFollowers(t *testing.T) {
	testutil.SkipIfShort(t)
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	const readers, changes = 250, 2000
	ctx, cancel := context.WithTimeout(t.Context(), brokertest.Timeout)
	defer cancel()
	announced := make(chan struct{})
	var all sync.WaitGroup
	for i := range readers {
		_, log, err := s.Changes(ctx, events.Start{})
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			if i%2 == 1 {
				<-announced
			}
			want := uint64(1)
			for a, err := range log {
				if err != nil || a.Sequence != want {
					t.Errorf("reader %d: position %d, %v; want %d", i, a.Sequence, err, want)
					return
				}
				if want++; want > changes {
					return
				}
			}
			t.Errorf("reader %d: ended before position %d", i, want)
		})
	}
	for range changes / 100 {
		s.Publish(t, broker.Changes, slices.Repeat([]events.Message{brokertest.Change(t, "andy")}, 100)...)
	}
	close(announced)
	if err := s.Reconnect(); err != nil {
		t.Error(err)
	}
	all.Wait()
}

// TestLostAnswers checks that followers request a change again if the beginning of an answer was lost, because only
// changes that were dropped are out of retention.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	s.Announce(t, "andy", "bill", "cedric")
	first, second := s.Miss(t.Context(), 2, 3)
	if first != nil || !errors.Is(second, events.ErrOutOfRetention) {
		t.Errorf("a change that is stored was missed: %v, then %v; want nil, then events.ErrOutOfRetention", first, second)
	}
	if first, _ = s.Miss(t.Context(), 0, 3); !errors.Is(first, events.ErrOutOfRetention) {
		t.Errorf("a change that was dropped was missed: %v, want events.ErrOutOfRetention", first)
	}
}
