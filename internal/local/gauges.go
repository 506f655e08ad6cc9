package local

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/flavorless/flavorless/internal/embedded/sqlite"
)

// gaugesTimeout is how long reading a part may take; its metrics are missing otherwise.
const gaugesTimeout = 2 * time.Second

// Metrics that are read at each scrape.
var (
	descMessages = prometheus.NewDesc("flavorless_queue_messages",
		"Messages by queue and state: pending, in_flight or dead (letters).", []string{"queue", "state"}, nil)
	descOldest = prometheus.NewDesc("flavorless_queue_oldest_age_seconds",
		"Age of the oldest message that is pending or in flight; 0 if there is none.", []string{"queue"}, nil)
	descOutbox = prometheus.NewDesc("flavorless_outbox_records",
		"Records of changes that are stored but not announced yet, one for each batch.", nil, nil)
	descOutboxOldest = prometheus.NewDesc("flavorless_outbox_oldest_age_seconds",
		"Time since the upload of the file that the oldest of these records belongs to; 0 if there is none.", nil, nil)
	descDisk   = prometheus.NewDesc("flavorless_disk_free_bytes", "Free space on the disk of the data folder.", nil, nil)
	descErrors = prometheus.NewDesc("flavorless_scrape_errors_total",
		"Failures to read a part for this page, by part.", []string{"part"}, nil)
)

// gauges reads the state of the queues, the outbox and the disk when Prometheus asks for it. If a part can't be read,
// its metrics are missing and the failure is counted.
type gauges struct {
	db      *sqlite.DB
	streams *streams
	queues  []consumer
	disk    diskSpace
	clock   func() time.Time
	log     *slog.Logger

	mu     sync.Mutex
	errors map[string]int // by part
}

// Describe implements [prometheus.Collector].
func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descMessages, descOldest, descOutbox, descOutboxOldest, descDisk, descErrors} {
		ch <- d
	}
}

// gaugeFunc reports the value of a gauge.
type gaugeFunc func(d *prometheus.Desc, value float64, labels ...string)

// Collect implements [prometheus.Collector].
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	g.collect(ch, "queues", g.readQueues)
	g.collect(ch, "outbox", g.readOutbox)
	g.collect(ch, "disk", g.readDisk)
}

func (g *gauges) collect(ch chan<- prometheus.Metric, part string, read func(context.Context, gaugeFunc) error) {
	ctx, cancel := context.WithTimeout(context.Background(), gaugesTimeout) // Collect gets no context
	defer cancel()
	err := read(ctx, func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	})
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		g.errors[part]++
		g.log.WarnContext(ctx, "reading metrics failed", "part", part, "error", err)
	}
	ch <- prometheus.MustNewConstMetric(descErrors, prometheus.CounterValue, float64(g.errors[part]), part)
}

func (g *gauges) readQueues(ctx context.Context, gauge gaugeFunc) error {
	depths, err := g.streams.Depths(ctx)
	if err != nil {
		return err
	}
	for _, q := range g.queues {
		d := depths[q.stream]
		gauge(descMessages, float64(d.Pending), q.label, "pending")
		gauge(descMessages, float64(d.InFlight), q.label, "in_flight")
		gauge(descMessages, float64(d.Dead), q.label, "dead")
		gauge(descOldest, g.age(d.Oldest), q.label)
	}
	return nil
}

func (g *gauges) readOutbox(ctx context.Context, gauge gaugeFunc) error {
	records, oldest, err := g.db.Backlog(ctx)
	if err != nil {
		return err
	}
	gauge(descOutbox, float64(records))
	gauge(descOutboxOldest, g.age(oldest))
	return nil
}

func (g *gauges) readDisk(_ context.Context, gauge gaugeFunc) error {
	free, err := g.disk.free()
	if err != nil {
		return err
	}
	gauge(descDisk, float64(free))
	return nil
}

// age returns the age of t in seconds, or 0 if t is zero or in the future.
func (g *gauges) age(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return max(g.clock().Sub(t), 0).Seconds()
}
