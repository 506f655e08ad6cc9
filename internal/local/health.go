package local

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/internal/embedded/queue"
)

// What counts as unwell.
const (
	failures    = 3                // tries that failed one after the other
	forget      = 6 * time.Minute  // after which they are over: nothing waits longer between two tries
	patience    = 10 * time.Minute // how old the oldest thing may get that waits
	healthFor   = time.Second      // how long an answer is given again: anybody may ask
	healthProbe = 2 * time.Second  // how long a store may take to answer
)

// pulse is how a stage does, as far as its own work tells.
type pulse struct {
	mu       sync.Mutex
	ended    bool
	failures int // one after the other
	last     time.Time
}

// beat takes what came of a try.
func (p *pulse) beat(at time.Time, failed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !failed {
		p.failures = 0
		return
	}
	p.failures++
	p.last = at
}

func (p *pulse) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
}

func (p *pulse) condition(now time.Time) api.Condition {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.ended:
		return api.Stopped
	case p.failures >= failures && now.Sub(p.last) < forget:
		return api.Failing
	}
	return api.OK
}

// vitals are the pulses of all stages, and what was last said of the house's health.
type vitals struct {
	mu     sync.Mutex
	pulses map[string]*pulse

	asking sync.Mutex // one at a time looks into the stores
	asked  time.Time
	last   api.Health
}

// pulse gives that of a stage, which is well to begin with.
func (v *vitals) pulse(stage string) *pulse {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.pulses == nil {
		v.pulses = map[string]*pulse{}
	}
	if v.pulses[stage] == nil {
		v.pulses[stage] = &pulse{}
	}
	return v.pulses[stage]
}

func (v *vitals) conditions(now time.Time) map[string]api.Condition {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := map[string]api.Condition{}
	for stage, p := range v.pulses {
		all[stage] = p.condition(now)
	}
	return all
}

// health tells how each part of the house is. A part that has ended, gives no answer or has no room makes the house
// unavailable. What goes on trying, is late or gave something up does not: starting anew would mend nothing, and lose the
// keys of an issuer that is out of reach.
func (s *Server) health(ctx context.Context) api.Health {
	v := &s.vitals
	v.asking.Lock()
	defer v.asking.Unlock()
	if !v.asked.IsZero() && time.Since(v.asked) < healthFor {
		return v.last
	}
	// Whoever asks may go away, and the next gets the same answer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healthProbe)
	defer cancel()
	h := api.Health{Stages: v.conditions(s.cfg.Clock())}
	reasons := map[string]error{}
	// note says how a part is, unless something worse is known.
	note := func(part string, c api.Condition, err error) {
		if known := h.Stages[part]; known == "" || known == api.OK {
			h.Stages[part], reasons[part] = c, err
		}
	}
	s.lookAtTable(ctx, note)
	s.lookAtQueues(ctx, note)
	free, err := s.cfg.Limits.FreeDisk(s.folder.dir)
	note("disk", conditionOfDisk(free, s.cfg.Limits.MinFree, err), err)
	for part, c := range h.Stages {
		// Without free consumers, only new NATS subscribers are refused.
		h.Down = h.Down || c == api.Stopped || c == api.Silent || c == api.Full && part != "subscribers"
		s.logHealth(ctx, part, v.last.Stages[part], c, reasons[part])
	}
	v.last, v.asked = h, time.Now()
	return h
}

func (s *Server) lookAtTable(ctx context.Context, note func(string, api.Condition, error)) {
	_, err := s.db.Uploads(ctx, "", 1)
	records, oldest, failed := s.db.Backlog(ctx)
	if err = errors.Join(err, failed); err != nil {
		note("table", api.Silent, err)
		return
	}
	note("table", api.OK, nil)
	if records > 0 && s.age(oldest) > patience {
		note("announce", api.Behind, nil)
	}
}

func (s *Server) lookAtQueues(ctx context.Context, note func(string, api.Condition, error)) {
	depths, err := s.streams.Depths(ctx)
	if err != nil {
		note("queues", api.Silent, err)
		note("subscribers", api.Silent, err)
		return
	}
	note("queues", api.OK, nil)
	mirror, err := s.streams.Mirror(ctx)
	switch {
	case err != nil:
		note("subscribers", api.Silent, err)
	case mirror.Lag > 0 && (mirror.Silent < 0 || mirror.Silent > patience):
		note("subscribers", api.Behind, nil)
	case mirror.Full:
		note("subscribers", api.Full, nil)
	default:
		note("subscribers", api.OK, nil)
	}
	for _, c := range s.consumers() {
		note(c.stage, conditionOf(depths[c.stream], s.age(depths[c.stream].Oldest)), nil)
	}
}

// conditionOf is how a queue lets its stage look. Both is worth a person's look; being behind is the more urgent.
func conditionOf(d queue.Depth, age time.Duration) api.Condition {
	switch {
	case age > patience:
		return api.Behind
	case d.Dead > 0:
		return api.DeadLetters
	}
	return api.OK
}

// conditionOfDisk calls a disk full that takes no uploads any more.
func conditionOfDisk(free, reserve int64, err error) api.Condition {
	switch {
	case err != nil:
		return api.Silent
	case free < reserve:
		return api.Full
	}
	return api.OK
}

// logHealth says what the answer does not, once.
func (s *Server) logHealth(ctx context.Context, part string, before, now api.Condition, err error) {
	switch {
	case now == before, now == api.OK && before == "":
	case now == api.OK:
		s.cfg.Log.InfoContext(ctx, "well again", "stage", part, "was", before)
	case err != nil:
		s.cfg.Log.WarnContext(ctx, "unwell", "stage", part, "condition", now, "error", err)
	default:
		s.cfg.Log.WarnContext(ctx, "unwell", "stage", part, "condition", now)
	}
}

// watchGateway fails when the bucket takes no more uploads without having been told to stop.
func (s *Server) watchGateway(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.gateway.Done():
	}
	if s.stopping.Load() {
		return nil
	}
	return errors.New("it accepts no more connections")
}
