package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/flavorless/flavorless/events"
)

func storesRows(t *testing.T, h *harness) {
	o := h.object(0)
	b := batch(t, o, 14, "andy=cookie dough", "zoë 🍦=crème brûlée")
	same(t, "tallies", h.apply(t, b), []events.BatchResult{{Applied: 2}})
	for i, want := range []events.Favorite{
		{Person: "andy", Flavor: "cookie dough", Version: b.Origin.At(14)},
		{Person: "zoë 🍦", Flavor: "crème brûlée", Version: b.Origin.At(34)},
	} {
		got, err := h.Lookup(context.Background(), b.Rows[i].Person)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "favorite", got, want)
	}
}

func unknownPerson(t *testing.T, h *harness) {
	if _, err := h.Lookup(context.Background(), "nobody"); !errors.Is(err, events.ErrNotFound) {
		t.Errorf("Lookup gave %v, want events.ErrNotFound", err)
	}
	if _, err := h.Upload(context.Background(), h.object(0).UploadID()); !errors.Is(err, events.ErrNotFound) {
		t.Errorf("Upload gave %v, want events.ErrNotFound", err)
	}
}

func teamPages(t *testing.T, h *harness) {
	o := h.object(0)
	h.apply(t, batch(t, o, 0, "b=1", "é=2", "a=3", "Z=4", "aa=5", "gone=6", "𝄞=7"))
	h.apply(t, batch(t, h.object(1), 0, "gone"))
	var got []string
	for after := ""; ; {
		page, err := h.Team(context.Background(), after, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range page {
			got = append(got, f.Person+"="+f.Flavor)
			if f.Version.UploadID() != o.UploadID() {
				t.Errorf("%s has version %s", f.Person, f.Version)
			}
		}
		if len(page) < 2 {
			break
		}
		after = page[1].Person
	}
	same(t, "pages", got, []string{"Z=4", "a=3", "aa=5", "b=1", "é=2", "𝄞=7"})
	if page, err := h.Team(context.Background(), "", 0); err != nil || len(page) != 0 {
		t.Errorf("a page of none: got %v, %v", page, err)
	}
}

func newerWins(t *testing.T, h *harness) {
	older, newer := h.object(0), h.object(1)
	same(t, "newer first", h.apply(t, batch(t, newer, 0, "late=new")), []events.BatchResult{{Applied: 1}})
	same(t, "older last", h.apply(t, batch(t, older, 0, "late=old", "only=old")), []events.BatchResult{{Applied: 1, Superseded: 1}})
	same(t, "newer last", h.apply(t, batch(t, newer, 20, "only=new")), []events.BatchResult{{Applied: 1}})
	same(t, "team", h.flavors(t, ""), map[string]string{"late": "new", "only": "new"})
}

func newerWinsInOneCall(t *testing.T, h *harness) {
	older, newer := h.object(0), h.object(1)
	batches := []events.Batch{
		batch(t, newer, 0, "andy=new", "ben=new"), batch(t, older, 0, "andy=old", "cleo=old"), batch(t, newer, 40, "cleo=new"),
	}
	var sum events.BatchResult
	for i, tally := range h.apply(t, batches...) {
		if n := tally.Applied + tally.Superseded; n != int64(len(batches[i].Rows)) {
			t.Errorf("batch %d counts %d of %d rows", i, n, len(batches[i].Rows))
		}
		sum.Applied += tally.Applied
	}
	if sum.Applied < 3 || sum.Applied > 4 { // cleo=old may or may not have been stored for a moment
		t.Errorf("applied %d rows, want 3 or 4", sum.Applied)
	}
	same(t, "team", h.flavors(t, ""), map[string]string{"andy": "new", "ben": "new", "cleo": "new"})
}

func laterRowWins(t *testing.T, h *harness) {
	o := h.object(0)
	same(t, "tallies", h.apply(t, batch(t, o, 100, "andy=1", "ben=1", "andy=2", "andy=3")), []events.BatchResult{{Applied: 2, Superseded: 2}})
	same(t, "earlier batch", h.apply(t, batch(t, o, 0, "andy=0", "cleo=0")), []events.BatchResult{{Applied: 1, Superseded: 1}})
	same(t, "team", h.flavors(t, ""), map[string]string{"andy": "3", "ben": "1", "cleo": "0"})
}

func removes(t *testing.T, h *harness) {
	set, remove, again := h.object(0), h.object(1), h.object(2)
	b := batch(t, remove, 0, "andy")
	c := batch(t, again, 0, "andy=mint")
	h.apply(t, batch(t, set, 0, "andy=vanilla", "ben=mint"))
	h.changes(t)
	same(t, "tallies", h.apply(t, b), []events.BatchResult{{Applied: 1}})
	if f, err := h.Lookup(context.Background(), "andy"); !errors.Is(err, events.ErrNotFound) {
		t.Errorf("Lookup gave %v, %v; want events.ErrNotFound", f, err)
	}
	same(t, "team", h.flavors(t, ""), map[string]string{"ben": "mint"})
	same(t, "changes", h.changes(t), []events.Change{
		{Kind: events.Removed, Person: "andy", Previous: "vanilla", Version: b.Origin.At(0)},
	})
	h.apply(t, c)
	same(t, "changes of the return", h.changes(t), []events.Change{
		{Kind: events.Created, Person: "andy", Flavor: "mint", Version: c.Origin.At(0)},
	})
}

func tombstones(t *testing.T, h *harness) {
	older, set, remove := h.object(0), h.object(1), h.object(2)
	h.apply(t, batch(t, set, 0, "andy=vanilla"))
	h.apply(t, batch(t, remove, 0, "andy"))
	same(t, "tallies", h.apply(t, batch(t, older, 0, "andy=late")), []events.BatchResult{{Superseded: 1}})
	same(t, "team", h.flavors(t, ""), map[string]string{})
}

func removesNobody(t *testing.T, h *harness) {
	older, remove, again := h.object(0), h.object(1), h.object(2)
	same(t, "removal", h.apply(t, batch(t, remove, 0, "andy")), []events.BatchResult{{Applied: 1}})
	same(t, "older", h.apply(t, batch(t, older, 0, "andy=late")), []events.BatchResult{{Superseded: 1}})
	same(t, "removal again", h.apply(t, batch(t, again, 0, "andy")), []events.BatchResult{{Applied: 1}})
	if changes := h.changes(t); len(changes) > 0 {
		t.Errorf("announced %v", changes)
	}
}

func announcesChangesOnly(t *testing.T, h *harness) {
	first, second := h.object(0), h.object(1)
	a := batch(t, first, 0, "andy=vanilla", "ben=mint", "dan=mint", "dan=mint")
	b := batch(t, second, 0, "andy=vanilla", "ben=nut", "cleo=fig")
	byPerson := cmpopts.SortSlices(func(x, y events.Change) bool { return x.Person < y.Person })
	h.apply(t, a)
	same(t, "changes", h.changes(t), []events.Change{
		{Kind: events.Created, Person: "andy", Flavor: "vanilla", Version: a.Origin.At(0)},
		{Kind: events.Created, Person: "ben", Flavor: "mint", Version: a.Origin.At(20)},
		{Kind: events.Created, Person: "dan", Flavor: "mint", Version: a.Origin.At(60)},
	}, byPerson)
	same(t, "the same flavor", h.apply(t, b), []events.BatchResult{{Applied: 3}})
	h.apply(t, a, b) // delivered again: nothing changes
	same(t, "changes", h.changes(t), []events.Change{
		{Kind: events.Changed, Person: "ben", Flavor: "nut", Previous: "mint", Version: b.Origin.At(20)},
		{Kind: events.Created, Person: "cleo", Flavor: "fig", Version: b.Origin.At(40)},
	}, byPerson)
	// The version moved with the flavor that stayed: what lies between the two uploads comes too late.
	if f, err := h.Lookup(context.Background(), "andy"); err != nil || f.Version != b.Origin.At(0) {
		t.Errorf("andy has version %s, %v; want %s", f.Version, err, b.Origin.At(0))
	}
}

func countsOnce(t *testing.T, h *harness) {
	o := h.object(0)
	u := h.begin(t, o)
	a, b := batch(t, o, 0, "andy=1", "andy=2"), batch(t, o, 40, "ben=1")
	first := h.apply(t, a, b, a)
	same(t, "one call", first[:2], []events.BatchResult{{Applied: 1, Superseded: 1}, {Applied: 1}})
	if !first[2].Duplicate {
		t.Error("the second of two equal batches is no duplicate")
	}
	for i, tally := range h.apply(t, b, a) {
		if !tally.Duplicate {
			t.Errorf("batch %d is no duplicate when it comes again", i)
		}
	}
	same(t, "counts", h.upload(t, u.ID).Counts, events.Counts{Applied: 2, Superseded: 1, BatchesApplied: 2})
}

func countsOnceConcurrently(t *testing.T, h *harness) {
	o := h.object(0)
	u := h.begin(t, o)
	var batches []events.Batch
	for i := range 8 {
		batches = append(batches, batch(t, o, int64(i)*1000, fmt.Sprintf("p%d=1", i), "all=1"))
	}
	h.seal(t, u.ID, events.ReadSummary{Format: "csv", Rows: 16, Batches: 8, At: epoch()})
	settled := make(chan events.Upload, 100)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range batches {
				tallies, err := h.Apply(context.Background(), []events.Batch{batches[(i+j)%8], batches[(i+3*j)%8]})
				if err != nil {
					t.Error(err)
				}
				for _, tally := range tallies {
					if tally.Settled != nil {
						settled <- *tally.Settled
					}
				}
			}
		})
	}
	wg.Wait()
	if len(settled) != 1 {
		t.Errorf("%d calls saw the upload settle, want 1", len(settled))
	}
	got := h.upload(t, u.ID)
	if c := got.Counts; got.Status != events.Live || c.Applied+c.Superseded != 16 || c.BatchesApplied != 8 {
		t.Errorf("got %s, %+v", got.Status, c)
	}
	f, err := h.Lookup(context.Background(), "all")
	if want := batches[7].Origin.At(7020); err != nil || f.Version != want {
		t.Errorf("the last row is %s, %v; want %s", f.Version, err, want)
	}
}

// repeatsRows: the rows come again in batches that are cut elsewhere, as after a change of their size. To see whether
// the stored row was left alone, the second has another flavor, which no row of the same version can have in truth.
func repeatsRows(t *testing.T, h *harness) {
	o := h.object(0)
	h.apply(t, batch(t, o, 0, "andy=1", "ben=1", "cleo"))
	h.changes(t)
	same(t, "tallies", h.apply(t, batch(t, o, 20, "ben=forged", "cleo=forged")), []events.BatchResult{{Applied: 2}})
	same(t, "team", h.flavors(t, ""), map[string]string{"andy": "1", "ben": "1"})
	if changes := h.changes(t); len(changes) > 0 {
		t.Errorf("announced %v", changes)
	}
	for _, tally := range h.apply(t, batch(t, o, 60, "dan=1"), batch(t, o, 40, "cleo", "dan=1")) {
		if tally.Superseded > 0 {
			t.Errorf("got %+v, want all applied", tally)
		}
	}
}

// leavesBatches matters to a caller that tries again after an error: events.Fold works in the memory of the batch.
func leavesBatches(t *testing.T, h *harness) {
	o := h.object(0)
	b := batch(t, o, 0, "ben=1", "andy=1", "ben=2", "andy=2")
	h.apply(t, b)
	same(t, "batch", b, batch(t, o, 0, "ben=1", "andy=1", "ben=2", "andy=2"))
}

func endedContext(t *testing.T, h *harness) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	o := h.object(0)
	if _, err := h.Apply(ctx, []events.Batch{batch(t, o, 0, "andy=1")}); !errors.Is(err, context.Canceled) {
		t.Errorf("Apply gave %v, want context.Canceled", err)
	}
	if _, err := h.Begin(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("Begin gave %v, want context.Canceled", err)
	}
	if _, err := h.Lookup(ctx, "andy"); !errors.Is(err, context.Canceled) {
		t.Errorf("Lookup gave %v, want context.Canceled", err)
	}
	same(t, "team", h.flavors(t, ""), map[string]string{})
}
