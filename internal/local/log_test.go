package local_test

import (
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/flavorless/flavorless/internal/local"
	"github.com/flavorless/flavorless/internal/local/control"
	"github.com/flavorless/flavorless/internal/testutil"
)

// entry is a line of the log, as far as these tests need it.
type entry struct {
	Level, Event, Upload string
	Uploads              []string
	line                 string
}

// isAbout reports whether an attribute of the entry names the upload.
func (e entry) isAbout(id string) bool { return e.Upload == id || slices.Contains(e.Uploads, id) }

func (b *syncBuffer) entries(t *testing.T) (all []entry) {
	t.Helper()
	for line := range strings.Lines(b.String()) {
		e := entry{line: line}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, e)
	}
	return all
}

// levels returns the levels of all entries about an upload.
func (b *syncBuffer) levels(t *testing.T, id string) (levels []string) {
	t.Helper()
	for _, e := range b.entries(t) {
		if e.isAbout(id) {
			levels = append(levels, e.Level)
		}
	}
	return levels
}

// TestLogNamesTheUpload checks that every log entry about an upload names it in an attribute, on the whole path of an
// upload: when its batches are published and applied, when it is settled, and when any of that fails.
func TestLogNamesTheUpload(t *testing.T) {
	var log syncBuffer
	s := start(t, func(c *local.Config) {
		c.Log = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	want := map[string][]string{} // levels of entries that each upload must have
	// Published, applied, settled.
	processed := []string{"INFO", "DEBUG", "INFO"}
	good := s.upload("good.csv", "person,flavor\nandy,mint\n")
	bad := s.upload("bad.csv", "person,flavor\nandy,fig\nbill,\n")
	failed := s.upload("failed.json", `{"carl": "fig", "d`)
	for _, id := range []string{good, bad, failed} {
		want[id] = processed
		s.settled(id)
	}

	// The table rejects all writes: batches are applied together at first, and then one by one.
	s.sql("CREATE TRIGGER outage BEFORE INSERT ON favorites BEGIN SELECT RAISE(ABORT, 'injected failure'); END")
	var retried []string
	for _, name := range []string{"x.csv", "y.csv", "z.csv"} {
		id := s.upload(name, "person,flavor\n"+name+",fig\n")
		retried, want[id] = append(retried, id), append([]string{"WARN"}, processed...)
	}
	testutil.WaitFor(t, "a retry of each upload", func() bool {
		for _, id := range retried {
			if !slices.Contains(log.levels(t, id), "WARN") {
				return false
			}
		}
		return true
	})
	s.sql("DROP TRIGGER outage")
	for _, id := range retried {
		s.settled(id)
	}

	// A malformed event becomes a dead letter at once, and again after a redrive.
	dead := s.publishMalformed()
	want[dead] = []string{"ERROR", "INFO", "ERROR"}
	isDead := func() bool { return s.scrape()[`flavorless_queue_messages{queue="ingest",state="dead"}`] == 1 }
	testutil.WaitFor(t, "a dead letter", isDead)
	client, err := control.Open(t.Context(), s.Info().API, s.Info().Control)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := client.Redrive(t.Context(), "ingest-dead", func(int64) {}); r.Restored != 1 || err != nil {
		t.Fatalf("Redrive = %+v, %v; want 1 restored", r, err)
	}
	testutil.WaitFor(t, "the dead letter again", isDead)

	// Records can't be removed from the outbox.
	s.sql("CREATE TRIGGER stuck BEFORE DELETE ON outbox BEGIN SELECT RAISE(ABORT, 'injected failure'); END")
	stuck := s.upload("stuck.csv", "person,flavor\nstuck,fig\n")
	want[stuck] = append([]string{"WARN"}, processed...)
	testutil.WaitFor(t, "a failure to announce", func() bool {
		return slices.ContainsFunc(log.entries(t), func(e entry) bool { return e.Event == "announce_retry" })
	})
	s.sql("DROP TRIGGER stuck")
	s.settled(stuck)

	for _, e := range log.entries(t) {
		for id := range want {
			if strings.Contains(e.line, id) && !e.isAbout(id) {
				t.Errorf("an entry about upload %s does not name it in an attribute: %s", id, e.line)
			}
		}
	}
	for id, levels := range want {
		got := log.levels(t, id)
		for _, level := range []string{"DEBUG", "INFO", "WARN", "ERROR"} {
			if got, want := count(got, level), count(levels, level); got < want {
				t.Errorf("%d entries of level %s about upload %s, want at least %d", got, level, id, want)
			}
		}
	}
	if got := log.levels(t, good); slices.Contains(got, "WARN") || slices.Contains(got, "ERROR") {
		t.Errorf("levels of entries about a good upload: %q; want none above INFO", got)
	}
}

// count returns how often a level is among others.
func count(levels []string, level string) (n int) {
	for _, l := range levels {
		if l == level {
			n++
		}
	}
	return n
}
