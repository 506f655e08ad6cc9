package sqlite_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/sqlite"
)

func TestWaitPending(t *testing.T) {
	db := mustOpen(t, sqlite.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := db.WaitPending(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("WaitPending without changes: %v, want context.DeadlineExceeded", err)
	}
	waits := make(chan error, 2)
	for range cap(waits) {
		go func() { waits <- db.WaitPending(t.Context()) }()
	}
	mustApply(t, db, rows(t, 0, "nobody")) // changes nothing
	select {
	case err := <-waits:
		t.Fatalf("WaitPending returned without a change: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	mustApply(t, db, rows(t, 1, "andy=mint"))
	for range cap(waits) {
		if err := <-waits; err != nil {
			t.Error(err)
		}
	}
	if err := db.WaitPending(t.Context()); err != nil {
		t.Errorf("WaitPending with changes: %v, want nil", err)
	}
}

func TestOutboxNumbersAreNotReused(t *testing.T) {
	db := mustOpen(t, sqlite.Config{})
	mustApply(t, db, rows(t, 0, "andy=mint"))
	first, err := db.Pending(t.Context(), 10)
	if err != nil || len(first) != 1 {
		t.Fatalf("Pending() = %v, %v; want one record", first, err)
	}
	again, err := db.Pending(t.Context(), 10)
	if diff := cmp.Diff(first, again); err != nil || diff != "" {
		t.Errorf("not announced yet, %v (-want +got):\n%s", err, diff)
	}
	if err := db.Announced(t.Context(), first[0].Seq); err != nil {
		t.Fatal(err)
	}
	mustApply(t, db, rows(t, 1, "andy=fig"))
	if err := db.Announced(t.Context(), first[0].Seq); err != nil { // a late repetition
		t.Fatal(err)
	}
	next, err := db.Pending(t.Context(), 10)
	if err != nil || len(next) != 1 || next[0].Seq <= first[0].Seq {
		t.Errorf("Pending() = %v, %v; want one record after %d", next, err, first[0].Seq)
	}
}

func TestBacklog(t *testing.T) {
	db := mustOpen(t, sqlite.Config{})
	want := func(records int64, oldest time.Time) {
		t.Helper()
		n, got, err := db.Backlog(t.Context())
		if err != nil || n != records || !got.Equal(oldest) {
			t.Errorf("Backlog() = %d, %s, %v; want %d, %s", n, got, err, records, oldest)
		}
	}
	want(0, time.Time{})
	const begin = 1_795_000_000_000
	mustApply(t, db, rows(t, 5, "andy="+strings.Repeat("mint", 60), "ben=nut"))
	mustApply(t, db, rows(t, 6, "andy=fig"), rows(t, 7, "ben=fig"))
	want(3, time.UnixMilli(begin+5))
	first, err := db.Pending(t.Context(), 2)
	if err != nil || len(first) != 2 {
		t.Fatalf("Pending() = %v, %v; want two records", first, err)
	}
	if err := db.Announced(t.Context(), first[1].Seq); err != nil {
		t.Fatal(err)
	}
	want(1, time.UnixMilli(begin+7))
}

// FuzzOutboxRecord checks that a valid record decodes to the same changes after it is encoded again, and that others
// are errors.
func FuzzOutboxRecord(f *testing.F) {
	origin, err := events.ParseOrigin("01a2077ca99b-0055aed6dcd90281e500000000000000-814yn63t3gfyg33an494e4jsgc")
	if err != nil {
		f.Fatal(err)
	}
	one, _ := events.NewChange("andy", "", "mint", origin.At(14))
	another, _ := events.NewChange("Zoë", "mint", "", origin.At(events.MaxOffset))
	whole := sqlite.EncodeChanges(origin, []events.Change{one, another})
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(append(bytes.Clone(whole), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 1, 'a', 1, 'b', 0))
	f.Add([]byte{})
	f.Add([]byte{76, 'x'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, blob []byte) {
		changes, err := sqlite.DecodeChanges(blob)
		if err != nil {
			if changes != nil {
				t.Errorf("DecodeChanges returned %d changes with the error %v, want none", len(changes), err)
			}
			return
		}
		if len(changes) == 0 {
			return
		}
		for _, c := range changes {
			if _, err := events.ParseVersion(string(c.Version)); err != nil || c.Person == "" || c.Flavor == c.Previous {
				t.Errorf("change %+v (%v), want a valid one", c, err)
			}
		}
		again, err := sqlite.DecodeChanges(sqlite.EncodeChanges(changes[0].Version.Origin(), changes))
		if diff := cmp.Diff(changes, again); err != nil || diff != "" {
			t.Errorf("again: %v (-first +again):\n%s", err, diff)
		}
	})
}
