package topic_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/brokertest"
)

func BenchmarkPublish(b *testing.B) {
	for _, bench := range []struct {
		name    string
		stream  broker.Stream
		subject string
		size, n int // bytes of a body, messages of a call
	}{
		{"changes of 600 bytes, 1000 a call", broker.Changes, "flavorless.change.v1.created", 600, 1000},
		{"changes of 600 bytes, 100 a call", broker.Changes, "flavorless.change.v1.created", 600, 100},
		{"batches of 60 KB, 4 a call", broker.Updates, events.UpdatesType, 60_000, 4},
		{"batches of 60 KB, 16 a call", broker.Updates, events.UpdatesType, 60_000, 16},
		{"uploads of 300 bytes, 1 a call", broker.Uploads, broker.UploadSubject, 300, 1},
	} {
		b.Run(bench.name, func(b *testing.B) {
			s := brokertest.Start(b, b.TempDir(), discardLog)
			s.Unlimit()
			msgs := make([]events.Message, bench.n)
			for i := range msgs {
				msgs[i] = events.Message{ID: fmt.Sprint(i), Subject: bench.subject, Body: make([]byte, bench.size),
					Attributes: map[string]string{
						"type": bench.subject, "kind": "created", "person": "andy", "upload": "5v2k0000000000000000000000",
						"flavor": "cookie dough",
					}}
			}
			b.SetBytes(int64(bench.size * bench.n))
			for b.Loop() {
				if err := errors.Join(s.Topic(bench.stream).Publish(b.Context(), msgs)...); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*bench.n)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

func discardLog(c *broker.Config) { c.Logger = nil }
