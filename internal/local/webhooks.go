package local

import (
	"context"
	"fmt"
	"time"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/queue"
	"github.com/flavorless/flavorless/internal/webhook"
)

// DefaultWebhookTries is how often a change is delivered to a webhook before it becomes a dead letter, by default. That
// takes about 20 minutes.
const DefaultWebhookTries = 12

const (
	webhookBackoff    = time.Second // after the first try; doubled after each further one
	webhookMaxBackoff = 5 * time.Minute
	webhookDeliveries = 8 // concurrent, for each webhook
)

// WebhookSecret returns the secret that signs the changes for a webhook. It creates the data folder if necessary, so
// that the receiver can be configured before the first delivery.
func WebhookSecret(dir, endpoint string) (string, error) {
	if err := webhook.Check(endpoint); err != nil {
		return "", configError{err}
	}
	creds, err := credentialsOf(dir)
	if err != nil {
		return "", err
	}
	return webhook.Secret(creds.WebhookKey, endpoint), nil
}

// openWebhooks returns the endpoints of the configured URLs.
func openWebhooks(cfg Config, key []byte) ([]*webhook.Endpoint, error) {
	endpoints := make([]*webhook.Endpoint, len(cfg.Webhooks))
	for i, url := range cfg.Webhooks {
		var err error
		if endpoints[i], err = webhook.New(url, webhook.Secret(key, url), cfg.Clock); err != nil {
			return nil, configError{fmt.Errorf("webhook %d: %w", i+1, err)}
		}
	}
	return endpoints, nil
}

// startWebhook starts the stages of a webhook: one copies changes to its own queue, one delivers them. So webhooks
// don't affect one another.
func (p *pipeline) startWebhook(ctx context.Context, e *webhook.Endpoint, q consumer) {
	log := p.cfg.Log.With("webhook", e.Name())
	log.InfoContext(ctx, "changes are delivered to a webhook", "stage", q.stage)
	forward := "forward-to-" + q.stage
	p.stage(forward, func() error {
		heartbeat := p.heartbeats.Of(forward)
		p.streams.Forward(ctx, e.Name(), func(err error) {
			heartbeat.Beat(err == nil)
			if err != nil {
				log.WarnContext(ctx, "copying changes to the queue of a webhook failed; it will be retried in a second",
					"error", err)
			}
		})
		return nil
	})
	p.stage(q.stage, func() error {
		return p.streams.Consume(ctx, queue.Config{
			Stream: q.stream, MaxMessages: 1, Concurrency: webhookDeliveries, MaxTries: p.cfg.WebhookTries,
			Backoff: func(try int) time.Duration { return min(webhookBackoff<<min(try-1, 20), webhookMaxBackoff) },
			Observe: p.observe(q),
		}, deliverTo(e))
	})
}

// deliverTo returns a handler that delivers changes to a webhook.
func deliverTo(e *webhook.Endpoint) queue.Handler {
	return func(ctx context.Context, group []queue.Delivery) []error {
		errs := make([]error, len(group))
		for i, d := range group {
			errs[i] = e.Deliver(ctx, events.Message{ID: d.ID, Subject: d.Subject, Attributes: d.Attributes, Body: d.Body})
			if outOfDescriptors(errs[i]) { // not the fault of the endpoint, so it does not count as a try
				errs[i] = fmt.Errorf("%w: %w", events.ErrUnavailable, errs[i])
			}
		}
		return errs
	}
}
