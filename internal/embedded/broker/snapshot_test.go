package broker_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/brokertest"
	"github.com/flavorless/flavorless/internal/embedded/queue"
)

// TestWhatCanNotBeOpenedIsKept: the server itself deletes a stream whose store it can't open, whatever the reason.
func TestWhatCanNotBeOpenedIsKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := brokertest.Start(t, dir)
	s.Publish(t, broker.Updates, brokertest.Update("first"))
	s.ConsumeOne(t)
	s.Publish(t, broker.Updates, brokertest.Update("a"), brokertest.Update("b"))
	s.Stop()
	// The folder of the consumers is a file for a while.
	consumers := filepath.Join(dir, "jetstream", "FLAVORLESS", "streams", "UPDATES", "obs")
	if err := errors.Join(os.Rename(consumers, consumers+".away"), os.WriteFile(consumers, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if s, err := broker.Start(t.Context(), broker.Config{Dir: dir}); !errors.Is(err, broker.ErrNotRecovered) {
			t.Errorf("Start = %v, want ErrNotRecovered", err)
			if err == nil {
				s.Stop()
			}
		}
	}
	if err := errors.Join(os.Remove(consumers), os.Rename(consumers+".away", consumers)); err != nil {
		t.Fatal(err)
	}
	s = brokertest.Start(t, dir)
	if _, err := os.Stat(filepath.Join(dir, "kept")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was kept while the server started is still there: %v", err)
	}
	s.ConsumeAll(t, queue.Config{}, map[string]bool{"a": true, "b": true})
}

// TestAStartThatIsCutOffLosesNothing: the process died while the server was deleting.
func TestAStartThatIsCutOffLosesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := brokertest.Start(t, dir)
	s.Publish(t, broker.Updates, brokertest.Update("a"))
	s.Stop()
	if err := broker.TakeSnapshot(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "jetstream", "FLAVORLESS", "streams", "UPDATES", "msgs")); err != nil {
		t.Fatal(err)
	}
	s = brokertest.Start(t, dir)
	s.ConsumeOne(t)
}

// TestThePlaceOfAWebhookIsNotLost: without it, changes that were never forwarded would be passed over.
func TestThePlaceOfAWebhookIsNotLost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := brokertest.Start(t, dir, func(c *broker.Config) { c.Webhooks = []string{"x"} })
	s.Stop()
	sum := filepath.Join(dir, "jetstream", "FLAVORLESS", "streams", "CHANGES", "obs", "webhook-x", "meta.sum")
	if err := os.Rename(sum, sum+".away"); err != nil {
		t.Fatal(err)
	}
	if s, err := broker.Start(t.Context(), broker.Config{Dir: dir}); !errors.Is(err, broker.ErrNotRecovered) || !strings.Contains(err.Error(), "webhook-x") {
		t.Errorf("Start = %v, want ErrNotRecovered, and of what", err)
		if err == nil {
			s.Stop()
		}
	}
	if err := os.Rename(sum+".away", sum); err != nil {
		t.Fatal(err)
	}
	brokertest.Start(t, dir)
}
