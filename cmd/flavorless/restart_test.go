package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/testutil"
)

// TestRestartAfterQueueFailure: when the queues fail, as they do when the disk fills up in the middle of a write, the
// server restarts itself at the same addresses, and continues with its stored messages.
func TestRestartAfterQueueFailure(t *testing.T) {
	testutil.SkipIfShort(t)
	const rows = 50_000
	dir := filepath.Join(t.TempDir(), "data")
	p := startServe(t, dir)
	p.put("uploads/a.csv", "person,flavor\nandy,vanilla\n")
	p.settled("uploads/a.csv")
	// Replace the folder of a stream's messages by a file, so that its next block can't be created.
	msgs := filepath.Join(dir, "streams", "jetstream", "FLAVORLESS", "streams", "UPDATES", "msgs")
	if err := errors.Join(os.Rename(msgs, msgs+".away"), os.WriteFile(msgs, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	text.WriteString("person,flavor\n")
	flavor := strings.Repeat("a flavor of many words ", 10)
	for i := range rows { // more than fit into one block of a stream
		fmt.Fprintf(&text, "person %d,%s\n", i, flavor)
	}
	refused := p.tryPut("uploads/b.csv", text.String()) // the server may already have failed
	// Repair the folder while the test holds its lock, because the server may be trying to restart.
	lock, err := os.Open(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	testutil.WaitFor(t, "the server stops", func() bool {
		return unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
	})
	if err := errors.Join(os.Remove(msgs), os.Rename(msgs+".away", msgs), lock.Close()); err != nil {
		t.Fatal(err)
	}
	testutil.WaitFor(t, "the server has restarted", func() bool {
		_, err := os.Stat(filepath.Join(dir, "server.json"))
		return err == nil
	})
	if refused != nil {
		p.put("uploads/b.csv", text.String())
	}
	if u := p.settled("uploads/b.csv"); u.Status != events.Live || u.Counts.Applied != rows {
		t.Errorf("upload = %+v, want %d applied rows and status %s", u, rows, events.Live)
	}
	if code := p.stopped(); code != exitOK {
		t.Errorf("exit code of serve = %d, want %d", code, exitOK)
	}
}
