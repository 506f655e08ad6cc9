package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/jetstream"
)

// announce publishes changes of these people.
func announce(t testing.TB, s *jetstream.Server, people ...string) {
	t.Helper()
	for _, p := range people {
		publish(t, s, jetstream.Changes, change(t, p))
	}
}

// readLog reads n changes: their places and people.
func readLog(t testing.TB, s *jetstream.Server, from events.Start, n int, meanwhile func()) (read []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	position, log, err := s.Changes(ctx, from)
	if err != nil {
		t.Fatal(err)
	}
	if meanwhile != nil {
		meanwhile()
	}
	for a, err := range log {
		if err != nil {
			t.Fatal(err)
		}
		if len(read) == 0 && a.Sequence != position+1 {
			t.Errorf("the first change is at position %d; Changes returned the position %d before it", a.Sequence, position)
		}
		read = append(read, fmt.Sprint(a.Sequence, " ", a.Attributes["person"]))
		want := change(t, a.Attributes["person"])
		if diff := cmp.Diff(want, a.Message); diff != "" {
			t.Errorf("message (-want +got):\n%s", diff)
		}
		if len(read) == n {
			break
		}
	}
	return read
}

func TestChangesFromAPlace(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	more := func() { announce(t, s, "dan") }
	announce(t, s, "andy", "bill", "cedric")
	for name, c := range map[string]struct {
		from events.Start
		want []string
	}{
		"at the beginning":  {events.Start{Beginning: true}, []string{"1 andy", "2 bill"}},
		"beginning, time":   {events.Start{Beginning: true, Since: time.Now().Add(time.Hour)}, []string{"1 andy", "2 bill"}},
		"behind a place":    {events.Start{After: 1}, []string{"2 bill", "3 cedric"}},
		"at a time":         {events.Start{Since: time.Now().Add(-time.Hour)}, []string{"1 andy", "2 bill"}},
		"place before time": {events.Start{After: 2, Since: time.Now().Add(-time.Hour)}, []string{"3 cedric"}},
	} {
		if diff := cmp.Diff(c.want, readLog(t, s, c.from, len(c.want), nil)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if diff := cmp.Diff([]string{"4 dan"}, readLog(t, s, events.Start{}, 1, more)); diff != "" {
		t.Errorf("what comes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"5 dan"}, readLog(t, s, events.Start{After: 4}, 1, more)); diff != "" {
		t.Errorf("behind the last (-want +got):\n%s", diff)
	}
	if _, _, err := s.Changes(t.Context(), events.Start{After: 6}); !errors.Is(err, events.ErrOutOfRetention) {
		t.Errorf("a place that never was: %v", err)
	}
}

// TestChangesOfAnEmptyLog: a reader that comes before the first change is told position 0, and finds everything when it comes
// back behind it, also after a restart.
func TestChangesOfAnEmptyLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	for name, from := range map[string]events.Start{"now": {}, "beginning": {Beginning: true}, "a time": {Since: time.Now().Add(-time.Hour)}} {
		if position, _, err := s.Changes(t.Context(), from); err != nil || position != 0 {
			t.Errorf("%s: position %d, %v; want 0", name, position, err)
		}
	}
	announce(t, s, "andy")
	s.Stop()
	if diff := cmp.Diff([]string{"1 andy"}, readLog(t, start(t, dir), events.Start{Beginning: true}, 1, nil)); diff != "" {
		t.Errorf("after the restart (-want +got):\n%s", diff)
	}
}

// A reader's consumer ends with it: thousands may come and go.
func TestChangesLeavesNoConsumer(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	announce(t, s, "andy")
	readLog(t, s, events.Start{Since: time.Now().Add(-time.Hour)}, 1, nil)
	conn, _ := subscriber(t, s)
	js, err := natsjs.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "no consumer", func() bool {
		stream, err := js.Stream(t.Context(), "CHANGES")
		if err != nil {
			t.Fatal(err)
		}
		return stream.CachedInfo().State.Consumers == 0
	})
}

func TestChangesForgotten(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), func(c *jetstream.Config) { c.ChangesBytes = 8 << 10 })
	began := time.Now()
	announce(t, s, "andy")
	_, log, err := s.Changes(t.Context(), events.Start{Since: began.Add(-time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	for range 15 { // more than are kept in memory
		publish(t, s, jetstream.Changes, slices.Repeat([]events.Message{change(t, "bill")}, 100)...)
	}
	for name, from := range map[string]events.Start{"a place": {After: 1}, "the beginning": {Beginning: true}, "a time": {Since: began}} {
		if _, _, err := s.Changes(t.Context(), from); !errors.Is(err, events.ErrOutOfRetention) {
			t.Errorf("%s that is not kept: %v", name, err)
		}
	}
	// Who was too slow is told so, rather than left to believe that there was nothing.
	last := uint64(0)
	for a, err := range log {
		if errors.Is(err, events.ErrOutOfRetention) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if last++; a.Sequence != last {
			t.Fatalf("place %d comes where %d was to come", a.Sequence, last)
		}
	}
}

// TestManyFollowers: as many readers as the API allows each read everything, in order, whether they keep up or lag behind so
// far that they have to fetch, and while their shared connection is cut.
func TestManyFollowers(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	const readers, changes = 250, 2000
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	lag := make(chan struct{}) // closed when everything is announced
	var all sync.WaitGroup
	for i := range readers {
		_, log, err := s.Changes(ctx, events.Start{})
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			if i%2 == 1 {
				<-lag
			}
			want := uint64(1)
			for a, err := range log {
				if err != nil || a.Sequence != want {
					t.Errorf("reader %d is given position %d, %v; want %d", i, a.Sequence, err, want)
					return
				}
				if want++; want > changes {
					return
				}
			}
			t.Errorf("reader %d ended before position %d", i, want)
		})
	}
	for range changes / 100 {
		publish(t, s, jetstream.Changes, slices.Repeat([]events.Message{change(t, "andy")}, 100)...)
	}
	close(lag)
	if err := s.CloseReaders(); err != nil {
		t.Error(err)
	}
	all.Wait()
}
