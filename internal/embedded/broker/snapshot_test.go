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

// TestSnapshotOfStream checks that a stream that can't be opened for a while is not lost. Without the snapshot, the
// server would delete it.
func TestSnapshotOfStream(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := brokertest.Start(t, dir)
	s.Publish(t, broker.Updates, brokertest.Update("first"))
	s.ConsumeOne(t)
	s.Publish(t, broker.Updates, brokertest.Update("a"), brokertest.Update("b"))
	s.Stop()
	// Replace the folder of the consumers by a file for a while.
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
		t.Errorf("the snapshot still exists after the start: %v", err)
	}
	s.ConsumeAll(t, queue.Config{}, map[string]bool{"a": true, "b": true})
}

// TestSnapshotAfterCrash checks that if the process dies while the server deletes a stream, the next start restores it.
func TestSnapshotAfterCrash(t *testing.T) {
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

// TestSnapshotOfWebhook checks that the position of a webhook is not lost: a new one would skip changes that were never
// forwarded.
func TestSnapshotOfWebhook(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := brokertest.Start(t, dir, func(c *broker.Config) { c.Webhooks = []string{"x"} })
	s.Stop()
	sum := filepath.Join(dir, "jetstream", "FLAVORLESS", "streams", "CHANGES", "obs", "webhook-x", "meta.sum")
	if err := os.Rename(sum, sum+".away"); err != nil {
		t.Fatal(err)
	}
	s2, err := broker.Start(t.Context(), broker.Config{Dir: dir})
	if !errors.Is(err, broker.ErrNotRecovered) || !strings.Contains(err.Error(), "webhook-x") {
		t.Errorf("Start = %v, want ErrNotRecovered with the name of the consumer", err)
		if err == nil {
			s2.Stop()
		}
	}
	if err := os.Rename(sum+".away", sum); err != nil {
		t.Fatal(err)
	}
	brokertest.Start(t, dir)
}
