package local

import (
	"context"
	"fmt"
	"time"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/queue"
	"github.com/flavorless/flavorless/internal/webhook"
)

// Retries of a webhook. With the default of 12 tries a change is a dead letter after some 20 minutes.
const (
	webhookTries      = 12
	webhookBackoff    = time.Second // doubled at each try
	webhookMaxBackoff = 5 * time.Minute
	webhookDeliveries = 8 // under way to one endpoint at the same time
)

// WebhookSecret is the secret that changes are signed with which go to a webhook. The data folder is made if it is missing,
// so that a receiver can be told before it is sent anything.
func WebhookSecret(dir, endpoint string) (string, error) {
	if err := webhook.Check(endpoint); err != nil {
		return "", fmt.Errorf("%w: %w", ErrConfig, err)
	}
	creds, err := credentialsOf(dir)
	if err != nil {
		return "", err
	}
	return webhook.Secret(creds.WebhookKey, endpoint), nil
}

// openWebhooks makes the endpoints, whose URLs are checked already.
func (s *Server) openWebhooks() (names []string, err error) {
	for i, url := range s.cfg.Webhooks {
		e, err := webhook.New(url, webhook.Secret(s.creds.WebhookKey, url), s.cfg.Clock)
		if err != nil {
			return nil, fmt.Errorf("%w: webhook %d: %w", ErrConfig, i+1, err)
		}
		s.webhooks, names = append(s.webhooks, e), append(names, e.Name())
	}
	return names, nil
}

// startWebhooks has each endpoint work on a queue of its own: whatever one does, the others do not notice.
func (s *Server) startWebhooks(ctx context.Context) {
	for i, e := range s.webhooks {
		stage, log := webhookStage(i), s.cfg.Log.With("webhook", e.Name())
		log.InfoContext(ctx, "changes go to a webhook", "stage", stage)
		s.stage("forward-to-"+stage, func() error {
			pulse := s.vitals.pulse("forward-to-" + stage)
			s.streams.Forward(ctx, e.Name(), func(err error) {
				pulse.beat(s.cfg.Clock(), err != nil)
				if err != nil {
					log.WarnContext(ctx, "trying again in a second", "error", err)
				}
			})
			return nil
		})
		s.stage(stage, func() error {
			return s.streams.Consume(ctx, queue.Config{
				Stream: broker.Webhook(e.Name()), MaxMessages: 1, Concurrency: webhookDeliveries, MaxTries: s.cfg.WebhookTries,
				Backoff: func(try int) time.Duration { return min(webhookBackoff<<min(try-1, 20), webhookMaxBackoff) },
				Observe: s.observe(stage, webhookQueue(e)),
			}, func(ctx context.Context, group []queue.Delivery) []error {
				errs := make([]error, len(group))
				for i, d := range group {
					errs[i] = e.Deliver(ctx, events.Message{ID: d.ID, Subject: d.Subject, Attributes: d.Attributes, Body: d.Body})
					if outOfDescriptors(errs[i]) { // no fault of the endpoint's: it does not count as a try
						errs[i] = fmt.Errorf("%w: %w", events.ErrUnavailable, errs[i])
					}
				}
				return errs
			})
		})
	}
}

// webhookStage names an endpoint for all to see, such as in GET /healthz: who it is is nobody else's affair.
func webhookStage(i int) string { return fmt.Sprintf("webhook-%d", i+1) }

func webhookQueue(e *webhook.Endpoint) string { return "webhook-" + e.Name() }
