package jetstream_test

import (
	"context"
	"sync"
	"testing"

	"github.com/flavorless/flavorless/internal/embedded/brokertest"
	"github.com/flavorless/flavorless/internal/embedded/jetstream"
)

// TestAWebhookBeginsWithTheStart: what is announced before Forward comes to it is forwarded, too.
func TestAWebhookBeginsWithTheStart(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir(), func(c *jetstream.Config) { c.Webhooks = []string{"x"} })
	first := brokertest.Change(t, "andy")
	s.Publish(t, jetstream.Changes, first)
	ctx, stop := context.WithCancel(t.Context())
	var forwarding sync.WaitGroup
	forwarding.Go(func() { s.Forward(ctx, "x", s.Topic(jetstream.Webhook("x")).Publish, func(error) {}) })
	defer forwarding.Wait()
	defer stop()
	consume(t, s, jetstream.QueueConfig{Stream: jetstream.Webhook("x")}, func(group []jetstream.Delivery) ([]error, bool) {
		if group[0].ID != first.ID {
			t.Errorf("forwarded was %q", group[0].ID)
		}
		return nil, true
	})
}
