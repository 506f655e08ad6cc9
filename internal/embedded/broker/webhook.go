package broker

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const webhookPrefix = "WEBHOOK-"

// Webhook returns the queue of a webhook, one of Config.Webhooks.
func Webhook(name string) Stream { return Stream(webhookPrefix + name) }

func (q Stream) isWebhook() bool { return strings.HasPrefix(string(q), webhookPrefix) }

// WebhookSubject returns the subject of the messages in the queue of a webhook.
func (q Stream) WebhookSubject() string {
	return "flavorless.webhook." + strings.TrimPrefix(string(q), webhookPrefix)
}

// ForwardConsumer returns the name of the consumer of CHANGES that keeps the position of a webhook.
func ForwardConsumer(webhook string) string { return strings.ToLower(webhookPrefix) + webhook }

// Limits of such a consumer.
const (
	ForwardMessages = 256              // messages that may be delivered and not acknowledged
	ForwardAckWait  = 10 * time.Second // after which they are delivered again
)

// openForwardConsumers creates the consumers of the webhooks that have none. Start calls it before anything can be
// announced, so that a new webhook gets every change since the start.
func openForwardConsumers(ctx context.Context, js jetstream.JetStream, webhooks []string) error {
	for _, name := range webhooks {
		_, err := js.CreateOrUpdateConsumer(ctx, string(Changes), jetstream.ConsumerConfig{
			Durable: ForwardConsumer(name), DeliverPolicy: jetstream.DeliverNewPolicy,
			AckPolicy: jetstream.AckAllPolicy, MaxAckPending: ForwardMessages, AckWait: ForwardAckWait,
		})
		if err != nil {
			return fmt.Errorf("opening the consumer of webhook %s: %w", name, err)
		}
	}
	return nil
}
