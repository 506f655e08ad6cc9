package local

import (
	"fmt"

	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/local/control"
	"github.com/flavorless/flavorless/internal/webhook"
)

// consumer is a stage that consumes a queue, with its names for different readers.
type consumer struct {
	stream broker.Stream
	stage  string // in GET /healthz, which anybody can read
	label  string // in logs and metrics
	dead   string // of its dead letters, in flavorless redrive
}

// queues returns all queues of the pipeline.
func queues(webhooks []*webhook.Endpoint) []consumer {
	all := []consumer{
		{broker.Uploads, "ingest", "ingest", "ingest-dead"},
		{broker.Updates, "apply", "apply", "apply-dead"},
	}
	for i, e := range webhooks {
		all = append(all, consumer{
			stream: broker.Webhook(e.Name()),
			stage:  fmt.Sprintf("webhook-%d", i+1),
			label:  "webhook-" + e.Name(),
			dead:   "webhook-" + e.Label() + "-dead",
		})
	}
	return all
}

// deadQueues returns the dead-letter queues. In earlier releases those of webhooks were named after the queue, without
// the path of the URL.
func deadQueues(all []consumer) []control.DeadQueue {
	dead := make([]control.DeadQueue, len(all))
	for i, q := range all {
		dead[i] = control.DeadQueue{Stream: q.stream, Name: q.dead}
		if alias := q.label + "-dead"; alias != q.dead {
			dead[i].Alias = alias
		}
	}
	return dead
}

// stages returns the names of the stages by the queues that they consume.
func stages(all []consumer) map[broker.Stream]string {
	names := map[broker.Stream]string{}
	for _, q := range all {
		names[q.stream] = q.stage
	}
	return names
}
