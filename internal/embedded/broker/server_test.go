package broker_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
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

func TestPortInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	_, err = broker.Start(t.Context(), broker.Config{Dir: dir, Addr: l.Addr().String()})
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("Start = %v, want %v with the address %s", err, syscall.EADDRINUSE, l.Addr())
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("Start left %v in the folder, want nothing", left)
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	for addr, ok := range map[string]bool{
		"": true, ":0": true, "127.0.0.1:0": true, "localhost": false, "127.0.0.1:x": false, "127.0.0.1:70000": false,
	} {
		s, err := broker.Start(t.Context(), broker.Config{Dir: t.TempDir(), Addr: addr})
		if (err == nil) != ok {
			t.Errorf("Start with address %q = %v, want success: %t", addr, err, ok)
		}
		if err != nil {
			continue
		}
		host, _, _ := net.SplitHostPort(s.Addr())
		if want := map[bool]string{true: "127.0.0.1"}[addr != ""]; host != want {
			t.Errorf("address %q: Addr = %q, want host %q", addr, s.Addr(), want)
		}
		updates, err := topic.New(s, broker.Updates)
		if err != nil {
			t.Fatal(err)
		}
		if err := updates.Publish(t.Context(), []events.Message{brokertest.Update("x")})[0]; err != nil {
			t.Errorf("%q: publishing: %v", addr, err)
		}
		s.Stop()
	}
}

func TestFolderMode(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	brokertest.Start(t, dir)
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o700 {
		t.Errorf("mode %o, want 700", got)
	}
}

// A full queue refuses messages until others have been consumed.
func TestFullQueue(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir(), func(c *broker.Config) { c.QueueBytes = 100_000 })
	large := brokertest.Update("large")
	large.Body = make([]byte, 60_000)
	errs := s.Topic(broker.Updates).Publish(t.Context(), []events.Message{large, large})
	if errs[0] != nil || errs[1] == nil || errors.Is(errs[1], events.ErrPermanent) {
		t.Fatalf("Publish = %v, want nil and an error that is not events.ErrPermanent", errs)
	}
	s.ConsumeOne(t)
	testutil.WaitFor(t, "capacity for another message", func() bool {
		return s.Topic(broker.Updates).Publish(t.Context(), []events.Message{large})[0] == nil
	})
}

// A damaged stream is not replaced by an empty one.
func TestDamagedStream(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(t *testing.T, stream string){
		"description torn":    func(t *testing.T, stream string) { overwrite(t, filepath.Join(stream, "meta.inf"), "{") },
		"description missing": func(t *testing.T, stream string) { remove(t, filepath.Join(stream, "meta.inf")) },
		"checksum missing":    func(t *testing.T, stream string) { remove(t, filepath.Join(stream, "meta.sum")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := brokertest.Start(t, dir)
			s.Publish(t, broker.Updates, brokertest.Update("precious"))
			s.Stop()
			damage(t, filepath.Join(dir, "jetstream", "FLAVORLESS", "streams", "UPDATES"))
			for range 2 { // also at the next start
				s, err := broker.Start(t.Context(), broker.Config{Dir: dir})
				if err == nil {
					s.Stop()
				}
				if !errors.Is(err, broker.ErrNotRecovered) || !strings.Contains(err.Error(), "UPDATES") {
					t.Errorf("Start = %v, want ErrNotRecovered with the name of the stream", err)
				}
			}
		})
	}
}

// Start fails if stored messages are missing, until the manifest is removed.
func TestMissingMessages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := brokertest.Start(t, dir)
	s.Publish(t, broker.Updates, brokertest.Update("a"), brokertest.Update("b"), brokertest.Update("c"))
	s.Stop()
	msgs := filepath.Join(dir, "jetstream", "FLAVORLESS", "streams", "UPDATES", "msgs")
	content, err := os.ReadFile(filepath.Join(msgs, "1.blk"))
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, filepath.Join(msgs, "1.blk"), string(content[:len(content)/2]))
	for range 2 {
		s, err := broker.Start(t.Context(), broker.Config{Dir: dir})
		if err == nil {
			s.Stop()
		}
		if err == nil || !strings.Contains(err.Error(), broker.ManifestFile(dir)) {
			t.Errorf("Start = %v, want an error that names %s", err, broker.ManifestFile(dir))
		}
	}
	remove(t, broker.ManifestFile(dir)) // as the error says
	s = brokertest.Start(t, dir)
	s.ConsumeOne(t)
}

func overwrite(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
}

// In an earlier release, UPLOADS accepted only objects. The stored ones stay, and it accepts continuations now.
func TestUpdateStreamSubjects(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := brokertest.Start(t, dir)
	js := s.JetStream()
	stream, err := js.Stream(t.Context(), "UPLOADS")
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	config.Subjects = []string{broker.UploadSubject}
	if _, err := js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	s.Publish(t, broker.Uploads, events.Message{ID: "object", Subject: broker.UploadSubject, Body: []byte("{}")})
	s.Stop()

	s = brokertest.Start(t, dir)
	s.Publish(t, broker.Uploads, events.Message{ID: "span", Subject: events.ContinuationType, Body: []byte("{}")})
	ctx, cancel := context.WithTimeout(t.Context(), brokertest.Timeout)
	defer cancel()
	var got []string
	all := queue.Config{Stream: broker.Uploads, MaxMessages: 1}
	err = s.Consume(ctx, all, func(_ context.Context, group []queue.Delivery) []error {
		if got = append(got, group[0].ID+" "+group[0].Subject); len(got) == 2 {
			cancel()
		}
		return nil
	})
	if diff := cmp.Diff([]string{"object flavorless.upload", "span flavorless.span.v1"}, got); diff != "" || err != nil {
		t.Errorf("Consume = %v, consumed (-want +got):\n%s", err, diff)
	}
}
