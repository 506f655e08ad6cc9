// Package conformance has one test suite for each port of the core. The tests of every adapter run the suite of its
// port.
package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
)

// TableUnderTest is an adapter of the table, the upload ledger and the change feed.
type TableUnderTest struct {
	Store

	// Changes returns the changes that the feed has had since the last call. It waits for those of every Apply that has
	// returned. A change may be returned more than once.
	Changes func(context.Context) ([]events.Change, error)

	// Group returns the part of the table that holds a person; nil if there is one. The rows of a batch with Compare are
	// in one group.
	Group func(person string) int
}

// Store is what the write side and the read side together need of the table and the ledger.
type Store interface {
	// Begin creates the record of an upload, in which Sorted is sort, or returns the existing one.
	Begin(ctx context.Context, o events.Object, sort bool) (events.Upload, error)
	// Seal records how reading ended. It returns the record if this call settles the upload, and nil otherwise.
	Seal(ctx context.Context, id string, r events.ReadSummary) (*events.Upload, error)
	// Apply writes and counts batches, and returns one result for each, in their order.
	Apply(context.Context, []events.Batch, events.Repair) ([]events.BatchResult, error)
	// BeginComparing announces that the batches of an upload may leave rows unchanged.
	BeginComparing(ctx context.Context, id string) (bool, error)

	Team(ctx context.Context, after string, limit int) ([]events.Favorite, error)
	Lookup(ctx context.Context, person string) (events.Favorite, error)
	Upload(ctx context.Context, id string) (events.Upload, error)
	Uploads(ctx context.Context, before string, limit int) ([]events.Upload, error)
}

// TestTable runs the suite. Open returns an empty table to each test, and closes it with t.Cleanup.
func TestTable(t *testing.T, open func(t *testing.T) TableUnderTest) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, h *harness)
	}{
		{"a row is stored with its version", storesRows},
		{"unknown people are not found", unknownPerson},
		{"the team is sorted by bytes and comes in pages", teamPages},
		{"the newer upload wins in any order", newerWins},
		{"the newer upload wins inside one call", newerWinsInOneCall},
		{"the later row of a file wins", laterRowWins},
		{"a removed person is gone", removes},
		{"an older update that comes late does not bring a removed person back", tombstones},
		{"a removal of an unknown person is applied but not announced", removesNobody},
		{"only a changed flavor is a change", announcesChangesOnly},
		{"a batch counts once", countsOnce},
		{"a batch counts once when it is applied concurrently", countsOnceConcurrently},
		{"a stored row that is in another batch is applied but not written", repeatsRows},
		{"apply does not change the batches", leavesBatches},
		{"nothing happens if the context has ended", endedContext},
		{"begin creates a record once", beginsOnce},
		{"begin records once whether the file is sorted", recordsSorting},
		{"begin refuses an object without an origin", refusesSequencer},
		{"an upload goes from publishing to applying to live", statusOfAnUpload},
		{"an upload without batches is live when sealed", sealsEmpty},
		{"seal counts once", sealsOnce},
		{"seal of an unknown upload is not found", sealsUnknown},
		{"the upload becomes live with seal if its batches were applied before", sealsLast},
		{"batches may be applied before begin", appliesBeforeBegin},
		{"a file that breaks off fails once its batches are applied", failsLate},
		{"a failed upload counts what an earlier run published", failsWithMore},
		{"the first rejects are kept", keepsRejects},
		{"uploads are listed from the newest", listsUploads},
		{"any interleaving leads to the same table", anyInterleaving},
		{"an unknown upload can't compare", unknownComparing},
		{"not too many uploads compare", boundsComparing},
		{"a comparing batch leaves equal rows unchanged", leavesUnchanged},
		{"a late batch of an older upload is repaired", repairsOlder},
		{"a late batch is not counted before it is repaired", failsWithoutRepair},
		{"comparing in any order leads to the newest flavors", comparingInAnyOrder},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, &harness{TableUnderTest: open(t)}) })
	}
}

// harness makes uploads, and has helpers for calls that must not fail.
type harness struct {
	TableUnderTest
	keys atomic.Int64
}

// failer is a *testing.T or a *rapid.T.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// epoch is the time of the uploads; they differ by milliseconds.
func epoch() time.Time { return time.Date(2026, 11, 23, 8, 19, 0, 123e6, time.UTC) }

// object returns a new object that was uploaded ms milliseconds after epoch.
func (h *harness) object(ms int) events.Object {
	n := h.keys.Add(1)
	return events.Object{
		Bucket: "favorites", Key: fmt.Sprintf("team %d.csv", n), VersionID: "v1", ETag: fmt.Sprintf("%032x", n),
		Sequencer: fmt.Sprintf("0055aed6dc%08x", n), Size: 4711, Time: epoch().Add(time.Duration(ms) * time.Millisecond),
	}
}

// batch returns a batch of rows such as "andy=vanilla", or "andy" for a removal. Each takes 20 bytes; the first is at
// offset first.
func batch(f failer, o events.Object, first int64, rows ...string) events.Batch {
	f.Helper()
	origin, err := o.Origin()
	if err != nil {
		f.Fatalf("origin: %v", err)
	}
	b := events.Batch{Origin: origin, First: first}
	for i, row := range rows {
		person, flavor, set := strings.Cut(row, "=")
		b.Rows = append(b.Rows, events.Update{Offset: first + int64(i)*20, Person: person, Flavor: flavor, Remove: !set})
	}
	return b
}

func (h *harness) apply(f failer, batches ...events.Batch) []events.BatchResult {
	f.Helper()
	results, err := h.Apply(context.Background(), batches, noRepair)
	if err != nil {
		f.Fatalf("Apply: %v", err)
	}
	if len(results) != len(batches) {
		f.Fatalf("Apply returned %d results for %d batches", len(results), len(batches))
	}
	return results
}

// noRepair is for calls that must not need one.
func noRepair(context.Context, []events.Origin, []events.Batch) ([]events.Batch, error) {
	return nil, errors.New("repair was called although no newer upload is comparing")
}

func (h *harness) begin(f failer, o events.Object) events.Upload {
	f.Helper()
	return h.beginSorted(f, o, false)
}

func (h *harness) beginSorted(f failer, o events.Object, sort bool) events.Upload {
	f.Helper()
	u, err := h.Begin(context.Background(), o, sort)
	if err != nil {
		f.Fatalf("Begin: %v", err)
	}
	return u
}

func (h *harness) seal(f failer, id string, r events.ReadSummary) *events.Upload {
	f.Helper()
	settled, err := h.Seal(context.Background(), id, r)
	if err != nil {
		f.Fatalf("Seal: %v", err)
	}
	return settled
}

func (h *harness) upload(f failer, id string) events.Upload {
	f.Helper()
	u, err := h.Upload(context.Background(), id)
	if err != nil {
		f.Fatalf("Upload: %v", err)
	}
	return u
}

// flavors returns the flavors of all people whose name begins with prefix, by person.
func (h *harness) flavors(f failer, prefix string) map[string]string {
	f.Helper()
	team, err := h.Team(context.Background(), prefix, 1000)
	if err != nil {
		f.Fatalf("Team: %v", err)
	}
	flavors := map[string]string{}
	for _, favorite := range team {
		if strings.HasPrefix(favorite.Person, prefix) {
			flavors[favorite.Person] = favorite.Flavor
		}
	}
	return flavors
}

// changes returns the new changes of the feed, each of them once.
func (h *harness) changes(f failer) []events.Change {
	f.Helper()
	all, err := h.Changes(context.Background())
	if err != nil {
		f.Fatalf("Changes: %v", err)
	}
	seen := map[string]bool{}
	var once []events.Change
	for _, c := range all {
		if !seen[c.ID()] {
			once = append(once, c)
		}
		seen[c.ID()] = true
	}
	return once
}

func same(f failer, what string, got, want any, opts ...cmp.Option) {
	f.Helper()
	if diff := cmp.Diff(want, got, opts...); diff != "" {
		f.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
