package health_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/queue"
	"github.com/flavorless/flavorless/internal/local/health"
)

var now = time.Date(2026, 11, 23, 8, 19, 0, 0, time.UTC)

// server is a fake of everything that a Checker reads.
type server struct {
	tableErr, queuesErr, mirrorErr, diskErr error

	used    int64     // bytes of the reserve
	records int64     // in the outbox
	oldest  time.Time // of them
	queued  time.Time // when the oldest message was published
	dead    uint64    // letters
	lag     uint64    // of the mirror
	silent  time.Duration
	full    bool
}

func (s server) Uploads(context.Context, string, int) ([]events.Upload, error) {
	return nil, s.tableErr
}

func (s server) Backlog(context.Context) (int64, time.Time, error) { return s.records, s.oldest, nil }

func (s server) Depths(context.Context) (map[broker.Stream]queue.Depth, error) {
	return map[broker.Stream]queue.Depth{broker.Uploads: {Oldest: s.queued, Dead: s.dead}}, s.queuesErr
}

func (s server) Mirror(context.Context) (broker.Mirror, error) {
	return broker.Mirror{Lag: s.lag, Silent: s.silent, Full: s.full}, s.mirrorErr
}

func TestCheck(t *testing.T) {
	t.Parallel()
	const minFree = 64 << 20
	broken := errors.New("broken")
	old, recent := now.Add(-11*time.Minute), now.Add(-9*time.Minute)
	fail := func(times int) func(*health.Heartbeats) {
		return func(h *health.Heartbeats) {
			for range times {
				h.Of("ingest").Beat(false)
			}
		}
	}
	type conditions = map[string]api.Condition
	for name, test := range map[string]struct {
		server     server
		heartbeats func(*health.Heartbeats)
		want       conditions // of the parts that are not well
		down       bool
	}{
		"nothing is wrong":    {},
		"no bytes free":       {server: server{used: minFree}, want: conditions{"disk": api.Full}, down: true},
		"one byte too few":    {server: server{used: 1}, want: conditions{"disk": api.Full}, down: true},
		"disk can't be read":  {server: server{diskErr: broken}, want: conditions{"disk": api.Silent}, down: true},
		"table can't be read": {server: server{tableErr: broken}, want: conditions{"table": api.Silent}, down: true},
		"old outbox":          {server: server{records: 1, oldest: old}, want: conditions{"announce": api.Behind}},
		"new outbox":          {server: server{records: 1, oldest: recent}},
		"mirror is broken": {
			server: server{mirrorErr: broken}, want: conditions{"subscribers": api.Silent}, down: true,
		},
		"mirror never connected": {server: server{lag: 1, silent: -1}, want: conditions{"subscribers": api.Behind}},
		"mirror lags":            {server: server{lag: 1, silent: now.Sub(old)}, want: conditions{"subscribers": api.Behind}},
		"mirror lags briefly":    {server: server{lag: 1, silent: now.Sub(recent)}},
		"many subscribers":       {server: server{full: true}, want: conditions{"subscribers": api.Full}},
		"dead letters":           {server: server{dead: 1}, want: conditions{"ingest": api.DeadLetters}},
		"old message":            {server: server{dead: 1, queued: old}, want: conditions{"ingest": api.Behind}},
		"two failures":           {heartbeats: fail(2)},
		"three failures":         {server: server{dead: 1}, heartbeats: fail(3), want: conditions{"ingest": api.Failing}},
		"queues can't be read": {
			server: server{queuesErr: broken}, want: conditions{"queues": api.Silent, "subscribers": api.Silent}, down: true,
		},
		"success after failures": {heartbeats: func(h *health.Heartbeats) {
			fail(3)(h)
			h.Of("ingest").Beat(true)
		}},
		"stopped": {
			heartbeats: func(h *health.Heartbeats) { h.Of("ingest").Stop() },
			want:       conditions{"ingest": api.Stopped}, down: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := func() time.Time { return now }
			heartbeats := health.NewHeartbeats(clock)
			if test.heartbeats != nil {
				test.heartbeats(heartbeats)
			}
			got := health.New(health.Config{
				Heartbeats: heartbeats, Table: test.server, Queues: test.server,
				Stages:   map[broker.Stream]string{broker.Uploads: "ingest"},
				FreeDisk: func() (int64, error) { return minFree - test.server.used, test.server.diskErr }, MinFree: minFree,
				Clock: clock, Log: slog.New(slog.DiscardHandler),
			}).Check(t.Context())
			bad := map[string]api.Condition{}
			for part, condition := range got.Stages {
				if condition != api.OK {
					bad[part] = condition
				}
			}
			if test.want == nil {
				test.want = map[string]api.Condition{}
			}
			if diff := cmp.Diff(test.want, bad); diff != "" {
				t.Errorf("parts that are not well (-want +got):\n%s", diff)
			}
			if got.Down != test.down {
				t.Errorf("down = %t, want %t", got.Down, test.down)
			}
		})
	}
}
