package sqlite_test

import (
	"errors"
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

// query returns the rows of a statement, with the columns separated by spaces.
func query(t *testing.T, path, statement string, args ...any) (rows []string) {
	t.Helper()
	conn, err := zombiezen.OpenConn(path, zombiezen.OpenReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	err = sqlitex.ExecuteTransient(conn, statement, &sqlitex.ExecOptions{Args: args,
		ResultFunc: func(stmt *zombiezen.Stmt) error {
			columns := make([]string, stmt.ColumnCount())
			for i := range columns {
				columns[i] = stmt.ColumnText(i)
			}
			rows = append(rows, strings.Join(columns, " "))
			return nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// checkPeople compares the people in each of the two tables.
func checkPeople(t *testing.T, path, favorites, removed string) {
	t.Helper()
	var got []string
	for _, table := range []string{"favorites", "removed"} {
		got = append(got, strings.Join(query(t, path, "SELECT person FROM "+table+" ORDER BY person"), ","))
	}
	if diff := cmp.Diff([]string{favorites, removed}, got); diff != "" {
		t.Errorf("favorites and removed (-want +got):\n%s", diff)
	}
}

// TestTeamReadsNobodyRemoved checks that the table that Team reads contains no removed people, and that Team uses its
// primary key.
func TestTeamReadsNobodyRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table.db")
	db := mustOpen(t, sqlite.Config{Path: path})
	mustApply(t, db, rows(t, 1, "andy=mint", "ben=nut", "cleo=fig", "dan=fig"))
	mustApply(t, db, rows(t, 3, "andy", "ben", "zoe"))
	checkPeople(t, path, "cleo,dan", "andy,ben,zoe")
	results := mustApply(t, db,
		rows(t, 2, "andy=late", "zoe"), rows(t, 4, "ben=back", "cleo"), rows(t, 0, "dan"), rows(t, 5, "andy"))
	want := []events.BatchResult{{Superseded: 2}, {Applied: 2}, {Superseded: 1}, {Applied: 1}}
	if diff := cmp.Diff(want, results); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	checkPeople(t, path, "ben,dan", "andy,cleo,zoe")
	plan := strings.Join(query(t, path, "EXPLAIN QUERY PLAN "+sqlite.SelectTeam, "", 1000), "\n")
	if !strings.Contains(plan, "SEARCH f USING PRIMARY KEY (person>?)") || strings.Contains(plan, "TEMP") {
		t.Errorf("query plan of Team:\n%s\nwant a search by the primary key", plan)
	}
}

// TestUpgrade checks that a file of an earlier release keeps its people and tombstones, and then works like a new one.
// An upload that the earlier release began is not sorted.
func TestUpgrade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table.db")
	script, err := os.ReadFile("testdata/schema-1.sql")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := zombiezen.OpenConn(path, zombiezen.OpenReadWrite|zombiezen.OpenCreate)
	if err != nil {
		t.Fatal(err)
	}
	begun, applied := object(3), object(4) // the upload applied has only batches
	begin := "UPDATE uploads SET key = 'k' WHERE upload = '" + begun.UploadID() + "';"
	if err := errors.Join(sqlitex.ExecuteScript(conn, string(script)+begin, nil), conn.Close()); err != nil {
		t.Fatal(err)
	}
	now := time.UnixMilli(1_795_000_000_000).Add(time.Hour) // when the tombstones of andy and nobody expire
	cfg := sqlite.Config{Path: path, Clock: func() time.Time { return now }}
	for range 2 { // the second time, nothing is upgraded
		db := mustOpen(t, cfg)
		checkPeople(t, path, "ben,cleo", "andy,nobody,zoë")
		if diff := cmp.Diff([]string{"3"}, query(t, path, "PRAGMA user_version")); diff != "" {
			t.Errorf("user_version (-want +got):\n%s", diff)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	db := mustOpen(t, cfg)
	for o, want := range map[events.Object]bool{begun: false, applied: true} {
		if u, err := db.Begin(t.Context(), o, true); u.Sorted != want || u.Counts.Applied != 1 || err != nil {
			t.Errorf("Begin() = %+v, %v; want an upload with one applied row and Sorted = %t", u, err, want)
		}
	}
	results := mustApply(t, db, rows(t, 0, "andy=late", "nobody=late", "zoë=late"), rows(t, 5, "zoë=back", "cleo"))
	if diff := cmp.Diff([]events.BatchResult{{Superseded: 3}, {Applied: 2}}, results); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	checkPeople(t, path, "ben,zoë", "andy,cleo,nobody")
	if n, err := db.Prune(t.Context()); n != 2 || err != nil {
		t.Errorf("Prune() = %d, %v; want 2", n, err)
	}
	team, err := db.Team(t.Context(), "", 10)
	if err != nil || len(team) != 2 || team[0].Flavor != "back" || team[1].Flavor != "back" {
		t.Errorf("Team() = %v, %v; want two people with the flavor back", team, err)
	}
	changes, err := drain(t.Context(), db)
	if err != nil || len(changes) != 2 {
		t.Errorf("changes %v, %v; want one of zoë and one of cleo", changes, err)
	}
}
