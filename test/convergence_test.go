package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/embedded/sqlite"
)

// TestConvergence ingests several overlapping uploads whose events are repeated, delivers their batches in any order,
// repeatedly and in groups, and lets the process crash between any two steps. Some uploads are sorted and compared with
// the table. The table, the counts of the ledger and the changes must be those of a model in which none of that
// happens.
func TestConvergence(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		s := newSimulation(t, filepath.Join(dir, fmt.Sprint(n)))
		defer s.close()
		for range rapid.IntRange(1, 4).Draw(t, "uploads") {
			s.upload()
		}
		for len(s.events)+len(s.continuations)+len(s.updates) > 0 {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				s.crash()
			case 1, 2:
				s.announce()
			case 3, 4, 5:
				s.ingest()
			default:
				s.apply()
			}
		}
		s.announceAll()
		s.check()
	})
}

// simulation is the core with a table, between queues that the test controls. They deliver messages in any order, and
// deliver again what was not acknowledged.
type simulation struct {
	*rapid.T
	path string
	db   *sqlite.DB

	objects       map[string]upload // by key
	reports       map[string][]byte // by key
	events        []events.Object
	continuations []events.Message
	updates       []events.Message
	received      []events.Change // by a subscriber

	sorting ingest.Sorting
	model   tableModel
}

func newSimulation(t *rapid.T, path string) *simulation {
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	s := &simulation{T: t, path: path, objects: map[string]upload{}, reports: map[string][]byte{}, model: newTableModel()}
	s.sorting = ingest.Sorting{
		From: rapid.SampledFrom([]int64{0, 1, 100}).Draw(t, "sort from"), Dir: path,
		MaxDisk: func() int64 { return rapid.SampledFrom([]int64{1 << 20, 1 << 20, 0}).Draw(t, "disk") },
	}
	s.open()
	return s
}

func (s *simulation) open() {
	var err error
	s.db, err = sqlite.Open(sqlite.Config{Path: filepath.Join(s.path, "db"), Relaxed: true})
	s.must(err)
}

func (s *simulation) close() {
	s.must(s.db.Close())
	s.must(os.RemoveAll(s.path))
}

// crash ends the process, as far as the table can tell, and starts the next one.
func (s *simulation) crash() {
	s.must(s.db.Close())
	s.open()
}

func (s *simulation) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// draw draws a number between 0 and most.
func (s *simulation) draw(label string, most int) int {
	return rapid.IntRange(0, most).Draw(s.T, label)
}

// upload draws a file and sends its event once or several times.
func (s *simulation) upload() {
	u := drawUpload(s.T, len(s.objects), 12)
	s.objects[u.object.Key] = u
	for range 1 + s.draw("events", 2) {
		s.events = append(s.events, u.object)
	}
}

// ingest handles one event, or the continuation of a file whose reading was paused. Publishing may fail after some
// messages, the acknowledgement may be lost, and reading is paused at random.
func (s *simulation) ingest() {
	if len(s.events)+len(s.continuations) == 0 {
		return
	}
	topic := &updatesTopic{simulation: s, left: 1000}
	if s.draw("break", 3) == 0 {
		topic.left = s.draw("published", 3)
	}
	in := ingest.New(ingest.Config{
		Objects: bucket{s}, Updates: topic, Continuations: topic, Ledger: s.db, Reports: reports{s.reports},
		Clock: time.Now, Log: slog.New(slog.DiscardHandler),
		Sorting:    s.sorting,
		BatchBytes: 460, // two or three rows
		Pause:      func(context.Context) bool { return s.draw("pause", 3) == 0 },
	})
	lost := s.draw("acknowledgement lost", 4) == 0
	i := s.draw("pick", len(s.events)+len(s.continuations)-1)
	var err error
	if i < len(s.events) {
		if err = in.Ingest(context.Background(), s.events[i]); err == nil && !lost {
			s.events = slices.Delete(s.events, i, i+1)
		}
	} else {
		i -= len(s.events)
		continuation, bad := events.DecodeContinuation(s.continuations[i].Body)
		s.must(bad)
		if err = in.Resume(context.Background(), continuation); err == nil && !lost {
			s.continuations = slices.Delete(s.continuations, i, i+1)
		}
	}
	switch {
	case topic.left < 0 && err == nil:
		s.Fatal("ingest returned no error although a batch was not published")
	case topic.left >= 0 && err != nil:
		s.Fatal(err)
	}
}

// apply delivers a group of messages. They are delivered again if their acknowledgement is lost, or if the process
// crashes before or after the transaction.
func (s *simulation) apply() {
	if len(s.updates) == 0 {
		return
	}
	var group []events.Message
	var bodies [][]byte
	for range 1 + s.draw("group", 3) {
		if len(s.updates) == 0 {
			break
		}
		i := s.draw("pick", len(s.updates)-1)
		group = append(group, s.updates[i])
		bodies = append(bodies, bytes.Clone(s.updates[i].Body))
		s.updates = slices.Delete(s.updates, i, i+1)
	}
	redeliver := func() { s.updates = append(s.updates, group...) }
	outcome := s.draw("outcome", 9)
	if outcome == 0 { // a crash before the transaction
		redeliver()
		s.crash()
		return
	}
	applier := &ingest.Applier{Table: s.db, Copies: reports{s.reports}, Log: slog.New(slog.DiscardHandler)}
	s.must(errors.Join(applier.Apply(context.Background(), bodies)...))
	s.must(s.model.apply(bodies))
	switch outcome {
	case 1: // a crash after the transaction
		redeliver()
		s.crash()
	case 2: // a lost acknowledgement
		redeliver()
	}
}

// announce publishes some changes of the outbox. After a crash between publishing a change and recording that, the
// change is published again.
func (s *simulation) announce() {
	records, err := s.db.Pending(context.Background(), 1+s.draw("records", 3))
	s.must(err)
	announcer := &ingest.Announcer{Changes: changesTopic{s}, Log: slog.New(slog.DiscardHandler)}
	for _, r := range records {
		s.must(errors.Join(announcer.Announce(context.Background(), r.Changes)...))
		if s.draw("crash", 4) == 0 {
			s.crash()
			return
		}
		s.must(s.db.Announced(context.Background(), r.Seq))
	}
}

// announceAll announces until the outbox is empty.
func (s *simulation) announceAll() {
	for {
		records, err := s.db.Pending(context.Background(), 1)
		s.must(err)
		if len(records) == 0 {
			return
		}
		s.announce()
	}
}
