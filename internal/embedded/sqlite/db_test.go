package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	zombiezen "zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/sqlite"
)

// object returns an object that was uploaded ms milliseconds after a fixed time.
func object(ms int64) events.Object {
	return events.Object{Bucket: "b", Key: "k", VersionID: fmt.Sprint(ms), Sequencer: "0055",
		Time: time.UnixMilli(1_795_000_000_000 + ms)}
}

// rows returns a batch of an upload at ms milliseconds after a fixed time. A row is "andy=mint", or "andy" for a
// removal.
func rows(t testing.TB, ms int64, rows ...string) events.Batch {
	t.Helper()
	origin, err := object(ms).Origin()
	if err != nil {
		t.Fatal(err)
	}
	b := events.Batch{Origin: origin}
	for i, row := range rows {
		person, flavor, set := strings.Cut(row, "=")
		b.Rows = append(b.Rows, events.Update{Offset: int64(i), Person: person, Flavor: flavor, Remove: !set})
	}
	return b
}

// manyRows returns a batch of n people who all like figs.
func manyRows(t testing.TB, n int) events.Batch {
	t.Helper()
	people := make([]string, n)
	for i := range people {
		people[i] = fmt.Sprintf("person %d=fig", i)
	}
	return rows(t, 1, people...)
}

func mustApply(t testing.TB, db *sqlite.DB, batches ...events.Batch) []events.BatchResult {
	t.Helper()
	results, err := db.Apply(t.Context(), batches, nil)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func TestSurvivesRestart(t *testing.T) {
	cfg := sqlite.Config{Path: filepath.Join(t.TempDir(), "a %3f?b#.db")}
	db := mustOpen(t, cfg)
	b := rows(t, 1, "andy=mint", "ben=nut")
	mustApply(t, db, b)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(cfg.Path + "-wal"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the log after Close: %v, want it removed", err)
	}
	db = mustOpen(t, cfg)
	// The stored row has an origin that is not in the cache.
	if diff := cmp.Diff([]events.BatchResult{{Applied: 1}}, mustApply(t, db, rows(t, 2, "andy=fig"))); diff != "" {
		t.Errorf("newer (-want +got):\n%s", diff)
	}
	sqlite.ForgetOrigins(db)
	if diff := cmp.Diff([]events.BatchResult{{Superseded: 1}}, mustApply(t, db, rows(t, 0, "ben=late"))); diff != "" {
		t.Errorf("older (-want +got):\n%s", diff)
	}
	if !mustApply(t, db, b)[0].Duplicate {
		t.Error("Duplicate = false for a batch that was applied before the restart, want true")
	}
	changes, err := drain(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range changes {
		got = append(got, fmt.Sprintf("%s %s %s", c.Kind, c.Person, c.Flavor))
	}
	if diff := cmp.Diff([]string{"created andy mint", "created ben nut", "changed andy fig"}, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("This is no database. ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ path, want string }{
		"no folder":      {filepath.Join(dir, "missing", "table.db"), "the folder is missing or not writable"},
		"a folder":       {dir, "the folder is missing or not writable"},
		"another format": {text, "not an SQLite database"},
		"another schema": {sqliteFile(t, "CREATE TABLE notes (text)"), "of another program"},
		"from a newer": {sqliteFile(t, "PRAGMA user_version = 99"),
			"written by a newer flavorless (schema 99; this one supports up to 3)"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sqlite.Open(sqlite.Config{Path: test.path})
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), test.path) {
				t.Errorf("Open: %v, want an error with %q and the path", err, test.want)
			}
		})
	}
}

// sqliteFile creates an SQLite file with a statement.
func sqliteFile(t *testing.T, statement string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "other.db")
	conn, err := zombiezen.OpenConn(path, zombiezen.OpenReadWrite|zombiezen.OpenCreate)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sqlitex.ExecuteTransient(conn, statement, nil), conn.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFullDisk(t *testing.T) {
	db := mustOpen(t, sqlite.Config{})
	mustApply(t, db, rows(t, 0, "andy=mint"))
	if err := sqlite.LimitPages(db, 20); err != nil {
		t.Fatal(err)
	}
	b := manyRows(t, 5000)
	_, err := db.Apply(t.Context(), []events.Batch{b}, nil)
	if zombiezen.ErrCode(err) != zombiezen.ResultFull {
		t.Fatalf("Apply: %v, want SQLite's error for a full disk", err)
	}
	if !errors.Is(err, events.ErrUnavailable) || errors.Is(err, events.ErrPermanent) {
		t.Errorf("Apply: %v, want events.ErrUnavailable", err)
	}
	team, err := db.Team(t.Context(), "", 10)
	if err != nil || len(team) != 1 {
		t.Errorf("Team() = %v, %v; want it unchanged", team, err)
	}
	if _, err := db.Upload(t.Context(), b.UploadID()); !errors.Is(err, events.ErrNotFound) {
		t.Errorf("Upload() = %v, want events.ErrNotFound", err)
	}
	if err := sqlite.LimitPages(db, 1_000_000); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]events.BatchResult{{Applied: 5000}}, mustApply(t, db, b)); diff != "" {
		t.Errorf("after the disk was enlarged (-want +got):\n%s", diff)
	}
	// The rolled-back transaction had given its origin a number.
	if f, err := db.Lookup(t.Context(), "person 7"); err != nil || f.Version != b.Origin.At(7) {
		t.Errorf("Lookup() = %v, %v; want version %s", f, err, b.Origin.At(7))
	}
}

// expiringContext is a context that is canceled after left calls of Err.
type expiringContext struct {
	context.Context //nolint:containedctx // it is a context itself
	left            int
}

func (c *expiringContext) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestApplyEndsWithItsContext(t *testing.T) {
	db := mustOpen(t, sqlite.Config{})
	b := manyRows(t, 5000)
	if _, err := db.Apply(&expiringContext{t.Context(), 3}, []events.Batch{b}, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("Apply: %v, want context.Canceled", err)
	}
	if team, err := db.Team(t.Context(), "", 10); err != nil || len(team) > 0 {
		t.Errorf("Team() = %v, %v; want nobody", team, err)
	}
	if diff := cmp.Diff([]events.BatchResult{{Applied: 5000}}, mustApply(t, db, b)); diff != "" {
		t.Errorf("again (-want +got):\n%s", diff)
	}
}

func TestReadersDoNotWaitForTheWriter(t *testing.T) {
	db := mustOpen(t, sqlite.Config{})
	mustApply(t, db, rows(t, 0, "andy=mint"))
	release, err := sqlite.Hold(db)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for range 10 { // more than there are connections
		if f, err := db.Lookup(ctx, "andy"); err != nil || f.Flavor != "mint" {
			t.Errorf("Lookup() = %v, %v; want the committed flavor", f, err)
		}
	}
	waiting, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer stop()
	_, err = db.Apply(waiting, []events.Batch{rows(t, 1, "andy=fig")}, nil)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Apply of a second writer: %v, want context.DeadlineExceeded", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
}

func TestClosed(t *testing.T) {
	db := mustOpen(t, sqlite.Config{})
	waiting := make(chan error)
	go func() { waiting <- db.WaitPending(context.Background()) }()
	time.Sleep(10 * time.Millisecond)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; err == nil {
		t.Error("WaitPending = nil, want an error")
	}
	if _, err := db.Apply(t.Context(), []events.Batch{rows(t, 0, "andy=mint")}, nil); err == nil {
		t.Error("Apply = nil, want an error")
	}
	if _, err := db.Lookup(t.Context(), "andy"); err == nil || errors.Is(err, events.ErrNotFound) {
		t.Errorf("Lookup: %v, want an error other than events.ErrNotFound", err)
	}
	if err := db.Close(); err != nil {
		t.Errorf("Close again: %v, want success", err)
	}
}
