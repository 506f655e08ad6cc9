package local

import (
	"testing"
	"time"
)

func TestPauseAfter(t *testing.T) {
	const search, batch = 3 * time.Second, time.Second // how long it takes to come to the place, and then each batch
	for _, test := range []struct {
		stretch time.Duration
		goesOn  bool
		want    int // batches until it pauses
	}{
		{10 * time.Second, true, 11}, {3 * time.Second, true, 4},
		{time.Second, true, 4}, {time.Nanosecond, true, 4}, // as long as the search took
		{10 * time.Second, false, 8}, {time.Nanosecond, false, 1}, // there was none
	} {
		now := time.UnixMilli(0)
		pause := pauseAfter(test.stretch, func() time.Time { return now }, test.goesOn)
		now = now.Add(search)
		got := 1
		for ; !pause(t.Context()); got++ {
			now = now.Add(batch)
		}
		if got != test.want {
			t.Errorf("reading for %s, going on %v: paused after %d batches, want %d", test.stretch, test.goesOn, got, test.want)
		}
	}
}
