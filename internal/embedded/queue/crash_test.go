package queue_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/brokertest"
	"github.com/flavorless/flavorless/internal/embedded/queue"
	"github.com/flavorless/flavorless/internal/embedded/topic"
	"github.com/flavorless/flavorless/internal/testutil"
)

// TestMain runs the process that is killed, if the environment says so.
func TestMain(m *testing.M) {
	if dir := os.Getenv("FLAVORLESS_CRASH_DIR"); dir != "" {
		if err := child(dir, os.Getenv("FLAVORLESS_CRASH_TASK")); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child is the process that is killed. It prints what it has done:
//
//   - publish: publishes without end, and prints each id that is stored.
//   - work: handles messages, prints the id of each, and kills itself after 500.
//   - poison: handles messages, prints the id and the tries of each before, and kills itself if the id is not "fine".
func child(dir, task string) error {
	ctx := context.Background()
	b, err := broker.Start(ctx, broker.Config{Dir: dir})
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	queues := queue.New(b, queue.NewDeadQueue(b, log), log)
	switch task {
	case "work":
		var n atomic.Int32
		c := queue.Config{Stream: broker.Updates, Concurrency: 3, MaxTries: 10}
		return queues.Consume(ctx, c, func(_ context.Context, group []queue.Delivery) []error {
			for _, d := range group {
				if n.Add(1) > 500 {
					die()
				}
				fmt.Println("done", d.ID)
			}
			return nil
		})
	case "poison":
		c := queue.Config{Stream: broker.Updates, MaxTries: 3}
		return queues.Consume(ctx, c, func(_ context.Context, group []queue.Delivery) []error {
			for _, d := range group {
				fmt.Println("handling", d.ID, d.Tries)
				if d.ID != "fine" {
					die()
				}
			}
			return nil
		})
	}
	updates, err := topic.New(b, broker.Updates)
	if err != nil {
		return err
	}
	for call := 0; ; call++ {
		var msgs []events.Message
		for i := range 100 {
			msgs = append(msgs, brokertest.Update(fmt.Sprintf("%d-%d", call, i)))
		}
		for i, err := range updates.Publish(ctx, msgs) {
			if err == nil {
				fmt.Println("stored", msgs[i].ID)
			}
		}
	}
}

// die kills the process, like the kernel does when memory runs out.
func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

func runChild(t *testing.T, dir, task string, line func(words []string, kill func())) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "FLAVORLESS_CRASH_DIR="+dir, "FLAVORLESS_CRASH_TASK="+task)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if words[0] == "error" {
			t.Error(lines.Text())
		}
		line(words, func() { _ = cmd.Process.Kill() })
	}
	_ = cmd.Wait() // it was killed
}

// TestKilledPublisher checks that every message that Publish reported as stored survives SIGKILL.
func TestKilledPublisher(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stored := map[string]bool{}
	runChild(t, dir, "publish", func(words []string, kill func()) {
		if stored[words[1]] = true; len(stored) == 5000 {
			kill()
		}
	})
	if len(stored) < 5000 {
		t.Fatalf("%d messages were stored, want 5000", len(stored))
	}
	s := brokertest.Start(t, dir)
	s.ConsumeAll(t, queue.Config{MaxMessages: 100}, stored)
}

// TestKilledConsumer checks that every message is handled at least once, although the consumer is killed again and
// again.
func TestKilledConsumer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := brokertest.Start(t, dir)
	missing := map[string]bool{}
	var msgs []events.Message
	for i := range 3000 {
		msgs = append(msgs, brokertest.Update(fmt.Sprint(i)))
		missing[msgs[i].ID] = true
	}
	s.Publish(t, broker.Updates, msgs...)
	s.Stop()
	for range 4 {
		runChild(t, dir, "work", func(words []string, _ func()) { delete(missing, words[1]) })
	}
	s = brokertest.Start(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), brokertest.Timeout)
	defer cancel()
	err := s.Consume(ctx, queue.Config{Stream: broker.Updates}, func(_ context.Context, group []queue.Delivery) []error {
		for _, d := range group {
			delete(missing, d.ID)
		}
		if len(missing) == 0 {
			cancel()
		}
		return nil
	})
	if err != nil || len(missing) > 0 {
		t.Errorf("Consume = %v, and %d messages were never handled, want none", err, len(missing))
	}
}

// TestPoisonMessage checks that a message that kills the process at each try becomes a dead letter.
func TestPoisonMessage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := brokertest.Start(t, dir)
	s.Publish(t, broker.Updates, brokertest.Update("fine"), brokertest.Update("poison"))
	s.Stop()
	var tries []string
	for range 3 {
		runChild(t, dir, "poison", func(words []string, _ func()) {
			if words[1] == "poison" {
				tries = append(tries, words[2])
			}
		})
	}
	if diff := cmp.Diff([]string{"1", "2", "3"}, tries); diff != "" {
		t.Errorf("tries of the message (-want +got):\n%s", diff)
	}
	s = brokertest.Start(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), brokertest.Timeout)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- s.Consume(ctx, queue.Config{Stream: broker.Updates, MaxTries: 3}, func(_ context.Context,
			group []queue.Delivery) []error {
			for _, d := range group {
				if d.ID != "fine" {
					t.Errorf("%s delivered at try %d, want no more tries", d.ID, d.Tries)
				}
			}
			return nil
		})
	}()
	testutil.WaitFor(t, "a dead letter", func() bool { return len(s.AllDeadLetters(t)) == 1 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if d := s.AllDeadLetters(t)[0]; d.ID != "poison" || d.Tries != 4 {
		t.Errorf("dead letter %+v, want poison after 4 tries", d)
	}
}

// TestRedeliveryAfterCrash checks that acknowledged messages that a crash has restored do not stay in the queue
// forever: they are delivered again.
func TestRedeliveryAfterCrash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	messages := filepath.Join(dir, "jetstream", "FLAVORLESS", "streams", "UPDATES", "msgs")
	s := brokertest.Start(t, dir)
	s.Publish(t, broker.Updates, brokertest.Update("a"), brokertest.Update("b"), brokertest.Update("c"))
	s.Stop()
	before := t.TempDir()
	if err := os.CopyFS(before, os.DirFS(messages)); err != nil {
		t.Fatal(err)
	}
	handled := func(s *brokertest.Server) (ids []string) {
		s.ConsumeUntil(t, queue.Config{}, func(group []queue.Delivery) ([]error, bool) {
			for _, d := range group {
				ids = append(ids, d.ID)
			}
			return nil, len(ids) == 3
		})
		return ids
	}
	empty := func() bool {
		depths, err := s.Depths(t.Context())
		return err == nil && depths[broker.Updates] == queue.Depth{}
	}
	s = brokertest.Start(t, dir)
	first := handled(s)
	testutil.WaitFor(t, "an empty queue", empty)
	s.Stop()

	// Lose the removals, but keep the state of the consumer.
	manifest := filepath.Join(dir, "seal.json")
	err := errors.Join(os.RemoveAll(messages), os.CopyFS(messages, os.DirFS(before)), os.Remove(manifest))
	if err != nil {
		t.Fatal(err)
	}
	s = brokertest.Start(t, dir)
	if depths, err := s.Depths(t.Context()); err != nil || depths[broker.Updates].Pending != 3 {
		t.Fatalf("Depths = %v, %v, want 3 pending messages", depths, err)
	}
	if diff := cmp.Diff(first, handled(s)); diff != "" {
		t.Errorf("delivered again (-first time +now):\n%s", diff)
	}
	testutil.WaitFor(t, "an empty queue", empty)
}
