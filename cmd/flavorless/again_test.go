package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flavorless/flavorless/events"
)

// TestStartsAgain: when the queues broke, as they do when something fills the disk to its end in the midst of a write, the
// server starts again by itself, at the same addresses, and goes on with what it had.
func TestStartsAgain(t *testing.T) {
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
	for i := range 400_000 {
		fmt.Fprintf(&text, "person %d,a flavor of many a word\n", i)
	}
	refused := p.tryPut("uploads/b.csv", text.String()) // if the server was so fast to break
	info := filepath.Join(dir, "server.json")
	there := func() bool { _, err := os.Stat(info); return !errors.Is(err, fs.ErrNotExist) }
	until(t, "the server stops", func() bool { return !there() })
	if err := errors.Join(os.Remove(msgs), os.Rename(msgs+".away", msgs)); err != nil {
		t.Fatal(err)
	}
	until(t, "the server is there again", there)
	if refused != nil {
		p.put("uploads/b.csv", text.String())
	}
	if u := p.settled("uploads/b.csv"); u.Status != events.Live || u.Counts.Applied != 400_000 {
		t.Errorf("%+v", u)
	}
	if code := p.stopped(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Minute); !holds(); time.Sleep(10 * time.Millisecond) { // between two looks
		if time.Now().After(end) {
			t.Fatalf("%s: not in five minutes", what)
		}
	}
}
