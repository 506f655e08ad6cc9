package local_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/local"
	"github.com/flavorless/flavorless/internal/local/control"
)

// entry is a line of the log, as far as these tests look at it.
type entry struct {
	Level, Msg, Upload string
	Uploads            []string
	line               string
}

// about tells whether the entry has the upload where it is looked for.
func (e entry) about(id string) bool { return e.Upload == id || slices.Contains(e.Uploads, id) }

func (s *syncBuffer) entries(t *testing.T) (all []entry) {
	t.Helper()
	for line := range strings.Lines(s.String()) {
		e := entry{line: line}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, e)
	}
	return all
}

// TestLogNamesTheUpload: whoever looks for an upload in the log finds all that there is about it.
func TestLogNamesTheUpload(t *testing.T) {
	var log syncBuffer
	h := start(t, func(c *local.Config) {
		c.Log = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	said := map[string][]string{} // that has to be said of each upload
	good := h.upload("good.csv", "person,flavor\nandy,mint\n")
	said[good] = []string{"INFO published", "DEBUG applied", "INFO settled"}
	bad := h.upload("bad.csv", "person,flavor\nandy,fig\nbill,\n")
	said[bad] = []string{"INFO published", "DEBUG applied", "INFO settled"}
	failed := h.upload("failed.json", `{"carl": "fig", "d`)
	said[failed] = []string{"INFO published", "DEBUG applied", "INFO settled"}
	for _, id := range []string{good, bad, failed} {
		h.settled(id)
	}

	// A table on strike: two at a time, so that they are applied together, and then one by one.
	h.sql("CREATE TRIGGER outage BEFORE INSERT ON favorites BEGIN SELECT RAISE(ABORT, 'on strike'); END")
	var struck []string
	for _, name := range []string{"x.csv", "y.csv", "z.csv"} {
		id := h.upload(name, "person,flavor\n"+name+",fig\n")
		struck = append(struck, id)
		said[id] = []string{"INFO published", "WARN a message failed and will be retried", "DEBUG applied", "INFO settled"}
	}
	await(t, "a retry of each", func() bool {
		retried := map[string]bool{}
		for _, e := range log.entries(t) {
			if strings.Contains(e.Msg, "will be retried") {
				retried[e.Upload] = true
			}
		}
		return len(retried) == len(struck)
	})
	h.sql("DROP TRIGGER outage")
	for _, id := range struck {
		h.settled(id)
	}

	// Dead at once, put back, and dead again.
	bury := events.Object{Bucket: "b", Key: "uploads/dead.csv", ETag: "e", Sequencer: "none", Time: time.Now()}
	dead := bury.UploadID()
	said[dead] = []string{"ERROR a message is a dead letter now", "INFO put back"}
	if err := h.Stored(t.Context(), bury); err != nil {
		t.Fatal(err)
	}
	buried := func() bool { return h.scrape()[`flavorless_queue_messages{queue="ingest",state="dead"}`] == 1 }
	await(t, "a dead letter", buried)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.Info().API+control.Path+"?queue=ingest-dead", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+h.Info().Control)
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%v, error %v", res, err)
	}
	res.Body.Close()
	await(t, "a dead letter again", buried)

	// What announces has no table any more; what it has in hand stays there.
	h.sql("CREATE TRIGGER stuck BEFORE DELETE ON outbox BEGIN SELECT RAISE(ABORT, 'on strike'); END")
	stuck := h.upload("stuck.csv", "person,flavor\nstuck,fig\n")
	said[stuck] = []string{"INFO published", "DEBUG applied", "INFO settled", "WARN announcing again"}
	await(t, "a failure to announce", func() bool {
		return slices.ContainsFunc(log.entries(t), func(e entry) bool { return strings.HasPrefix(e.Msg, "announcing again") })
	})
	h.sql("DROP TRIGGER stuck")
	h.settled(stuck)

	found := map[string][]string{}
	for _, e := range log.entries(t) {
		for id := range said {
			if strings.Contains(e.line, id) && !e.about(id) {
				t.Errorf("about upload %s, but not by attribute: %s", id, e.line)
			}
			if e.about(id) {
				found[id] = append(found[id], e.Level+" "+e.Msg)
			}
		}
	}
	for id, want := range said {
		for _, w := range want {
			if !slices.Contains(found[id], w) {
				t.Errorf("of upload %s it is not said %q, only %q", id, w, found[id])
			}
		}
	}
	if levels := worst(found[good]); levels != "INFO" {
		t.Errorf("a good upload is worth %s: %q", levels, found[good])
	}
	if diff := cmp.Diff("ERROR", worst(found[dead])); diff != "" {
		t.Error(diff)
	}
}

// worst is the highest level of some entries.
func worst(said []string) string {
	for _, level := range []string{"ERROR", "WARN", "INFO"} {
		if slices.ContainsFunc(said, func(s string) bool { return strings.HasPrefix(s, level+" ") }) {
			return level
		}
	}
	return "DEBUG"
}
