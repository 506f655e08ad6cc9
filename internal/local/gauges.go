package local

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/local/control"
)

// gaugesTimeout bounds how long a part may take to be read; what it says is missing then.
const gaugesTimeout = 2 * time.Second

// gauges are what is read when Prometheus asks for it. A part that can't be read is missing from the answer, and counted.
type gauges struct {
	server *Server

	messages, oldest, outbox, outboxOldest, disk, errors *prometheus.Desc

	mu     sync.Mutex
	failed map[string]float64 // by part
}

func newGauges(s *Server) *gauges {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &gauges{
		server: s, failed: map[string]float64{},
		messages:     desc("flavorless_queue_messages", "Messages by queue and state: pending, in_flight or dead (letters).", "queue", "state"),
		oldest:       desc("flavorless_queue_oldest_age_seconds", "How long the oldest message waits that is pending or in flight; 0 without one.", "queue"),
		outbox:       desc("flavorless_outbox_records", "Records of changes that are stored and not announced, one for each batch."),
		outboxOldest: desc("flavorless_outbox_oldest_age_seconds", "How long ago the file was uploaded that the oldest of them belongs to; 0 without one."),
		disk:         desc("flavorless_disk_free_bytes", "Free on the disk of the data folder."),
		errors:       desc("flavorless_scrape_errors_total", "How often a part could not be read for this page, by part.", "part"),
	}
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.messages, g.oldest, g.outbox, g.outboxOldest, g.disk, g.errors} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(to chan<- prometheus.Metric) {
	ctx := context.Background() // there is none of the request
	for _, part := range []struct {
		name string
		read func(ctx context.Context, gauge func(d *prometheus.Desc, v float64, labels ...string)) error
	}{{"queues", g.queues}, {"outbox", g.changes}, {"disk", g.free}} {
		ctx, cancel := context.WithTimeout(ctx, gaugesTimeout)
		err := part.read(ctx, func(d *prometheus.Desc, v float64, labels ...string) {
			to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
		})
		cancel()
		if err != nil {
			g.server.cfg.Log.WarnContext(ctx, "not measured", "part", part.name, "error", err)
		}
		to <- prometheus.MustNewConstMetric(g.errors, prometheus.CounterValue, g.failures(part.name, err != nil), part.name)
	}
}

func (g *gauges) failures(part string, again bool) float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if again {
		g.failed[part]++
	}
	return g.failed[part]
}

// consumer is a stage that works on a queue.
type consumer struct {
	stream broker.Stream
	stage  string // for all to see
	queue  string // for logs and metrics
	dead   string // the name of its dead letters
}

func (s *Server) consumers() []consumer {
	all := []consumer{{broker.Uploads, "ingest", "ingest", "ingest-dead"}, {broker.Updates, "apply", "apply", "apply-dead"}}
	for i, e := range s.webhooks {
		all = append(all, consumer{broker.Webhook(e.Name()), webhookStage(i), webhookQueue(e), "webhook-" + e.Label() + "-dead"})
	}
	return all
}

func (g *gauges) queues(ctx context.Context, gauge func(d *prometheus.Desc, v float64, labels ...string)) error {
	depths, err := g.server.streams.Depths(ctx)
	if err != nil {
		return err
	}
	for _, c := range g.server.consumers() {
		d := depths[c.stream]
		gauge(g.messages, float64(d.Pending), c.queue, "pending")
		gauge(g.messages, float64(d.InFlight), c.queue, "in_flight")
		gauge(g.messages, float64(d.Dead), c.queue, "dead")
		gauge(g.oldest, g.server.age(d.Oldest).Seconds(), c.queue)
	}
	return nil
}

func (g *gauges) changes(ctx context.Context, gauge func(d *prometheus.Desc, v float64, labels ...string)) error {
	records, oldest, err := g.server.db.Backlog(ctx)
	if err != nil {
		return err
	}
	gauge(g.outbox, float64(records))
	gauge(g.outboxOldest, g.server.age(oldest).Seconds())
	return nil
}

func (g *gauges) free(_ context.Context, gauge func(d *prometheus.Desc, v float64, labels ...string)) error {
	free, err := g.server.cfg.Limits.FreeDisk(g.server.folder.dir)
	if err != nil {
		return err
	}
	gauge(g.disk, float64(free))
	return nil
}

// age is how long ago something was, 0 if it never was.
func (s *Server) age(of time.Time) time.Duration {
	if of.IsZero() {
		return 0
	}
	return max(s.cfg.Clock().Sub(of), 0)
}

// deadQueues returns the dead-letter queues. Those of a webhook had the name of its queue, without the path of the URL, in earlier
// releases.
func (s *Server) deadQueues() []control.Queue {
	var all []control.Queue
	for _, c := range s.consumers() {
		q := control.Queue{Stream: c.stream, Name: c.dead}
		if alias := c.queue + "-dead"; alias != c.dead {
			q.Alias = alias
		}
		all = append(all, q)
	}
	return all
}
