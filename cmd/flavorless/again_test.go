package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/flavorless/flavorless/events"
)

// TestStartsAgain: when the queues broke, as they do when something fills the disk to its end in the midst of a write, the
// server starts again by itself, at the same addresses, and goes on with what it had.
func TestStartsAgain(t *testing.T) {
	const rows = 80_000
	dir := filepath.Join(t.TempDir(), "data")
	p := startServe(t, dir)
	p.put("uploads/a.csv", "person,flavor\nandy,vanilla\n")
	p.settled("uploads/a.csv")
	// The folder of a stream's messages becomes a file: its next block can't be made.
	msgs := filepath.Join(dir, "streams", "jetstream", "FLAVORLESS", "streams", "UPDATES", "msgs")
	if err := errors.Join(os.Rename(msgs, msgs+".away"), os.WriteFile(msgs, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	text.WriteString("person,flavor\n")
	flavor := strings.Repeat("a flavor of many a word", 10)
	for i := range rows { // more than one block of a stream takes
		fmt.Fprintf(&text, "person %d,%s\n", i, flavor)
	}
	refused := p.tryPut("uploads/b.csv", text.String()) // if the server was so fast to break
	// Mended while the test has the lock of the folder: a try to start again may be under way.
	lock, err := os.Open(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	until(t, "the server stops", func() bool { return unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil })
	if err := errors.Join(os.Remove(msgs), os.Rename(msgs+".away", msgs), lock.Close()); err != nil {
		t.Fatal(err)
	}
	until(t, "the server is there again", func() bool { _, err := os.Stat(filepath.Join(dir, "server.json")); return err == nil })
	if refused != nil {
		p.put("uploads/b.csv", text.String())
	}
	if u := p.settled("uploads/b.csv"); u.Status != events.Live || u.Counts.Applied != rows {
		t.Errorf("%+v", u)
	}
	if code := p.stopped(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// until looks at a condition every few milliseconds, but does not spend most of the time on that.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	pause := 5 * time.Millisecond
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(pause) {
		began := time.Now()
		if holds() {
			return
		}
		pause = max(pause, 4*time.Since(began))
		if time.Now().After(end) {
			t.Fatalf("%s: not in five minutes", what)
		}
	}
}
