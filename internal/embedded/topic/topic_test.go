package topic_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/brokertest"
	"github.com/flavorless/flavorless/internal/embedded/topic"
	"github.com/flavorless/flavorless/internal/testutil"
)

// TestChangesRate publishes until the rate limit refuses a message. Without the limit, nats-server would keep ten
// seconds of changes in memory, however many these are.
func TestChangesRate(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	s.StopRefill()
	message := brokertest.Change(t, "andy")
	message.Body = []byte(strings.Repeat("x", 512<<10))
	published := 0
	for range 2 * topic.ChangesBurst / message.Size() {
		if errs := s.Log.Publish(t.Context(), []events.Message{message}); errs[0] != nil {
			break
		}
		published += message.Size()
	}
	if published > topic.ChangesBurst || published < topic.ChangesBurst-2*message.Size() {
		t.Errorf("%d bytes of changes were published at once, want at most %d and nearly as many",
			published, topic.ChangesBurst)
	}
}

// TestReconnectWhilePublishing cuts the connection while messages are sent. Each message must be counted off exactly
// once, although nats.go can report its failure twice.
func TestReconnectWhilePublishing(t *testing.T) {
	testutil.SkipIfShort(t)
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	updates, err := topic.New(s.Server, broker.Updates)
	if err != nil {
		t.Fatal(err)
	}
	message := events.Message{Subject: events.UpdatesType, Body: []byte(strings.Repeat("x", 500<<10))}
	var stored atomic.Int64
	var publishers sync.WaitGroup
	stop := make(chan struct{})
	for range 40 {
		publishers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for _, err := range updates.Publish(t.Context(), []events.Message{message, message, message, message}) {
					if err == nil {
						stored.Add(1)
					}
				}
			}
		})
	}
	for range 10 {
		before := stored.Load()
		if err := s.Conn().ForceReconnect(); err != nil {
			t.Fatal(err)
		}
		testutil.WaitFor(t, "messages to be stored after a reconnect", func() bool { return stored.Load() > before+8 })
	}
	close(stop)
	publishers.Wait()
	if !updates.Idle() {
		t.Error("messages are still counted as in flight after all calls of Publish returned")
	}
}
