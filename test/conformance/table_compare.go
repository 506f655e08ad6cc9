package conformance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
)

// comparing returns a batch with Compare of an upload that was announced as comparing.
func (h *harness) comparing(f failer, o events.Object, first int64, rows ...string) events.Batch {
	f.Helper()
	h.begin(f, o)
	compare, err := h.BeginComparing(context.Background(), o.UploadID())
	if err != nil || !compare {
		f.Fatalf("BeginComparing = %t, %v; want true, nil", compare, err)
	}
	b := batch(f, o, first, rows...)
	b.Compare = true
	return b
}

func unknownComparing(t *testing.T, h *harness) {
	if _, err := h.BeginComparing(t.Context(), h.object(0).UploadID()); !errors.Is(err, events.ErrNotFound) {
		t.Errorf("BeginComparing of an unknown upload: %v, want events.ErrNotFound", err)
	}
}

// boundsComparing checks that the number of copies that the batch of an unsettled upload may need is bounded.
func boundsComparing(t *testing.T, h *harness) {
	oldest := h.object(0)
	h.begin(t, oldest)
	var first events.Object
	for i := range 70 {
		o := h.object(1 + i)
		h.begin(t, o)
		compare, err := h.BeginComparing(t.Context(), o.UploadID())
		switch {
		case err != nil:
			t.Fatal(err)
		case i == 0:
			first = o
		case !compare && i < 10:
			t.Fatalf("only %d uploads may compare, want at least 10", i)
		case !compare:
			if again, err := h.BeginComparing(t.Context(), first.UploadID()); err != nil || !again {
				t.Errorf("BeginComparing of a comparing upload = %t, %v; want true, nil", again, err)
			}
			return
		}
	}
	t.Error("70 uploads compare, want a lower limit")
}

func leavesUnchanged(t *testing.T, h *harness) {
	older, newer := h.object(0), h.object(1)
	h.begin(t, older)
	first := batch(t, older, 0, "andy=mint", "ben=fig", "cleo=nut")
	h.apply(t, first)
	h.changes(t)
	b := h.comparing(t, newer, 0, "andy=mint", "ben=nut", "cleo", "dan=fig")
	got := h.apply(t, b)[0]
	same(t, "result", got, events.BatchResult{Applied: 3, Unchanged: 1})
	same(t, "team", h.flavors(t, ""), map[string]string{"andy": "mint", "ben": "nut", "dan": "fig"})
	if andy, err := h.Lookup(t.Context(), "andy"); err != nil || andy.Version != first.Origin.At(0) {
		t.Errorf("the unchanged row has version %s (%v), want that of the older upload", andy.Version, err)
	}
	if changes := h.changes(t); len(changes) != 3 {
		t.Errorf("got changes %+v, want three", changes)
	}
	same(t, "result of the repetition", h.apply(t, b)[0].Duplicate, true)
	settled := h.seal(t, newer.UploadID(), events.ReadSummary{
		Format: "csv", Rows: 6, Superseded: 2, Batches: 1, At: epoch(),
	})
	if settled == nil {
		t.Fatal("the upload is not settled")
	}
	same(t, "counts", settled.Counts, events.Counts{
		Rows: 6, Applied: 3, Unchanged: 1, Superseded: 2, Batches: 1, BatchesApplied: 1,
	})
	same(t, "stored counts", h.upload(t, newer.UploadID()).Counts, settled.Counts)
}

// repairsOlder applies a batch of an older upload after a newer one has left its person unchanged.
func repairsOlder(t *testing.T, h *harness) {
	oldest, late, newer := h.object(0), h.object(1), h.object(2)
	h.begin(t, oldest)
	h.apply(t, batch(t, oldest, 0, "andy=mint", "ben=fig"))
	b := h.comparing(t, newer, 0, "andy=mint", "ben=fig")
	same(t, "result", h.apply(t, b)[0], events.BatchResult{Unchanged: 2})
	h.begin(t, late)
	repaired := 0
	results, err := h.Apply(t.Context(), []events.Batch{batch(t, late, 0, "andy=nut", "cleo=nut")},
		func(_ context.Context, newerUploads []events.Origin, batches []events.Batch) ([]events.Batch, error) {
			repaired++
			same(t, "newer uploads", newerUploads, []events.Origin{b.Origin})
			same(t, "batches to repair", len(batches), 1)
			return []events.Batch{{Origin: b.Origin, First: 0, Rows: b.Rows[:1]}}, nil
		})
	if err != nil || repaired != 1 {
		t.Fatalf("Apply called repair %d times, want once: %v", repaired, err)
	}
	if again := h.apply(t, batch(t, late, 0, "andy=nut", "cleo=nut")); !again[0].Duplicate { // without a repair
		t.Errorf("result of the repetition = %+v, want a duplicate", again[0])
	}
	if n := results[0].Applied + results[0].Superseded; n != 2 || results[0].Unchanged != 0 {
		t.Errorf("result = %+v, want two rows applied or superseded", results[0])
	}
	same(t, "team", h.flavors(t, ""), map[string]string{"andy": "mint", "ben": "fig", "cleo": "nut"})
	if andy, err := h.Lookup(t.Context(), "andy"); err != nil || andy.Version != b.Origin.At(0) {
		t.Errorf("the repaired row has version %s (%v), want that of the newer upload", andy.Version, err)
	}
	if n := h.upload(t, newer.UploadID()).Counts.BatchesApplied; n != 1 {
		t.Errorf("the repair was counted: %d batches, want 1", n)
	}
}

// failsWithoutRepair checks that a late batch is not counted before it is repaired.
func failsWithoutRepair(t *testing.T, h *harness) {
	late, newer := h.object(0), h.object(1)
	h.comparing(t, newer, 0, "andy=mint")
	h.begin(t, late)
	b := []events.Batch{batch(t, late, 0, "andy=nut")}
	gone := errors.New("the sorted copy is gone")
	fail := func(context.Context, []events.Origin, []events.Batch) ([]events.Batch, error) { return nil, gone }
	if _, err := h.Apply(t.Context(), b, fail); !errors.Is(err, gone) {
		t.Fatalf("Apply: %v, want the error of repair", err)
	}
	if n := h.upload(t, late.UploadID()).Counts.BatchesApplied; n != 0 {
		t.Errorf("%d batches are counted, want 0", n)
	}
	nothing := func(context.Context, []events.Origin, []events.Batch) ([]events.Batch, error) { return nil, nil }
	results, err := h.Apply(t.Context(), b, nothing)
	if err != nil || results[0].Duplicate {
		t.Errorf("Apply = %+v, %v; want the batch counted", results, err)
	}
}

// comparingInAnyOrder applies batches of comparing and other uploads in any order, also at the same time, and compares
// the adapter with a model that knows nothing of comparing: in the end, each person has the flavor of the newest row.
func comparingInAnyOrder(t *testing.T, h *harness) {
	rapid.Check(t, func(t *rapid.T) {
		m := newCompareModel(t, h)
		for range rapid.IntRange(0, 25).Draw(t, "steps") {
			u := rapid.SampledFrom(m.uploads).Draw(t, "upload")
			if !u.announced && rapid.Bool().Draw(t, "announce") {
				m.announce(t, u)
				continue
			}
			m.apply(t, [][]events.Batch{m.some(t), m.some(t)}[:rapid.IntRange(1, 2).Draw(t, "calls")])
		}
		for _, u := range m.uploads {
			m.announce(t, u)
		}
		all := rapid.Permutation(m.batches()).Draw(t, "order of batches")
		for some := range slices.Chunk(all, rapid.IntRange(1, 4).Draw(t, "batches of a call")) {
			m.apply(t, [][]events.Batch{some})
		}
		m.check(t)
	})
}

type compareModel struct {
	h       *harness
	prefix  string // of the names of people in this run
	uploads []*comparedUpload
}

type comparedUpload struct {
	object    events.Object
	compare   bool
	announced bool // whether its batches may be applied
	batches   []events.Batch
}

func newCompareModel(t *rapid.T, h *harness) *compareModel {
	run := int(h.keys.Add(1))
	m := &compareModel{h: h, prefix: fmt.Sprintf("run %d/", run)}
	// Runs are days apart, because the number of uploads that may compare at a time is limited.
	base := run * int(48*time.Hour/time.Millisecond)
	for range rapid.IntRange(2, 5).Draw(t, "uploads") {
		u := &comparedUpload{compare: rapid.Bool().Draw(t, "compare")}
		u.object = h.object(base + rapid.IntRange(0, 3).Draw(t, "ms"))
		var rows []events.Update
		for _, name := range []string{"andy", "ben", "cleo", "dan"} {
			flavor := rapid.SampledFrom([]string{"", "", "fig", "mint", "mint", "nut"}).Draw(t, "flavor of "+name)
			if flavor == "" && rapid.Bool().Draw(t, "absent") {
				continue
			}
			rows = append(rows, events.Update{Person: m.prefix + name, Flavor: flavor, Remove: flavor == ""})
		}
		offsets := rapid.Permutation([]int64{0, 20, 40, 60}).Draw(t, "offsets")
		for i := range rows {
			rows[i].Offset = offsets[i]
		}
		slices.SortFunc(rows, func(a, b events.Update) int {
			return cmp.Or(cmp.Compare(h.group(a.Person), h.group(b.Person)), cmp.Compare(a.Person, b.Person))
		})
		origin, err := u.object.Origin()
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range rows {
			if i == 0 || h.group(row.Person) != h.group(rows[i-1].Person) || rapid.Bool().Draw(t, "new batch") {
				u.batches = append(u.batches, events.Batch{Origin: origin, First: row.Offset, Compare: u.compare})
			}
			last := &u.batches[len(u.batches)-1]
			last.Rows = append(last.Rows, row)
		}
		m.uploads = append(m.uploads, u)
	}
	return m
}

func (h *harness) group(person string) int {
	if h.Group == nil {
		return 0
	}
	return h.Group(person)
}

func (m *compareModel) announce(t *rapid.T, u *comparedUpload) {
	m.h.begin(t, u.object)
	u.announced = true
	if !u.compare {
		return
	}
	compare, err := m.h.BeginComparing(context.Background(), u.object.UploadID())
	if err != nil {
		t.Fatalf("BeginComparing: %v", err)
	}
	if !compare {
		t.Fatal("BeginComparing = false, want true for one of at most 5 uploads of a day")
	}
}

// batches returns those of announced uploads.
func (m *compareModel) batches() (all []events.Batch) {
	for _, u := range m.uploads {
		if u.announced {
			all = append(all, u.batches...)
		}
	}
	return all
}

func (m *compareModel) some(t *rapid.T) []events.Batch {
	all := m.batches()
	if len(all) == 0 {
		return nil
	}
	return rapid.SliceOfN(rapid.SampledFrom(all), 1, 4).Draw(t, "batches")
}

// apply makes the calls at the same time.
func (m *compareModel) apply(t *rapid.T, calls [][]events.Batch) {
	var wait sync.WaitGroup
	for _, batches := range calls {
		wait.Go(func() {
			results, err := m.h.Apply(context.Background(), batches, m.repair)
			if err != nil {
				t.Errorf("Apply: %v", err)
				return
			}
			for i, r := range results {
				if n := r.Applied + r.Unchanged + r.Superseded; !r.Duplicate && n != int64(len(batches[i].Rows)) {
					t.Errorf("batch %s counts %d rows, want %d", batches[i].ID(), n, len(batches[i].Rows))
				}
				if r.Unchanged > 0 && !batches[i].Compare {
					t.Errorf("batch %s does not compare, but counts unchanged rows", batches[i].ID())
				}
			}
		})
	}
	wait.Wait()
}

// repair implements [events.Repair].
func (m *compareModel) repair(
	_ context.Context, newer []events.Origin, batches []events.Batch,
) (repairs []events.Batch, err error) {
	for _, u := range m.uploads {
		for _, b := range u.batches {
			if !slices.Contains(newer, b.Origin) {
				continue
			}
			b.Compare = false
			b.Rows = slices.DeleteFunc(slices.Clone(b.Rows), func(row events.Update) bool {
				return !slices.ContainsFunc(batches, func(older events.Batch) bool {
					return older.Origin < b.Origin && slices.ContainsFunc(older.Rows, func(r events.Update) bool {
						return r.Person == row.Person
					})
				})
			})
			if len(b.Rows) > 0 {
				b.First = b.Rows[0].Offset
				repairs = append(repairs, b)
			}
		}
	}
	return repairs, nil
}

// check compares the table, the counts and the changes with the newest row of each person.
func (m *compareModel) check(t *rapid.T) {
	newest, want := map[string]events.Version{}, map[string]string{}
	for _, u := range m.uploads {
		rows := int64(0)
		for _, b := range u.batches {
			rows += int64(len(b.Rows))
			for _, row := range b.Rows {
				v := b.Origin.At(row.Offset)
				if v <= newest[row.Person] {
					continue
				}
				newest[row.Person], want[row.Person] = v, row.Flavor
				if row.Remove {
					delete(want, row.Person)
				}
			}
		}
		batches := int64(len(u.batches))
		settled := m.h.seal(t, u.object.UploadID(), events.ReadSummary{
			Format: "csv", Rows: rows, Batches: batches, At: epoch(),
		})
		if settled == nil {
			t.Fatalf("upload %s is not settled", u.object.UploadID())
		}
		c := settled.Counts
		same(t, "counts", c, events.Counts{Rows: rows, Batches: batches, BatchesApplied: batches},
			cmpopts.IgnoreFields(c, "Applied", "Unchanged", "Superseded"))
		same(t, "sum of the counts", c.Applied+c.Unchanged+c.Superseded, rows)
	}
	same(t, "team", m.h.flavors(t, m.prefix), want)
	(&model{h: m.h, prefix: m.prefix}).checkChanges(t, want)
}
