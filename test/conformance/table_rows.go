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
	same(t, "results", h.apply(t, b), []events.BatchResult{{Applied: 2}})
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
		t.Errorf("Lookup = %v, want events.ErrNotFound", err)
	}
	if _, err := h.Upload(context.Background(), h.object(0).UploadID()); !errors.Is(err, events.ErrNotFound) {
		t.Errorf("Upload = %v, want events.ErrNotFound", err)
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
				t.Errorf("%s has version %s, want one of upload %s", f.Person, f.Version, o.UploadID())
			}
		}
		if len(page) < 2 {
			break
		}
		after = page[1].Person
	}
	same(t, "pages", got, []string{"Z=4", "a=3", "aa=5", "b=1", "é=2", "𝄞=7"})
	if page, err := h.Team(context.Background(), "", 0); err != nil || len(page) != 0 {
		t.Errorf("a page with limit 0 = %v, %v; want it empty", page, err)
	}
}

func newerWins(t *testing.T, h *harness) {
	older, newer := h.object(0), h.object(1)
	same(t, "newer first", h.apply(t, batch(t, newer, 0, "late=new")), []events.BatchResult{{Applied: 1}})
	results := h.apply(t, batch(t, older, 0, "late=old", "only=old"))
	same(t, "older last", results, []events.BatchResult{{Applied: 1, Superseded: 1}})
	same(t, "newer last", h.apply(t, batch(t, newer, 20, "only=new")), []events.BatchResult{{Applied: 1}})
	same(t, "team", h.flavors(t, ""), map[string]string{"late": "new", "only": "new"})
}

func newerWinsInOneCall(t *testing.T, h *harness) {
	older, newer := h.object(0), h.object(1)
	batches := []events.Batch{
		batch(t, newer, 0, "andy=new", "ben=new"),
		batch(t, older, 0, "andy=old", "cleo=old"),
		batch(t, newer, 40, "cleo=new"),
	}
	var sum events.BatchResult
	for i, result := range h.apply(t, batches...) {
		if n := result.Applied + result.Superseded; n != int64(len(batches[i].Rows)) {
			t.Errorf("batch %d counts %d rows, want %d", i, n, len(batches[i].Rows))
		}
		sum.Applied += result.Applied
	}
	if sum.Applied < 3 || sum.Applied > 4 { // cleo=old may have been stored before cleo=new
		t.Errorf("applied %d rows, want 3 or 4", sum.Applied)
	}
	same(t, "team", h.flavors(t, ""), map[string]string{"andy": "new", "ben": "new", "cleo": "new"})
}

func laterRowWins(t *testing.T, h *harness) {
	o := h.object(0)
	results := h.apply(t, batch(t, o, 100, "andy=1", "ben=1", "andy=2", "andy=3"))
	same(t, "results", results, []events.BatchResult{{Applied: 2, Superseded: 2}})
	results = h.apply(t, batch(t, o, 0, "andy=0", "cleo=0"))
	same(t, "results of the earlier batch", results, []events.BatchResult{{Applied: 1, Superseded: 1}})
	same(t, "team", h.flavors(t, ""), map[string]string{"andy": "3", "ben": "1", "cleo": "0"})
}

func removes(t *testing.T, h *harness) {
	set, remove, again := h.object(0), h.object(1), h.object(2)
	b := batch(t, remove, 0, "andy")
	c := batch(t, again, 0, "andy=mint")
	h.apply(t, batch(t, set, 0, "andy=vanilla", "ben=mint"))
	h.changes(t)
	same(t, "results", h.apply(t, b), []events.BatchResult{{Applied: 1}})
	if f, err := h.Lookup(context.Background(), "andy"); !errors.Is(err, events.ErrNotFound) {
		t.Errorf("Lookup = %v, %v; want events.ErrNotFound", f, err)
	}
	same(t, "team", h.flavors(t, ""), map[string]string{"ben": "mint"})
	same(t, "changes", h.changes(t), []events.Change{
		{Kind: events.Removed, Person: "andy", Previous: "vanilla", Version: b.Origin.At(0)},
	})
	h.apply(t, c)
	same(t, "changes when the person is set again", h.changes(t), []events.Change{
		{Kind: events.Created, Person: "andy", Flavor: "mint", Version: c.Origin.At(0)},
	})
}

func tombstones(t *testing.T, h *harness) {
	older, set, remove := h.object(0), h.object(1), h.object(2)
	h.apply(t, batch(t, set, 0, "andy=vanilla"))
	h.apply(t, batch(t, remove, 0, "andy"))
	same(t, "results", h.apply(t, batch(t, older, 0, "andy=late")), []events.BatchResult{{Superseded: 1}})
	same(t, "team", h.flavors(t, ""), map[string]string{})
}

func removesNobody(t *testing.T, h *harness) {
	older, remove, again := h.object(0), h.object(1), h.object(2)
	same(t, "removal", h.apply(t, batch(t, remove, 0, "andy")), []events.BatchResult{{Applied: 1}})
	same(t, "older", h.apply(t, batch(t, older, 0, "andy=late")), []events.BatchResult{{Superseded: 1}})
	same(t, "removal again", h.apply(t, batch(t, again, 0, "andy")), []events.BatchResult{{Applied: 1}})
	if changes := h.changes(t); len(changes) > 0 {
		t.Errorf("changes = %v, want none", changes)
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
	h.apply(t, a, b) // delivered again
	same(t, "changes", h.changes(t), []events.Change{
		{Kind: events.Changed, Person: "ben", Flavor: "nut", Previous: "mint", Version: b.Origin.At(20)},
		{Kind: events.Created, Person: "cleo", Flavor: "fig", Version: b.Origin.At(40)},
	}, byPerson)
	// The version is the newer one although the flavor stayed the same, so that updates between the two come too late.
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
		t.Error("the second of two equal batches was not reported as a duplicate")
	}
	for i, result := range h.apply(t, b, a) {
		if !result.Duplicate {
			t.Errorf("repeated batch %d was not reported as a duplicate", i)
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
				results, err := h.Apply(context.Background(), []events.Batch{batches[(i+j)%8], batches[(i+3*j)%8]}, noRepair)
				if err != nil {
					t.Error(err)
				}
				for _, result := range results {
					if result.Settled != nil {
						settled <- *result.Settled
					}
				}
			}
		})
	}
	wg.Wait()
	if len(settled) != 1 {
		t.Errorf("%d calls settled the upload, want 1", len(settled))
	}
	got := h.upload(t, u.ID)
	if c := got.Counts; got.Status != events.Live || c.Applied+c.Superseded != 16 || c.BatchesApplied != 8 {
		t.Errorf("the upload is %s with %+v, want it live with 16 rows and 8 batches applied", got.Status, c)
	}
	f, err := h.Lookup(context.Background(), "all")
	if want := batches[7].Origin.At(7020); err != nil || f.Version != want {
		t.Errorf("the version of the last row is %s, %v; want %s", f.Version, err, want)
	}
}

// repeatsRows applies rows again in batches that are cut differently, as after a change of their size. The second
// batch has other flavors, which shows whether a stored row was written again; real rows of one version never differ.
func repeatsRows(t *testing.T, h *harness) {
	o := h.object(0)
	h.apply(t, batch(t, o, 0, "andy=1", "ben=1", "cleo"))
	h.changes(t)
	same(t, "results", h.apply(t, batch(t, o, 20, "ben=forged", "cleo=forged")), []events.BatchResult{{Applied: 2}})
	same(t, "team", h.flavors(t, ""), map[string]string{"andy": "1", "ben": "1"})
	if changes := h.changes(t); len(changes) > 0 {
		t.Errorf("changes = %v, want none", changes)
	}
	for _, result := range h.apply(t, batch(t, o, 60, "dan=1"), batch(t, o, 40, "cleo", "dan=1")) {
		if result.Superseded > 0 {
			t.Errorf("result = %+v, want all rows applied", result)
		}
	}
}

// leavesBatches protects callers that retry after an error.
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
	if _, err := h.Apply(ctx, []events.Batch{batch(t, o, 0, "andy=1")}, noRepair); !errors.Is(err, context.Canceled) {
		t.Errorf("Apply = %v, want context.Canceled", err)
	}
	if _, err := h.Begin(ctx, o, false); !errors.Is(err, context.Canceled) {
		t.Errorf("Begin = %v, want context.Canceled", err)
	}
	if _, err := h.Lookup(ctx, "andy"); !errors.Is(err, context.Canceled) {
		t.Errorf("Lookup = %v, want context.Canceled", err)
	}
	same(t, "team", h.flavors(t, ""), map[string]string{})
}
