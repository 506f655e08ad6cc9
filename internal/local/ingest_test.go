package local

import (
	"testing"
	"time"
)

func TestPauseAfter(t *testing.T) {
	const search, batch = 3 * time.Second, time.Second // times to reach the offset, and for each batch
	for _, test := range []struct {
		readFor   time.Duration
		continues bool
		want      int // batches until it pauses
	}{
		{10 * time.Second, true, 11}, {3 * time.Second, true, 4},
		{time.Second, true, 4}, {time.Nanosecond, true, 4}, // as long as reaching the offset took
		{10 * time.Second, false, 8}, {time.Nanosecond, false, 1}, // no offset to reach
	} {
		now := time.UnixMilli(0)
		pause := pauseAfter(test.readFor, func() time.Time { return now }, test.continues)
		now = now.Add(search)
		got := 1
		for ; !pause(t.Context()); got++ {
			now = now.Add(batch)
		}
		if got != test.want {
			t.Errorf("readFor %s, continues %t: paused after %d batches, want %d", test.readFor, test.continues, got, test.want)
		}
	}
}
