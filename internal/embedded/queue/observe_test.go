package queue_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/brokertest"
	"github.com/flavorless/flavorless/internal/embedded/queue"
	"github.com/flavorless/flavorless/internal/testutil"
)

// TestObserve checks that Observe gets one outcome per delivery, and that every line of the log about a message has its
// id and its upload.
func TestObserve(t *testing.T) {
	var log bytes.Buffer
	s := brokertest.Start(t, t.TempDir(), func(c *broker.Config) { c.Logger = slog.New(slog.NewJSONHandler(&log, nil)) })
	before := time.Now()
	for _, id := range []string{"good", "once", "never", "poison", "stuck"} {
		m := brokertest.Update(id)
		m.Attributes["upload"] = "upload of " + id
		s.Publish(t, broker.Updates, m)
	}
	if d := depth(t, s); d.Pending != 5 || d.Oldest.Before(before.Add(-time.Second)) || d.Oldest.After(time.Now()) {
		t.Errorf("depth before consuming = %+v, want 5 pending and the oldest one new", d)
	}
	seen, ended, rounds := map[queue.Outcome]int{}, 0, 0
	ctx, cancel := context.WithTimeout(t.Context(), brokertest.Timeout)
	defer cancel()
	err := s.Consume(ctx, queue.Config{
		Stream: broker.Updates, MaxTries: 2, MaxMessages: 1, Backoff: brokertest.NoBackoff, Pause: time.Millisecond,
		Observe: func(o queue.Outcome) {
			seen[o]++
			if o == queue.Done || o == queue.DeadLettered {
				ended++
			}
			if ended == 5 {
				cancel()
			}
		},
	}, func(_ context.Context, group []queue.Delivery) []error {
		d := group[0]
		switch {
		case d.ID == "poison":
			return []error{events.ErrPermanent}
		case d.ID == "never", d.ID == "once" && d.Tries == 1:
			return []error{errors.New("not now")}
		case d.ID == "stuck" && rounds < 3:
			rounds++
			return []error{events.ErrUnavailable}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[queue.Outcome]int{queue.Done: 3, queue.Waiting: 3, queue.Retried: 2, queue.DeadLettered: 2}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	testutil.WaitFor(t, "an empty queue", func() bool {
		d := depth(t, s)
		return d.Pending+d.InFlight == 0 && d.Oldest.IsZero() && d.Dead == 2
	})

	s.Stop() // ends the log
	uploads, waited := map[string]bool{}, false
	for line := range bytes.Lines(log.Bytes()) {
		var entry struct{ Msg, ID, Upload string }
		if err := json.Unmarshal(line, &entry); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if entry.ID != "" && entry.Upload != "upload of "+entry.ID {
			t.Errorf("line of message %s has upload %q: %s", entry.ID, entry.Upload, line)
		}
		uploads[entry.ID] = true
		waited = waited || entry.Upload == "upload of stuck"
	}
	if got := slices.Sorted(maps.Keys(uploads)); !waited || !uploads["once"] || !uploads["poison"] {
		t.Errorf("log lines about the messages %q, about the waiting one: %t; want once and poison, true", got, waited)
	}
}

func depth(t *testing.T, s *brokertest.Server) queue.Depth {
	t.Helper()
	depths, err := s.Depths(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return depths[broker.Updates]
}
