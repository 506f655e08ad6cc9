// Package health answers GET /healthz of the server on one machine. It combines the heartbeats of the stages with the
// state of the table, the queues and the disk.
package health

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/queue"
)

const (
	maxAge    = 10 * time.Minute // a stage is behind if its oldest message is older
	cacheTime = time.Second      // how long an answer is reused: GET /healthz needs no token
	timeout   = 2 * time.Second  // for reading the state of all parts
)

// table is the table with its outbox.
type table interface {
	Uploads(ctx context.Context, before string, limit int) ([]events.Upload, error)
	Backlog(ctx context.Context) (records int64, oldest time.Time, err error)
}

// queues are the queues, and the mirror of the changes that subscribers read.
type queues interface {
	Depths(ctx context.Context) (map[broker.Stream]queue.Depth, error)
	Mirror(ctx context.Context) (broker.Mirror, error)
}

// Config configures a [Checker]. All fields are required.
type Config struct {
	Heartbeats *Heartbeats
	Table      table
	Queues     queues
	Stages     map[broker.Stream]string // the stage that consumes each queue
	FreeDisk   func() (int64, error)    // bytes
	MinFree    int64                    // bytes; with less, no uploads are accepted
	Clock      func() time.Time
	Log        *slog.Logger
}

// Checker determines the health of the server.
type Checker struct {
	cfg Config

	mu      sync.Mutex // held during a check, so that only one runs at a time
	checked time.Time
	last    api.Health
}

// New returns a Checker.
func New(cfg Config) *Checker { return &Checker{cfg: cfg} }

// Check returns the condition of each part. The server is down if a part has stopped, does not answer or is full. A
// part that is retrying, behind, or has dead letters does not make it down: a restart would not fix that, and would
// lose the cached keys of an issuer that can't be reached. Check logs each condition that has changed.
func (c *Checker) Check(ctx context.Context) api.Health {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.checked.IsZero() && time.Since(c.checked) < cacheTime {
		return c.last
	}
	// The answer is cached for other clients, so the check continues if this one disconnects.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	r := report{conditions: c.cfg.Heartbeats.conditions(), reasons: map[string]error{}}
	c.checkTable(ctx, r)
	c.checkQueues(ctx, r)
	c.checkDisk(r)
	h := api.Health{Stages: r.conditions}
	for part, condition := range r.conditions {
		switch condition {
		case api.Stopped, api.Silent:
			h.Down = true
		case api.Full: // only new subscribers are refused if there are too many of them
			h.Down = h.Down || part != "subscribers"
		}
		c.log(ctx, part, c.last.Stages[part], condition, r.reasons[part])
	}
	c.last, c.checked = h, time.Now()
	return h
}

// report collects the conditions of all parts and the reasons for them.
type report struct {
	conditions map[string]api.Condition
	reasons    map[string]error
}

// set sets the condition of a part, unless a heartbeat has already reported a problem.
func (r report) set(part string, condition api.Condition, reason error) {
	if known := r.conditions[part]; known == "" || known == api.OK {
		r.conditions[part], r.reasons[part] = condition, reason
	}
}

func (c *Checker) checkTable(ctx context.Context, r report) {
	_, err := c.cfg.Table.Uploads(ctx, "", 1)
	records, oldest, backlogErr := c.cfg.Table.Backlog(ctx)
	if err = errors.Join(err, backlogErr); err != nil {
		r.set("table", api.Silent, err)
		return
	}
	r.set("table", api.OK, nil)
	if records > 0 && c.isOld(oldest) {
		r.set("announce", api.Behind, nil)
	}
}

func (c *Checker) checkQueues(ctx context.Context, r report) {
	depths, err := c.cfg.Queues.Depths(ctx)
	if err != nil {
		r.set("queues", api.Silent, err)
		r.set("subscribers", api.Silent, err)
		return
	}
	r.set("queues", api.OK, nil)
	mirror, err := c.cfg.Queues.Mirror(ctx)
	switch {
	case err != nil:
		r.set("subscribers", api.Silent, err)
	case mirror.Lag > 0 && (mirror.Silent < 0 || mirror.Silent > maxAge):
		r.set("subscribers", api.Behind, nil)
	case mirror.Full:
		r.set("subscribers", api.Full, nil)
	default:
		r.set("subscribers", api.OK, nil)
	}
	for stream, stage := range c.cfg.Stages {
		switch d := depths[stream]; {
		case c.isOld(d.Oldest): // more urgent than dead letters
			r.set(stage, api.Behind, nil)
		case d.Dead > 0:
			r.set(stage, api.DeadLetters, nil)
		default:
			r.set(stage, api.OK, nil)
		}
	}
}

func (c *Checker) checkDisk(r report) {
	switch free, err := c.cfg.FreeDisk(); {
	case err != nil:
		r.set("disk", api.Silent, err)
	case free < c.cfg.MinFree:
		r.set("disk", api.Full, nil)
	default:
		r.set("disk", api.OK, nil)
	}
}

func (c *Checker) isOld(t time.Time) bool { return !t.IsZero() && c.cfg.Clock().Sub(t) > maxAge }

// log logs a condition that has changed, with the reason, which GET /healthz does not reveal.
func (c *Checker) log(ctx context.Context, part string, before, now api.Condition, reason error) {
	if now == before || now == api.OK && before == "" {
		return
	}
	args := []any{"event", "health", "stage", part, "condition", string(now), "was", string(before)}
	switch {
	case now == api.OK:
		c.cfg.Log.InfoContext(ctx, "healthy again", args...)
	case reason != nil:
		c.cfg.Log.WarnContext(ctx, "unhealthy", append(args, "error", reason)...)
	default:
		c.cfg.Log.WarnContext(ctx, "unhealthy", args...)
	}
}
