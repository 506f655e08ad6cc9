package conformance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
)

// anyInterleaving begins, seals and applies several uploads in any order, with repeated and mixed batches, and
// compares the adapter with a model that has only the rule of the table.
func anyInterleaving(t *testing.T, h *harness) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t, h)
		steps := rapid.IntRange(0, 30).Draw(t, "steps")
		for range steps {
			u := rapid.SampledFrom(m.uploads).Draw(t, "upload")
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0:
				m.begin(t, u)
			case 1:
				m.seal(t, u)
			default:
				m.apply(t, rapid.SliceOfN(rapid.SampledFrom(m.batches), 1, 5).Draw(t, "batches"))
			}
		}
		// In the end, everything is sealed and applied.
		for _, u := range rapid.Permutation(m.uploads).Draw(t, "order of sealing") {
			m.begin(t, u)
			m.seal(t, u)
		}
		m.apply(t, rapid.Permutation(m.batches).Draw(t, "order of batches"))
		m.check(t)
	})
}

type model struct {
	h       *harness
	prefix  string // of the names of people in this run
	uploads []*modelUpload
	batches []events.Batch
	applied map[string]bool            // by batch id
	stored  map[string]events.Favorite // removed people have no flavor
}

type modelUpload struct {
	object  events.Object
	reading events.ReadSummary
	begun   bool // by Begin or Apply
	decided bool // by Begin whether the file is sorted
	sorted  bool
	sealed  bool
	settled int   // how many times
	batches int64 // applied batches
}

func newModel(t *rapid.T, h *harness) *model {
	m := &model{
		h: h, prefix: fmt.Sprintf("run %d/", h.keys.Add(1)),
		applied: map[string]bool{}, stored: map[string]events.Favorite{},
	}
	for range rapid.IntRange(1, 4).Draw(t, "uploads") {
		u := &modelUpload{object: h.object(rapid.IntRange(0, 2).Draw(t, "ms"))}
		u.reading = events.ReadSummary{Format: "csv", Rejected: rapid.Int64Range(0, 2).Draw(t, "rejected"), At: epoch()}
		if rapid.Bool().Draw(t, "breaks") {
			u.reading.Failure = &events.Failure{Code: events.UnclosedQuote, Reason: "close it"}
		}
		offset := int64(0)
		for range rapid.IntRange(0, 4).Draw(t, "batches") {
			var rows []string
			for range rapid.IntRange(1, 5).Draw(t, "rows") {
				row := m.prefix + rapid.SampledFrom([]string{"andy", "ben", "cleo", "dan"}).Draw(t, "person")
				if flavor := rapid.SampledFrom([]string{"mint", "nut", "fig", ""}).Draw(t, "flavor"); flavor != "" {
					row += "=" + flavor
				}
				rows = append(rows, row)
			}
			b := batch(t, u.object, offset, rows...)
			offset += 100
			m.batches = append(m.batches, b)
			u.reading.Rows += int64(len(rows))
			u.reading.Batches++
		}
		u.reading.Rows += u.reading.Rejected
		m.uploads = append(m.uploads, u)
	}
	if len(m.batches) == 0 { // SampledFrom needs at least one
		u := m.uploads[0]
		m.batches = append(m.batches, batch(t, u.object, 0, m.prefix+"andy=mint"))
		u.reading.Rows++
		u.reading.Batches++
	}
	return m
}

func (m *model) begin(t *rapid.T, u *modelUpload) {
	sort := rapid.Bool().Draw(t, "sort")
	if !u.decided {
		u.decided, u.sorted = true, sort
	}
	same(t, "sorted", m.h.beginSorted(t, u.object, sort).Sorted, u.sorted)
	u.begun = true
}

func (m *model) seal(t *rapid.T, u *modelUpload) {
	settled, err := m.h.Seal(context.Background(), u.object.UploadID(), u.reading)
	if !u.begun {
		if !errors.Is(err, events.ErrNotFound) {
			t.Fatalf("Seal before Begin = %v, want events.ErrNotFound", err)
		}
		return
	}
	if err != nil {
		t.Fatalf("Seal: %v", err)
	}
	want := !u.sealed && u.batches == u.reading.Batches
	u.sealed = true
	m.checkSettled(t, u, settled, want)
}

// checkSettled checks whether a call settled the upload, and the record if it did.
func (m *model) checkSettled(t *rapid.T, u *modelUpload, settled *events.Upload, want bool) {
	if (settled != nil) != want {
		t.Fatalf("upload %s was settled: %t, want %t", u.object.UploadID(), settled != nil, want)
	}
	if settled == nil {
		return
	}
	u.settled++
	status := events.Live
	if u.reading.Failure != nil {
		status = events.Failed
	}
	same(t, "id", settled.ID, u.object.UploadID())
	same(t, "status", settled.Status, status)
	same(t, "counts", settled.Counts, events.Counts{
		Rows: u.reading.Rows, Rejected: u.reading.Rejected, Batches: u.reading.Batches, BatchesApplied: u.reading.Batches,
	}, cmpopts.IgnoreFields(events.Counts{}, "Applied", "Superseded"))
	if c := settled.Counts; c.Outcomes() != c.Rows {
		t.Errorf("the row counts do not add up: %+v", c)
	}
}

func (m *model) apply(t *rapid.T, batches []events.Batch) {
	results := m.h.apply(t, batches...)
	var most, applied int64
	settling := map[*modelUpload]*events.Upload{}
	fresh := map[*modelUpload]bool{}
	changed := map[string]bool{}
	before := map[string]events.Version{}
	for person, f := range m.stored {
		before[person] = f.Version
	}
	for i, b := range batches {
		u := m.uploads[slices.IndexFunc(m.uploads, func(u *modelUpload) bool { return u.object.UploadID() == b.UploadID() })]
		if results[i].Settled != nil {
			if settling[u] != nil {
				t.Fatalf("one call settled upload %s twice", b.UploadID())
			}
			settling[u] = results[i].Settled
		}
		if results[i].Duplicate != m.applied[b.ID()] {
			t.Fatalf("batch %s is a duplicate: %t, want %t", b.ID(), results[i].Duplicate, m.applied[b.ID()])
		}
		if m.applied[b.ID()] {
			continue
		}
		m.applied[b.ID()] = true
		u.begun, fresh[u] = true, true
		u.batches++
		if n := results[i].Applied + results[i].Superseded; n != int64(len(b.Rows)) {
			t.Fatalf("batch %s counts %d rows, want %d", b.ID(), n, len(b.Rows))
		}
		applied += results[i].Applied
		newest := map[string]bool{}
		for _, row := range b.Rows {
			version := b.Origin.At(row.Offset)
			if version > before[row.Person] {
				newest[row.Person] = true
			}
			if version > m.stored[row.Person].Version {
				m.stored[row.Person] = events.Favorite{Person: row.Person, Flavor: row.Flavor, Version: version}
				changed[row.Person] = true
			}
		}
		most += int64(len(newest))
	}
	// Rows that are superseded in the same call may be stored before, depending on the order inside of the call.
	if least := int64(len(changed)); applied < least || applied > most {
		t.Fatalf("%d rows were applied, want %d to %d", applied, least, most)
	}
	for u := range fresh {
		m.checkSettled(t, u, settling[u], u.sealed && u.batches == u.reading.Batches)
		delete(settling, u)
	}
	if len(settling) > 0 {
		t.Fatalf("duplicates settled %d uploads", len(settling))
	}
}

// check compares the table, the ledger and the changes with the model.
func (m *model) check(t *rapid.T) {
	want := map[string]string{}
	for person, f := range m.stored {
		got, err := m.h.Lookup(context.Background(), person)
		if f.Flavor == "" {
			if !errors.Is(err, events.ErrNotFound) {
				t.Errorf("Lookup of the removed %s = %v, %v; want events.ErrNotFound", person, got, err)
			}
			continue
		}
		want[person] = f.Flavor
		if err != nil {
			t.Fatalf("Lookup: %v", err)
		}
		same(t, "favorite", got, f)
	}
	same(t, "team", m.h.flavors(t, m.prefix), want)
	for _, u := range m.uploads {
		if u.settled != 1 {
			t.Errorf("the upload was settled %d times, want once", u.settled)
		}
		got := m.h.upload(t, u.object.UploadID())
		same(t, "record without counts and times", got, events.Upload{
			ID: u.object.UploadID(), Bucket: u.object.Bucket, Key: u.object.Key, VersionID: u.object.VersionID,
			ETag: u.object.ETag, Size: u.object.Size, Failure: u.reading.Failure, Format: "csv",
			Rejects: []events.Reject{}, Uploaded: u.object.Time, Published: u.reading.At,
			Sorted: u.sorted,
		}, cmpopts.IgnoreFields(events.Upload{}, "Status", "Counts", "Started", "Settled"))
		if got.Started.IsZero() || got.Settled.IsZero() || got.Settled.Before(got.Started.Truncate(time.Millisecond)) {
			t.Errorf("Started = %v, Settled = %v; want both, in this order", got.Started, got.Settled)
		}
	}
	m.checkChanges(t, want)
}

// checkChanges checks that the changes of each person, sorted by version, are a chain without gaps, from no flavor to
// the one in the table, in which every change changes the flavor. That holds if and only if exactly the changes of
// flavors were announced.
func (m *model) checkChanges(t *rapid.T, want map[string]string) {
	ofOtherRun := func(c events.Change) bool { return !strings.HasPrefix(c.Person, m.prefix) }
	changes := slices.DeleteFunc(m.h.changes(t), ofOtherRun)
	slices.SortFunc(changes, func(a, b events.Change) int { return cmp.Compare(a.Version, b.Version) })
	has := map[string]string{}
	for _, c := range changes {
		if expected, changed := events.NewChange(c.Person, has[c.Person], c.Flavor, c.Version); !changed {
			t.Errorf("change %+v is to the flavor %q that the person had before", c, has[c.Person])
		} else {
			same(t, "change", c, expected)
		}
		has[c.Person] = c.Flavor
		if c.Flavor == "" {
			delete(has, c.Person)
		}
	}
	same(t, "sum of the changes", has, want)
}
