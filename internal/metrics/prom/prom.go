// Package prom records measurements for Prometheus. It is separate from package metrics so that the Lambda functions,
// which use CloudWatch, don't link it.
//
// names.go declares the name, the help text and the labels of each metric.
package prom

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/flavorless/flavorless/internal/metrics"
)

// Recorder is a metrics.Recorder that is registered with a Prometheus registry.
type Recorder struct {
	counters   map[string]*prometheus.CounterVec
	histograms map[string]*prometheus.HistogramVec
	labels     map[string][]string // names of the labels of each metric, in the order of its vector
}

// New returns a Recorder and registers its metrics. Series of declared label values exist from the start, with value 0.
func New(registry prometheus.Registerer) *Recorder {
	r := &Recorder{
		counters:   map[string]*prometheus.CounterVec{},
		histograms: map[string]*prometheus.HistogramVec{},
		labels:     map[string][]string{},
	}
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
		for _, values := range d.initial() {
			if d.buckets == nil {
				r.counters[d.name].WithLabelValues(values...)
			} else {
				r.histograms[d.name].WithLabelValues(values...)
			}
		}
	}
	return r
}

// Count implements metrics.Recorder. It ignores metrics and labels that are not declared.
func (r *Recorder) Count(name string, n int64, labels ...metrics.Label) {
	if vector, values := r.counters[name], r.values(name, labels); vector != nil && values != nil {
		vector.WithLabelValues(values...).Add(float64(n))
	}
}

// Observe implements metrics.Recorder. It ignores metrics and labels that are not declared. A negative duration, which
// a clock that was set back can cause, counts as 0.
func (r *Recorder) Observe(name string, d time.Duration, labels ...metrics.Label) {
	if vector, values := r.histograms[name], r.values(name, labels); vector != nil && values != nil {
		vector.WithLabelValues(values...).Observe(max(d, 0).Seconds())
	}
}

// values returns the values of the metric's labels in the order of its vector, or nil if a label is not declared.
func (r *Recorder) values(name string, labels []metrics.Label) []string {
	values := make([]string, len(r.labels[name]))
	for _, l := range labels {
		i := slices.Index(r.labels[name], l.Name)
		if i < 0 {
			return nil
		}
		values[i] = l.Value
	}
	return values
}
