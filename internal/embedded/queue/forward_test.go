package queue_test

import (
	"context"
	"sync"
	"testing"

	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/brokertest"
	"github.com/flavorless/flavorless/internal/embedded/queue"
)

// TestForwardSinceStart checks that a change that is announced after the start, but before Forward is called, is
// forwarded.
func TestForwardSinceStart(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir(), func(c *broker.Config) { c.Webhooks = []string{"x"} })
	first := brokertest.Change(t, "andy")
	s.Publish(t, broker.Changes, first)
	ctx, stop := context.WithCancel(t.Context())
	var forwarding sync.WaitGroup
	forwarding.Go(func() { s.Forward(ctx, "x", func(error) {}) })
	defer forwarding.Wait()
	defer stop()
	s.ConsumeUntil(t, queue.Config{Stream: broker.Webhook("x")}, func(group []queue.Delivery) ([]error, bool) {
		if group[0].ID != first.ID {
			t.Errorf("forwarded %q, want %q", group[0].ID, first.ID)
		}
		return nil, true
	})
}
