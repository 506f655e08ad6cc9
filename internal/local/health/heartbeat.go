package health

import (
	"sync"
	"time"

	"github.com/flavorless/flavorless/api"
)

const (
	maxFailures   = 3               // a stage is failing after this many failures in a row
	failureMemory = 6 * time.Minute // a failure this old no longer counts: no stage waits longer between two tries
)

// Heartbeats are the heartbeats of all stages by name.
type Heartbeats struct {
	clock func() time.Time

	mu     sync.Mutex
	stages map[string]*Heartbeat
}

// NewHeartbeats returns an empty set of heartbeats.
func NewHeartbeats(clock func() time.Time) *Heartbeats {
	return &Heartbeats{clock: clock, stages: map[string]*Heartbeat{}}
}

// Of returns the heartbeat of a stage. A stage that was not known before is healthy.
func (h *Heartbeats) Of(stage string) *Heartbeat {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stages[stage] == nil {
		h.stages[stage] = &Heartbeat{clock: h.clock}
	}
	return h.stages[stage]
}

func (h *Heartbeats) conditions() map[string]api.Condition {
	h.mu.Lock()
	defer h.mu.Unlock()
	conditions := map[string]api.Condition{}
	for stage, b := range h.stages {
		conditions[stage] = b.condition()
	}
	return conditions
}

// Heartbeat records how the work of one stage goes.
type Heartbeat struct {
	clock func() time.Time

	mu       sync.Mutex
	stopped  bool
	failures int // in a row
	last     time.Time
}

// Beat records the outcome of a try.
func (b *Heartbeat) Beat(ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ok {
		b.failures = 0
		return
	}
	b.failures++
	b.last = b.clock()
}

// Stop records that the stage has ended by itself.
func (b *Heartbeat) Stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = true
}

func (b *Heartbeat) condition() api.Condition {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.stopped:
		return api.Stopped
	case b.failures >= maxFailures && b.clock().Sub(b.last) < failureMemory:
		return api.Failing
	}
	return api.OK
}
