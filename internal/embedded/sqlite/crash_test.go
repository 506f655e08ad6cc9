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

// crashPath is the environment variable that makes the test binary apply batches until it is killed.
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

// crashBatches returns 30 uploads with 12 batches of 300 rows each, about 2,000 people; a seventh of the rows are
// removals.
func crashBatches() (objects []events.Object, batches []events.Batch) {
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 30 {
		o := events.Object{
			Bucket: "b", Key: fmt.Sprintf("%d.csv", i), ETag: "e", Sequencer: "0055",
			Time: time.UnixMilli(1_795_000_000_000 + int64(i)),
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
					Offset: b.First + int64(k)*30, Person: fmt.Sprintf("person %d", rng.IntN(2000)),
					Flavor: fmt.Sprintf("flavor %d", rng.IntN(5)),
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

// applyUntilKilled applies batches in random order, a few per call, and prints the IDs of those that were applied.
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
		if _, err := db.Apply(context.Background(), some, nil); err != nil {
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
		t.Error("no batch was applied, want at least one")
	}

	// Delivering all batches again completes the uploads.
	db := mustOpen(t, sqlite.Config{Path: path})
	for _, o := range objects {
		if _, err := db.Begin(t.Context(), o, false); err != nil {
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
			if f := (events.Favorite{Person: row.Person, Flavor: row.Flavor,
				Version: b.Origin.At(row.Offset)}); f.Version > want[row.Person].Version {
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
			t.Errorf("upload %s: status %s, counts %+v, %v; want it live with 3600 rows in 12 batches", o.Key, u.Status,
				u.Counts, err)
		}
	}
}

// killInApply starts a process that applies batches, kills it shortly after its first call has returned, and returns
// the IDs that it printed.
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
		t.Fatalf("the process ended before it was killed: %v\n%s", err, stderr.String())
	}
	return acknowledged
}

// checkAfterCrash checks that table, ledger and outbox are consistent.
func checkAfterCrash(t *testing.T, path string, batches []events.Batch, acknowledged map[string]bool) {
	t.Helper()
	db, err := sqlite.Open(sqlite.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	recorded := recordedBatches(t, path)
	for id := range acknowledged {
		if !recorded[id] {
			t.Errorf("batch %s was applied but is not recorded", id)
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
			t.Errorf("counts of upload %s = %+v, want the %d rows of the recorded batches", u.ID, c, want[u.ID])
		}
	}
	if len(counts) != len(want) {
		t.Errorf("records of %d uploads, want %d", len(counts), len(want))
	}
	pending, err := db.Pending(t.Context(), 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	announced := map[string]string{}
	for _, p := range pending {
		for _, c := range p.Changes {
			if announced[c.Person] != c.Previous {
				t.Errorf("change %+v, want Previous = %q", c, announced[c.Person])
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

// recordedBatches reads the recorded batches from the file, and checks the integrity of the file.
func recordedBatches(t *testing.T, path string) map[string]bool {
	t.Helper()
	conn, err := zombiezen.OpenConn(path, zombiezen.OpenReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	var faults []string
	err = errors.Join(
		sqlitex.ExecuteTransient(conn, `SELECT u.upload || '/' || first
			FROM batches JOIN uploads AS u ON u.id = batches.upload`,
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
		t.Fatalf("integrity_check = %v, %v; want ok", faults, err)
	}
	return ids
}
