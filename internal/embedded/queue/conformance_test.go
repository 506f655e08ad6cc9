package queue_test

import (
	"context"
	"testing"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/brokertest"
	"github.com/flavorless/flavorless/internal/embedded/queue"
	"github.com/flavorless/flavorless/test/conformance"
)

func TestConformance(t *testing.T) {
	conformance.TestTopic(t, func(t *testing.T) conformance.Topic {
		s := brokertest.Start(t, t.TempDir())
		return conformance.Topic{
			Subject: events.UpdatesType, TooLarge: broker.MaxMessage + 1, MaxTries: 3,
			Publish: s.Topic(broker.Updates).Publish,
			Consume: func(ctx context.Context, handle func(context.Context, []conformance.Received) []error) error {
				c := queue.Config{Stream: broker.Updates, MaxTries: 3, Backoff: brokertest.NoBackoff, Concurrency: 2}
				return s.Consume(ctx, c, func(ctx context.Context, group []queue.Delivery) []error {
					var received []conformance.Received
					for _, d := range group {
						received = append(received, conformance.Received{Attributes: d.Attributes, Body: d.Body, Tries: d.Tries})
					}
					return handle(ctx, received)
				})
			},
			DeadLetters: func(ctx context.Context) ([]conformance.Received, error) {
				var dead []conformance.Received
				for d, err := range s.DeadLetters(ctx) {
					if err != nil {
						return nil, err
					}
					dead = append(dead, conformance.Received{Attributes: d.Attributes, Body: d.Body, Tries: d.Tries})
				}
				return dead, nil
			},
		}
	})
}
