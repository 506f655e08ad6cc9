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

// TestBrokenStream checks that Broken reports a stream that breaks, and that publishing fails at once. The NATS server
// only logs it.
func TestBrokenStream(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := brokertest.Start(t, dir, func(c *broker.Config) { c.SyncInterval = time.Hour })
	s.Publish(t, broker.Updates, brokertest.Update("a"))
	select {
	case err := <-s.Broken():
		t.Fatalf("Broken after the start: %v", err)
	default:
	}
	// Replace the folder of the messages by a file, so that the server can't create the next file in it.
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
	for range 20 { // a file has 8 MiB
		if refused = s.Topic(broker.Updates).Publish(t.Context(), []events.Message{large})[0]; refused != nil {
			break
		}
	}
	check := func(what string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "UPDATES") || !strings.Contains(err.Error(),
			syscall.ENOTDIR.Error()) {
			t.Errorf("%s: %v, want an error about UPDATES and %q", what, err, syscall.ENOTDIR)
		}
	}
	check("pending publish", refused)
	if !errors.Is(refused, events.ErrUnavailable) {
		t.Errorf("pending publish: %v, want events.ErrUnavailable", refused)
	}
	select {
	case err := <-s.Broken():
		check("Broken", err)
	case <-time.After(brokertest.Timeout):
		t.Error("Broken: timed out")
	}
	check("next publish", s.Topic(broker.Updates).Publish(t.Context(), []events.Message{brokertest.Update("b")})[0])
}
