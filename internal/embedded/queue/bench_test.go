package queue_test

import (
	"fmt"
	"testing"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/brokertest"
	"github.com/flavorless/flavorless/internal/embedded/queue"
)

func BenchmarkConsume(b *testing.B) {
	for _, size := range []int{600, 60_000} {
		b.Run(fmt.Sprint(size, " bytes"), func(b *testing.B) {
			s := brokertest.Start(b, b.TempDir(), discardLog)
			m := events.Message{ID: "x", Subject: events.UpdatesType, Body: make([]byte, size)}
			for range b.N {
				s.Publish(b, broker.Updates, m)
			}
			b.SetBytes(int64(size))
			b.ResetTimer()
			n := 0
			s.ConsumeUntil(b, queue.Config{MaxMessages: 100}, func(group []queue.Delivery) ([]error, bool) {
				n += len(group)
				return nil, n >= b.N
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

func discardLog(c *broker.Config) { c.Logger = nil }
