package sqlite_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	zombiezen "zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/sqlite"
)

// crashPath is set in the environment of the process that is to be killed.
const crashPath = "FLAVORLESS_CRASH_TABLE"

func TestMain(m *testing.M) {
	if path := os.Getenv(crashPath); path != "" {
		if err := applyUntilKilled(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// crashBatches are 30 uploads with 12 batches of 300 rows about 2,000 people; every seventh row removes.
func crashBatches() (objects []events.Object, batches []events.Batch) {
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 30 {
		o := events.Object{
			Bucket: "b", Key: fmt.Sprintf("%d.csv", i), ETag: "e", Sequencer: "0055", Time: time.UnixMilli(1_795_000_000_000 + int64(i)),
		}
		objects = append(objects, o)
		origin, err := o.Origin()
		if err != nil {
			panic(err)
		}
		for j := range 12 {
			b := events.Batch{Origin: origin, First: int64(j) * 9000}
			for k := range 300 {
				u := events.Update{
					Offset: b.First + int64(k)*30, Person: fmt.Sprintf("person %d", rng.IntN(2000)), Flavor: fmt.Sprintf("flavor %d", rng.IntN(5)),
				}
				if rng.IntN(7) == 0 {
					u.Flavor, u.Remove = "", true
				}
				b.Rows = append(b.Rows, u)
			}
			batches = append(batches, b)
		}
	}
	return objects, batches
}

// applyUntilKilled applies batches in random order, a few a call, and says which ones Apply has returned from.
func applyUntilKilled(path string) error {
	db, err := sqlite.Open(sqlite.Config{Path: path, Relaxed: true})
	if err != nil {
		return err
	}
	_, batches := crashBatches()
	for {
		some := make([]events.Batch, 1+rand.IntN(4))
		for i := range some {
			some[i] = batches[rand.IntN(len(batches))]
		}
		if _, err := db.Apply(context.Background(), some); err != nil {
			return err
		}
		for _, b := range some {
			fmt.Println(b.ID())
		}
	}
}

func TestSurvivesSIGKILL(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table.db")
	objects, batches := crashBatches()
	acknowledged := map[string]bool{}
	for range 8 {
		for _, id := range killInApply(t, path) {
			acknowledged[id] = true
		}
		checkAfterCrash(t, path, batches, acknowledged)
	}
	if n := len(acknowledged); n == 0 {
		t.Error("no batch was ever applied")
	}

	// What is delivered again completes it.
	db := mustOpen(t, sqlite.Config{Path: path})
	for _, o := range objects {
		if _, err := db.Begin(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Seal(t.Context(), o.UploadID(), events.ReadSummary{Rows: 3600, Batches: 12, At: o.Time}); err != nil {
			t.Fatal(err)
		}
	}
	mustApply(t, db, batches...)
	want := map[string]events.Favorite{}
	for _, b := range batches {
		for _, row := range b.Rows {
			if f := (events.Favorite{Person: row.Person, Flavor: row.Flavor, Version: b.Origin.At(row.Offset)}); f.Version > want[row.Person].Version {
				want[row.Person] = f
			}
		}
	}
	for person, f := range want {
		got, err := db.Lookup(t.Context(), person)
		if f.Flavor == "" && errors.Is(err, events.ErrNotFound) {
			continue
		}
		if diff := cmp.Diff(f, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", person, err, diff)
		}
	}
	for _, o := range objects {
		u, err := db.Upload(t.Context(), o.UploadID())
		if c := u.Counts; err != nil || u.Status != events.Live || c.Applied+c.Superseded != 3600 || c.BatchesApplied != 12 {
			t.Errorf("upload %s is %s with %+v, %v", o.Key, u.Status, u.Counts, err)
		}
	}
}

// killInApply starts a process that applies, kills it a moment after its first call has returned, and gives the ids of
// the batches that it saw applied.
func killInApply(t *testing.T, path string) (acknowledged []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashPath+"="+path)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if len(acknowledged) == 0 {
			time.AfterFunc(time.Duration(rand.IntN(15_000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
		}
		acknowledged = append(acknowledged, lines.Text())
	}
	if err := cmd.Wait(); err == nil || len(acknowledged) == 0 {
		t.Fatalf("the process ended by itself: %v\n%s", err, stderr.String())
	}
	return acknowledged
}

// checkAfterCrash holds table, ledger and outbox against each other.
func checkAfterCrash(t *testing.T, path string, batches []events.Batch, acknowledged map[string]bool) {
	t.Helper()
	db, err := sqlite.Open(sqlite.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	recorded := recordedBatches(t, path)
	for id := range acknowledged {
		if !recorded[id] {
			t.Errorf("batch %s was applied and is not recorded", id)
		}
	}
	counts, want := map[string]events.Counts{}, map[string]int64{}
	for _, b := range batches {
		if recorded[b.ID()] {
			want[b.UploadID()] += int64(len(b.Rows))
		}
	}
	uploads, err := db.Uploads(t.Context(), "", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range uploads {
		counts[u.ID] = u.Counts
		if c := u.Counts; c.Applied+c.Superseded != want[u.ID] || c.BatchesApplied*300 != want[u.ID] {
			t.Errorf("upload %s counts %+v, but batches with %d rows are recorded", u.ID, c, want[u.ID])
		}
	}
	if len(counts) != len(want) {
		t.Errorf("there are records of %d uploads, want %d", len(counts), len(want))
	}
	pending, err := db.Pending(t.Context(), 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	announced := map[string]string{}
	for _, p := range pending {
		for _, c := range p.Changes {
			if announced[c.Person] != c.Previous {
				t.Errorf("%+v follows %q", c, announced[c.Person])
			}
			announced[c.Person] = c.Flavor
			if c.Flavor == "" {
				delete(announced, c.Person)
			}
		}
	}
	team, err := db.Team(t.Context(), "", 10_000)
	if err != nil {
		t.Fatal(err)
	}
	stored := map[string]string{}
	for _, f := range team {
		stored[f.Person] = f.Flavor
	}
	if diff := cmp.Diff(stored, announced); diff != "" {
		t.Errorf("the changes do not add up to the table (-table +changes):\n%s", diff)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// recordedBatches looks into the file itself, and checks its structure.
func recordedBatches(t *testing.T, path string) map[string]bool {
	t.Helper()
	conn, err := zombiezen.OpenConn(path, zombiezen.OpenReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	var faults []string
	err = errors.Join(
		sqlitex.ExecuteTransient(conn, `SELECT u.upload || '/' || first FROM batches JOIN uploads AS u ON u.id = batches.upload`,
			&sqlitex.ExecOptions{ResultFunc: func(stmt *zombiezen.Stmt) error {
				ids[stmt.ColumnText(0)] = true
				return nil
			}}),
		sqlitex.ExecuteTransient(conn, `PRAGMA integrity_check`,
			&sqlitex.ExecOptions{ResultFunc: func(stmt *zombiezen.Stmt) error {
				faults = append(faults, stmt.ColumnText(0))
				return nil
			}}),
		conn.Close())
	if err != nil || !slices.Equal(faults, []string{"ok"}) {
		t.Fatalf("the file is damaged: %v, %v", faults, err)
	}
	return ids
}
