package topic_test

import (
	"strings"
	"testing"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/brokertest"
	"github.com/flavorless/flavorless/internal/embedded/topic"
)

// TestRateOfChanges publishes until the rate limit refuses a message. Without the limit, nats-server would keep ten
// seconds of changes in memory, however many these are.
func TestRateOfChanges(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	s.StopRefill()
	message := events.Message{Subject: "flavorless.change.v1.created", Body: []byte(strings.Repeat("x", 512<<10))}
	published := 0
	for range 2 * topic.ChangesBurst / message.Size() {
		if errs := s.Log.Publish(t.Context(), []events.Message{message}); errs[0] != nil {
			break
		}
		published += message.Size()
	}
	if published > topic.ChangesBurst || published <= topic.ChangesBurst-message.Size() {
		t.Errorf("%d bytes of changes were published at once, want %d, less at most one message", published, topic.ChangesBurst)
	}
}
