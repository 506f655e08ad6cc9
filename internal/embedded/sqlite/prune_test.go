package sqlite_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	zombiezen "zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/sqlite"
)

func TestPrune(t *testing.T) {
	now := time.UnixMilli(1_795_000_000_000)
	db := mustOpen(t, sqlite.Config{Clock: func() time.Time { return now }, TombstoneRetention: time.Hour})
	prune := func(want int) {
		t.Helper()
		if n, err := db.Prune(t.Context()); n != want || err != nil {
			t.Errorf("Prune() = %d, %v; want %d", n, err, want)
		}
	}
	mustApply(t, db, rows(t, 1, "andy=mint", "ben=mint", "cleo=mint"))
	mustApply(t, db, rows(t, 2, "andy", "ben", "cleo"))
	now = now.Add(30 * time.Minute)
	mustApply(t, db, rows(t, 3, "ben=back"))
	mustApply(t, db, rows(t, 4, "cleo")) // a new removal restarts the retention
	prune(0)
	now = now.Add(30 * time.Minute)
	prune(1)
	if diff := cmp.Diff([]events.BatchResult{{Applied: 1, Superseded: 1}},
		mustApply(t, db, rows(t, 0, "andy=late", "cleo=late"))); diff != "" {
		t.Errorf("older than the tombstones (-want +got):\n%s", diff)
	}
	now = now.Add(30 * time.Minute)
	prune(1)
	team, err := db.Team(t.Context(), "", 10)
	if err != nil || len(team) != 2 || team[1].Flavor != "back" {
		t.Errorf("Team() = %v, %v; want ben and another person", team, err)
	}
}

// TestForget checks that old settled uploads are deleted with their batches and rejects, and that their rows, the
// newest uploads and unsettled uploads stay.
func TestForget(t *testing.T) {
	now := time.UnixMilli(1_795_000_000_000)
	path := filepath.Join(t.TempDir(), "table.db")
	db := mustOpen(t, sqlite.Config{Path: path, Clock: func() time.Time { return now }})
	var ids []string
	upload := func(ms int64, sealed bool) {
		t.Helper()
		b := rows(t, ms, fmt.Sprintf("person %d=mint", ms))
		if _, err := db.Begin(t.Context(), object(ms), false); err != nil {
			t.Fatal(err)
		}
		mustApply(t, db, b)
		if sealed {
			r := events.ReadSummary{Format: "csv", Rows: 2, Rejected: 1, Batches: 1, Rejects: []events.Reject{{Line: 3}},
				At: now}
			if _, err := db.Seal(t.Context(), b.UploadID(), r); err != nil {
				t.Fatal(err)
			}
		}
		ids = append(ids, b.UploadID())
	}
	upload(0, true)
	upload(1, false)
	upload(2, true)
	now = now.Add(time.Hour)
	upload(3, true)
	upload(4, true)
	settled := func(before time.Time, newest, limit int) (old []string) {
		t.Helper()
		list, err := db.Settled(t.Context(), before, newest, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range list {
			old = append(old, u.ID)
		}
		return old
	}
	for name, test := range map[string]struct{ got, want []string }{
		"old":                  {settled(now, 1, 10), []string{ids[0], ids[2]}},
		"all but the newest":   {settled(now.Add(time.Second), 1, 10), []string{ids[0], ids[2], ids[3]}},
		"all but the newest 4": {settled(now.Add(time.Second), 4, 10), []string{ids[0]}},
		"none but the newest":  {settled(now.Add(time.Second), 5, 10), nil},
		"one":                  {settled(now, 0, 1), []string{ids[0]}},
	} {
		if diff := cmp.Diff(test.want, test.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for _, id := range append(ids[:3:3], "unknown") {
		if err := db.Forget(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	for i, gone := range []bool{true, false, true, false, false} {
		if _, err := db.Upload(t.Context(), ids[i]); errors.Is(err, events.ErrNotFound) != gone {
			t.Errorf("upload %d: %v, want it deleted: %t", i, err, gone)
		}
	}
	team, err := db.Team(t.Context(), "", 10)
	if err != nil || len(team) != 5 {
		t.Errorf("Team() = %v, %v; want all 5 people", team, err)
	}
	conn, err := zombiezen.OpenConn(path, zombiezen.OpenReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for table, want := range map[string]int64{"uploads": 3, "batches": 3, "rejects": 2} {
		got, err := sqlitex.ResultInt64(conn.Prep("SELECT count(*) FROM " + table))
		if err != nil || got != want {
			t.Errorf("%s has %d rows, %v; want %d", table, got, err, want)
		}
	}
}

// TestRestart checks that an upload that is restarted loses its counts but is still sorted, or still not.
func TestRestart(t *testing.T) {
	db := mustOpen(t, sqlite.Config{Path: filepath.Join(t.TempDir(), "table.db")})
	for ms, sort := range []bool{false, true} {
		o := object(int64(ms))
		want, err := db.Begin(t.Context(), o, sort)
		if err != nil {
			t.Fatal(err)
		}
		mustApply(t, db, rows(t, int64(ms), "andy=mint"))
		if restarted, err := db.Restart(t.Context(), o.UploadID()); !restarted || err != nil {
			t.Fatalf("Restart() = %t, %v, want true", restarted, err)
		}
		got, err := db.Begin(t.Context(), o, !sort)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" || got.Sorted != sort {
			t.Errorf("record with Sorted = %t (-first +restarted):\n%s", sort, diff)
		}
	}
}
