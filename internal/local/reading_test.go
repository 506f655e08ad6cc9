package local

import (
	"testing"
	"time"
)

func TestPauseAfter(t *testing.T) {
	const search, batch = 3 * time.Second, time.Second // how long it takes to come to the place, and then each batch
	for _, test := range []struct {
		stretch time.Duration
		want    int // batches until it pauses
	}{
		{10 * time.Second, 11}, {3 * time.Second, 4},
		{time.Second, 4}, {time.Nanosecond, 4}, // as long as the search took
	} {
		now := time.UnixMilli(0)
		pause := pauseAfter(test.stretch, func() time.Time { return now })
		now = now.Add(search)
		got := 1
		for ; !pause(t.Context()); got++ {
			now = now.Add(batch)
		}
		if got != test.want {
			t.Errorf("reading for %s: paused after %d batches, want %d", test.stretch, got, test.want)
		}
	}
}
