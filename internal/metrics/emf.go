package metrics

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

// Namespace is the CloudWatch namespace of all metrics.
const Namespace = "flavorless"

// maxValues is the maximum number of values of a metric on one line.
const maxValues = 100

// EMF is a Recorder that writes measurements in CloudWatch's embedded metric format. All metrics have the dimensions
// function and stage, and one more for each label.
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
type EMF struct {
	out             io.Writer
	function, stage string
	clock           func() time.Time

	mu     sync.Mutex
	groups map[string]*group // by labels
}

// group has the metrics with the same labels, which share lines.
type group struct {
	labels    []Label
	counts    map[string]int64
	durations map[string][]float64 // milliseconds
}

// NewEMF returns a Recorder for one function. Flush writes the measurements to out.
func NewEMF(out io.Writer, function, stage string, clock func() time.Time) *EMF {
	return &EMF{out: out, function: function, stage: stage, clock: clock, groups: map[string]*group{}}
}

// Count implements Recorder.
func (e *EMF) Count(name string, n int64, labels ...Label) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.group(labels).counts[name] += n
}

// Observe implements Recorder.
func (e *EMF) Observe(name string, d time.Duration, labels ...Label) {
	e.mu.Lock()
	defer e.mu.Unlock()
	g := e.group(labels)
	g.durations[name] = append(g.durations[name], float64(d.Microseconds())/1000)
}

func (e *EMF) group(labels []Label) *group {
	var key strings.Builder
	for _, l := range labels {
		fmt.Fprintf(&key, "%q=%q,", l.Name, l.Value)
	}
	g := e.groups[key.String()]
	if g == nil {
		g = &group{labels: labels, counts: map[string]int64{}, durations: map[string][]float64{}}
		e.groups[key.String()] = g
	}
	return g
}

// Flush writes the measurements since the last Flush with one call of Write. It discards them even if Write fails.
func (e *EMF) Flush() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var lines []byte
	for _, key := range slices.Sorted(maps.Keys(e.groups)) {
		for g := e.groups[key]; len(g.counts)+len(g.durations) > 0; {
			line, err := json.Marshal(e.line(g), json.Deterministic(true))
			if err != nil {
				return fmt.Errorf("encoding metrics: %w", err)
			}
			lines = append(append(lines, line...), '\n')
		}
	}
	clear(e.groups)
	if len(lines) == 0 {
		return nil
	}
	_, err := e.out.Write(lines)
	return err
}

// metric is a MetricDefinition of the specification.
type metric struct {
	Name string
	Unit string
}

// line removes as many measurements from the group as one line can have, and returns the line.
func (e *EMF) line(g *group) map[string]any {
	members := map[string]any{"function": e.function, "stage": e.stage}
	dimensions := []string{"function", "stage"}
	for _, l := range g.labels {
		members[l.Name] = l.Value
		dimensions = append(dimensions, l.Name)
	}
	var metrics []metric
	for _, name := range slices.Sorted(maps.Keys(g.counts)) {
		members[name] = g.counts[name]
		metrics = append(metrics, metric{name, "Count"})
	}
	clear(g.counts)
	for _, name := range slices.Sorted(maps.Keys(g.durations)) {
		values := g.durations[name]
		n := min(len(values), maxValues)
		members[name] = values[:n]
		metrics = append(metrics, metric{name, "Milliseconds"})
		if g.durations[name] = values[n:]; n == len(values) {
			delete(g.durations, name)
		}
	}
	members["_aws"] = map[string]any{
		"Timestamp": e.clock().UnixMilli(),
		"CloudWatchMetrics": []any{map[string]any{
			"Namespace": Namespace, "Dimensions": [][]string{dimensions}, "Metrics": metrics,
		}},
	}
	return members
}
