// Package prom records measurements for Prometheus. It is separate from package metrics so that the Lambda functions,
// which use CloudWatch, don't link it.
//
// names.go declares the name, the help text and the labels of each metric.
package prom

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/flavorless/flavorless/internal/metrics"
)

// Recorder is a metrics.Recorder that is registered with a Prometheus registry.
type Recorder struct {
	counters   map[string]*prometheus.CounterVec
	histograms map[string]*prometheus.HistogramVec
	labels     map[string][]string // names of the labels of each metric, in the order of its vector

	// resolved finds the target of a measurement without a lock and without allocation, because each request is measured.
	// It is copied when a series is added; it stays small, because labels have few values.
	resolved atomic.Pointer[map[series]target]
	mu       sync.Mutex // held while resolved is replaced
}

// series is a metric and the values of its labels, at most two.
type series struct{ name, first, second string }

// target is the counter or the histogram of a series. Both are nil if the series is not declared.
type target struct {
	counter   prometheus.Counter
	histogram prometheus.Observer
}

// New returns a Recorder and registers its metrics. Declared series exist from the start, with value 0.
func New(registry prometheus.Registerer) *Recorder {
	r := &Recorder{
		counters:   map[string]*prometheus.CounterVec{},
		histograms: map[string]*prometheus.HistogramVec{},
		labels:     map[string][]string{},
	}
	r.resolved.Store(&map[series]target{})
	for _, d := range declared() {
		var labels []string
		for _, l := range d.labels {
			labels = append(labels, l.name)
		}
		r.labels[d.name] = labels
		if d.buckets == nil {
			vector := prometheus.NewCounterVec(prometheus.CounterOpts{Name: d.promName, Help: d.help}, labels)
			registry.MustRegister(vector)
			r.counters[d.name] = vector
		} else {
			options := prometheus.HistogramOpts{Name: d.promName, Help: d.help, Buckets: d.buckets}
			vector := prometheus.NewHistogramVec(options, labels)
			registry.MustRegister(vector)
			r.histograms[d.name] = vector
		}
		for _, s := range d.series() {
			r.resolve(s)
		}
	}
	return r
}

// Count implements metrics.Recorder. It ignores metrics and labels that are not declared.
func (r *Recorder) Count(name string, n int64, labels ...metrics.Label) {
	if t := r.target(name, labels); t.counter != nil {
		t.counter.Add(float64(n))
	}
}

// Observe implements metrics.Recorder. It ignores metrics and labels that are not declared. A negative duration, which
// a clock that was set back can cause, counts as 0.
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

// resolve creates a series and adds it to resolved.
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
	resolved := maps.Clone(*r.resolved.Load())
	resolved[s] = t
	r.resolved.Store(&resolved)
	return t
}
