// Package prom keeps measurements for Prometheus to fetch. It is apart from package metrics so that functions, which
// send theirs to CloudWatch, don't carry it.
//
// All that is measured of the pipeline is declared in names.go: what it is called outside, and which values its labels
// have.
package prom

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/flavorless/flavorless/internal/metrics"
)

// Recorder is a metrics.Recorder whose measurements a Registry gives.
type Recorder struct {
	counters   map[string]*prometheus.CounterVec
	histograms map[string]*prometheus.HistogramVec
	labels     map[string][]string // by metric: names of its labels, in the order of its vector

	// Requests are measured for each of their answers, so that what a measurement goes to is found without a lock and
	// without making a key: the map is copied when something new comes. It stays small, as the labels do.
	resolved atomic.Pointer[map[series]target]
	mu       sync.Mutex // held while it is copied
}

// series is one metric with the values of its labels, at most two.
type series struct{ name, first, second string }

// target is where measurements of a series go: one of the two, or nowhere.
type target struct {
	counter   prometheus.Counter
	histogram prometheus.Observer
}

// New returns a Recorder that is part of a registry. What is declared is there from the beginning, as 0.
func New(registry prometheus.Registerer) *Recorder {
	r := &Recorder{
		counters: map[string]*prometheus.CounterVec{}, histograms: map[string]*prometheus.HistogramVec{}, labels: map[string][]string{},
	}
	r.resolved.Store(&map[series]target{})
	for _, d := range declared() {
		var labels []string
		for _, l := range d.labels {
			labels = append(labels, l.name)
		}
		r.labels[d.name] = labels
		if d.buckets == nil {
			vector := prometheus.NewCounterVec(prometheus.CounterOpts{Name: d.as, Help: d.help}, labels)
			registry.MustRegister(vector)
			r.counters[d.name] = vector
		} else {
			vector := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: d.as, Help: d.help, Buckets: d.buckets}, labels)
			registry.MustRegister(vector)
			r.histograms[d.name] = vector
		}
		for _, s := range d.series() {
			r.resolve(s)
		}
	}
	return r
}

// Count implements metrics.Recorder. What is not declared is not kept.
func (r *Recorder) Count(name string, n int64, labels ...metrics.Label) {
	if t := r.target(name, labels); t.counter != nil {
		t.counter.Add(float64(n))
	}
}

// Observe implements metrics.Recorder. What is not declared is not kept. A clock that was set back makes no negative
// durations.
func (r *Recorder) Observe(name string, d time.Duration, labels ...metrics.Label) {
	if t := r.target(name, labels); t.histogram != nil {
		t.histogram.Observe(max(d, 0).Seconds())
	}
}

func (r *Recorder) target(name string, labels []metrics.Label) target {
	s := series{name: name}
	for _, l := range labels {
		switch declared := r.labels[name]; {
		case len(declared) > 0 && l.Name == declared[0]:
			s.first = l.Value
		case len(declared) > 1 && l.Name == declared[1]:
			s.second = l.Value
		default:
			return target{}
		}
	}
	if t, ok := (*r.resolved.Load())[s]; ok {
		return t
	}
	return r.resolve(s)
}

// resolve makes a series, and keeps it among those that are found at once.
func (r *Recorder) resolve(s series) (t target) {
	values := []string{s.first, s.second}[:len(r.labels[s.name])]
	if vector := r.counters[s.name]; vector != nil {
		t.counter = vector.WithLabelValues(values...)
	} else if vector := r.histograms[s.name]; vector != nil {
		t.histogram = vector.WithLabelValues(values...)
	} else {
		return t
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	more := maps.Clone(*r.resolved.Load())
	more[s] = t
	r.resolved.Store(&more)
	return t
}
