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

	records int64
	oldest  time.Time
	depth   queue.Depth
	mirror  broker.Mirror
	free    int64
}

func (s server) Uploads(context.Context, string, int) ([]events.Upload, error) {
	return nil, s.tableErr
}

func (s server) Backlog(context.Context) (int64, time.Time, error) { return s.records, s.oldest, nil }

func (s server) Depths(context.Context) (map[broker.Stream]queue.Depth, error) {
	return map[broker.Stream]queue.Depth{broker.Uploads: s.depth}, s.queuesErr
}

func (s server) Mirror(context.Context) (broker.Mirror, error) { return s.mirror, s.mirrorErr }

func TestCheck(t *testing.T) {
	t.Parallel()
	const minFree = 64 << 20
	broken := errors.New("broken")
	fail := func(stage string, times int) func(*health.Heartbeats) {
		return func(h *health.Heartbeats) {
			for range times {
				h.Of(stage).Beat(false)
			}
		}
	}
	for name, test := range map[string]struct {
		server     server
		heartbeats func(*health.Heartbeats)
		want       map[string]api.Condition // of the parts that are not well
		down       bool
	}{
		"all is well":            {server{free: minFree}, nil, nil, false},
		"no bytes free":          {server{}, nil, map[string]api.Condition{"disk": api.Full}, true},
		"one byte too few":       {server{free: minFree - 1}, nil, map[string]api.Condition{"disk": api.Full}, true},
		"disk can't be read":     {server{free: minFree, diskErr: broken}, nil, map[string]api.Condition{"disk": api.Silent}, true},
		"table can't be read":    {server{free: minFree, tableErr: broken}, nil, map[string]api.Condition{"table": api.Silent}, true},
		"old outbox":             {server{free: minFree, records: 1, oldest: now.Add(-11 * time.Minute)}, nil, map[string]api.Condition{"announce": api.Behind}, false},
		"new outbox":             {server{free: minFree, records: 1, oldest: now.Add(-9 * time.Minute)}, nil, nil, false},
		"queues can't be read":   {server{free: minFree, queuesErr: broken}, nil, map[string]api.Condition{"queues": api.Silent, "subscribers": api.Silent}, true},
		"mirror can't be read":   {server{free: minFree, mirrorErr: broken}, nil, map[string]api.Condition{"subscribers": api.Silent}, true},
		"mirror lags":            {server{free: minFree, mirror: broker.Mirror{Lag: 1, Silent: 11 * time.Minute}}, nil, map[string]api.Condition{"subscribers": api.Behind}, false},
		"mirror never connected": {server{free: minFree, mirror: broker.Mirror{Lag: 1, Silent: -1}}, nil, map[string]api.Condition{"subscribers": api.Behind}, false},
		"many subscribers":       {server{free: minFree, mirror: broker.Mirror{Full: true}}, nil, map[string]api.Condition{"subscribers": api.Full}, false},
		"dead letters":           {server{free: minFree, depth: queue.Depth{Dead: 1}}, nil, map[string]api.Condition{"ingest": api.DeadLetters}, false},
		"old message":            {server{free: minFree, depth: queue.Depth{Dead: 1, Oldest: now.Add(-11 * time.Minute)}}, nil, map[string]api.Condition{"ingest": api.Behind}, false},
		"two failures":           {server{free: minFree}, fail("ingest", 2), nil, false},
		"three failures":         {server{free: minFree, depth: queue.Depth{Dead: 1}}, fail("ingest", 3), map[string]api.Condition{"ingest": api.Failing}, false},
		"ended": {server{free: minFree}, func(h *health.Heartbeats) { h.Of("ingest").Stop() },
			map[string]api.Condition{"ingest": api.Stopped}, true},
		"success after failures": {server{free: minFree}, func(h *health.Heartbeats) {
			fail("ingest", 3)(h)
			h.Of("ingest").Beat(true)
		}, nil, false},
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
				FreeDisk: func() (int64, error) { return test.server.free, test.server.diskErr }, MinFree: minFree,
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
