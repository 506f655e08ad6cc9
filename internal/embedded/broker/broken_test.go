package broker_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/brokertest"
)

// TestABrokenStreamIsTold: the server itself only logs that a stream takes nothing more, and leaves publishers waiting.
func TestABrokenStreamIsTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := brokertest.Start(t, dir, func(c *broker.Config) { c.SyncInterval = time.Hour })
	s.Publish(t, broker.Updates, brokertest.Update("a"))
	select {
	case err := <-s.Broken():
		t.Fatalf("broken from the start: %v", err)
	default:
	}
	// The messages' folder becomes a file: the block after this one can't be made.
	msgs := filepath.Join(dir, "jetstream", "FLAVORLESS", "streams", "UPDATES", "msgs")
	if err := os.Rename(msgs, msgs+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(msgs, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	large := brokertest.Update("large")
	large.Body = make([]byte, broker.MaxMessage-1000)
	var refused error
	for range 20 { // a block has 8 MiB
		if refused = s.Topic(broker.Updates).Publish(t.Context(), []events.Message{large})[0]; refused != nil {
			break
		}
	}
	told := func(what string, err error) {
		if err == nil || !strings.Contains(err.Error(), "UPDATES") || !strings.Contains(err.Error(), syscall.ENOTDIR.Error()) {
			t.Errorf("%s: %v", what, err)
		}
	}
	told("who waits for an answer", refused)
	if !errors.Is(refused, events.ErrUnavailable) {
		t.Errorf("it is no fault of the message: %v", refused)
	}
	select {
	case err := <-s.Broken():
		told("Broken gives", err)
	case <-time.After(brokertest.Timeout):
		t.Error("nothing was told")
	}
	told("who publishes then", s.Topic(broker.Updates).Publish(t.Context(), []events.Message{brokertest.Update("b")})[0])
}
