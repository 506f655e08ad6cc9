package sqlite_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	zombiezen "zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/sqlite"
)

// The benchmarks write all people in random order, with 14 batches of 1,700 rows per transaction: into an empty table
// (load), then with a new flavor for everyone (update), then with a new flavor for 1 % of them (reload).
//
//	FLAVORLESS_BENCH_PEOPLE=1000000 go test -run '^$' -bench . -benchtime 1x ./internal/embedded/sqlite

const (
	rowsOfBatch   = 1700
	batchesOfCall = 14
)

func people(b *testing.B) int {
	text := os.Getenv("FLAVORLESS_BENCH_PEOPLE")
	if text == "" {
		return 200_000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// file returns the batches of one upload: each person once, in random order.
func file(n, number int, flavors []string) []events.Batch {
	o := events.Object{
		Bucket: "favorites", Key: "team.csv", VersionID: strconv.Itoa(number), Sequencer: fmt.Sprintf("%016x", number),
		Time: time.UnixMilli(1_795_000_000_000 + int64(number)),
	}
	origin, err := o.Origin()
	if err != nil {
		panic(err)
	}
	rng := rand.New(rand.NewPCG(uint64(number), 1))
	var batches []events.Batch
	offset := int64(14)
	for i, person := range rng.Perm(n) {
		if i%rowsOfBatch == 0 {
			batches = append(batches, events.Batch{Origin: origin, First: offset})
		}
		last := &batches[len(batches)-1]
		last.Rows = append(last.Rows, events.Update{
			Offset: offset, Person: fmt.Sprintf("person-%07d", person), Flavor: flavors[person],
		})
		offset += 30
	}
	return batches
}

// files returns the batches of load, update and reload.
func files(n int) map[string][]events.Batch {
	all := []string{"vanilla", "chocolate", "cookie dough", "strawberry", "pistachio", "salted caramel", "mint chip",
		"rum"}
	flavors := make([]string, n)
	change := func(one int) {
		for i := range flavors {
			if rand.IntN(one) == 0 {
				old := flavors[i]
				for flavors[i] == old {
					flavors[i] = all[rand.IntN(len(all))]
				}
			}
		}
	}
	f := map[string][]events.Batch{}
	change(1)
	f["load"] = file(n, 1, flavors)
	change(1)
	f["update"] = file(n, 2, flavors)
	change(100)
	f["reload"] = file(n, 3, flavors)
	return f
}

// measure applies the three files, one transaction at a time.
func measure(b *testing.B, open func(b *testing.B) (apply func([]events.Batch) error, between func() error)) {
	n := people(b)
	took := map[string]time.Duration{}
	for b.Loop() {
		f := files(n)
		apply, between := open(b)
		for _, name := range []string{"load", "update", "reload"} {
			batches := f[name]
			for i := 0; i < len(batches); i += batchesOfCall {
				start := time.Now()
				err := apply(batches[i:min(i+batchesOfCall, len(batches))])
				took[name] += time.Since(start)
				if err == nil {
					err = between()
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	for name, d := range took {
		b.ReportMetric(float64(n*b.N)/d.Seconds(), name+"-rows/s")
	}
	b.ReportMetric(0, "ns/op")
}

func BenchmarkApply(b *testing.B) {
	for _, mode := range []struct {
		name    string
		relaxed bool
	}{{"full", false}, {"relaxed", true}} {
		b.Run(mode.name, func(b *testing.B) {
			measure(b, func(b *testing.B) (func([]events.Batch) error, func() error) {
				db := mustOpen(b, sqlite.Config{Relaxed: mode.relaxed})
				apply := func(batches []events.Batch) error {
					_, err := db.Apply(context.Background(), batches, nil)
					return err
				}
				announce := func() error {
					_, err := drain(context.Background(), db)
					return err
				}
				return apply, announce
			})
		})
	}
}

// BenchmarkBareUpsert measures SQLite alone: one statement per row, without counts, changes and detection of
// duplicates. "text" stores the version as text; "compact" stores it as two numbers, like this package; "sorted" also
// sorts the rows.
func BenchmarkBareUpsert(b *testing.B) {
	for _, mode := range []struct {
		name            string
		compact, sorted bool
	}{{"text", false, false}, {"compact", true, false}, {"compact+sorted", true, true}} {
		b.Run(mode.name, func(b *testing.B) {
			measure(b, func(b *testing.B) (func([]events.Batch) error, func() error) {
				return bareUpsert(b, mode.compact, mode.sorted), func() error { return nil }
			})
		})
	}
}

func bareUpsert(b *testing.B, compact, sorted bool) func([]events.Batch) error {
	conn, err := zombiezen.OpenConn(filepath.Join(b.TempDir(), "bare.db"), zombiezen.OpenReadWrite|zombiezen.OpenCreate)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	columns, newer := "version TEXT NOT NULL", "excluded.version > version"
	if compact {
		columns, newer = `version INTEGER NOT NULL, "offset" INTEGER NOT NULL`,
			`(excluded.version, excluded."offset") > (version, "offset")`
	}
	for _, statement := range []string{
		"PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "PRAGMA cache_size = -32768",
		"PRAGMA wal_autocheckpoint = 16384",
		"CREATE TABLE favorites (person TEXT PRIMARY KEY, flavor TEXT, " + columns + ") STRICT, WITHOUT ROWID",
	} {
		if err := sqlitex.ExecuteTransient(conn, statement, nil); err != nil {
			b.Fatal(err)
		}
	}
	values, set := "?, ?, ?", "version = excluded.version"
	if compact {
		values, set = "?, ?, ?, ?", `version = excluded.version, "offset" = excluded."offset"`
	}
	query := `INSERT INTO favorites VALUES (` + values +
		`) ON CONFLICT (person) DO UPDATE SET flavor = excluded.flavor, ` +
		set + ` WHERE ` + newer
	return func(batches []events.Batch) (err error) {
		var rows []events.Update
		for _, batch := range batches {
			rows = append(rows, batch.Rows...)
		}
		if sorted {
			slices.SortStableFunc(rows, func(a, b events.Update) int { return cmp.Compare(a.Person, b.Person) })
		}
		end, err := sqlitex.ImmediateTransaction(conn)
		if err != nil {
			return err
		}
		defer end(&err)
		stmt := conn.Prep(query)
		for _, row := range rows {
			stmt.BindText(1, row.Person)
			stmt.BindText(2, row.Flavor)
			if compact {
				stmt.BindInt64(3, batches[0].Origin.Time().UnixMilli()-1_795_000_000_000)
				stmt.BindInt64(4, row.Offset)
			} else {
				stmt.BindText(3, string(batches[0].Origin.At(row.Offset)))
			}
			if _, err := stmt.Step(); err != nil {
				return err
			}
			if err := stmt.Reset(); err != nil {
				return err
			}
		}
		return nil
	}
}

// BenchmarkTeam reads the first page of a team; 74,000 removed people sort before it.
func BenchmarkTeam(b *testing.B) {
	for _, removed := range []int{0, 74_000} {
		b.Run(fmt.Sprintf("removed=%d", removed), func(b *testing.B) {
			db := mustOpen(b, sqlite.Config{})
			remove(b, db, removed, "a", 1)
			flavors := make([]string, 10_000)
			for i := range flavors {
				flavors[i] = "mint"
			}
			if _, err := db.Apply(b.Context(), file(len(flavors), 2, flavors), nil); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if team, err := db.Team(b.Context(), "", 1000); err != nil || len(team) != 1000 {
					b.Fatalf("Team() = %d people, %v; want 1000", len(team), err)
				}
			}
		})
	}
}

// BenchmarkApplyRemoved writes 200,000 people into a table with as many tombstones, and removes them.
func BenchmarkApplyRemoved(b *testing.B) {
	const n = 200_000
	all := make([]string, n)
	for i := range all {
		all[i] = "mint"
	}
	took := map[string]time.Duration{}
	for b.Loop() {
		db := mustOpen(b, sqlite.Config{})
		timed := func(name string, do func()) {
			start := time.Now()
			do()
			took[name] += time.Since(start)
		}
		write := func(number int) {
			batches := file(n, number, all)
			for i := 0; i < len(batches); i += batchesOfCall {
				if _, err := db.Apply(b.Context(), batches[i:min(i+batchesOfCall, len(batches))], nil); err != nil {
					b.Fatal(err)
				}
			}
		}
		timed("remove-unknown", func() { remove(b, db, n, "other", 1) })
		timed("load", func() { write(2) })
		timed("remove", func() { remove(b, db, n, "person", 3) })
		timed("return", func() { write(4) })
		timed("update", func() { write(5) })
	}
	for name, d := range took {
		b.ReportMetric(float64(n*b.N)/d.Seconds(), name+"-rows/s")
	}
	b.ReportMetric(0, "ns/op")
}

// remove applies removals of n people.
func remove(b *testing.B, db *sqlite.DB, n int, prefix string, number int) {
	b.Helper()
	batches := file(n, number, make([]string, n))
	for i := range batches {
		for j := range batches[i].Rows {
			row := &batches[i].Rows[j]
			row.Person, row.Remove = prefix+row.Person[len("person"):], true
		}
	}
	for i := 0; i < len(batches); i += batchesOfCall {
		if _, err := db.Apply(b.Context(), batches[i:min(i+batchesOfCall, len(batches))], nil); err != nil {
			b.Fatal(err)
		}
	}
}
