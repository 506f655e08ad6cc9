package test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
)

// fataler is a *testing.T or a *rapid.T.
type fataler interface {
	Fatalf(format string, args ...any)
}

// favorite is a row of the table.
type favorite struct {
	version events.Version
	flavor  string
}

// checkTable checks that the table is the fold of the files by version. If uploads are comparing, a row may have the
// version of an older row with the same flavor. It returns the table.
func checkTable(t fataler, uploads map[string]upload, team []events.Favorite, comparing bool) map[string]favorite {
	folded := map[string]favorite{}
	for _, u := range uploads {
		origin, err := u.object.Origin()
		if err != nil {
			t.Fatalf("Origin: %v", err)
		}
		for _, r := range u.accepted {
			if v := origin.At(r.Offset); v > folded[r.Person].version {
				folded[r.Person] = favorite{v, r.Flavor}
			}
		}
	}
	maps.DeleteFunc(folded, func(_ string, f favorite) bool { return f.flavor == "" })
	table := map[string]favorite{}
	for _, f := range team {
		table[f.Person] = favorite{f.Version, f.Flavor}
		if want := folded[f.Person]; comparing && f.Version < want.version && f.Flavor == want.flavor {
			folded[f.Person] = table[f.Person]
		}
	}
	if diff := gocmp.Diff(folded, table, gocmp.AllowUnexported(favorite{})); diff != "" {
		t.Fatalf("the table is not the fold of the files (-want +got):\n%s", diff)
	}
	return table
}

// checkUpload checks that an upload ended as it must, that each of its rows has one outcome, and that the report names
// every rejected row.
func checkUpload(t fataler, want upload, got events.Upload, report []byte) {
	key, wantStatus := want.object.Key, events.Live
	if want.failure != "" {
		wantStatus = events.Failed
	}
	failure := events.Code("")
	if got.Failure != nil {
		failure = got.Failure.Code
	}
	if got.Status != wantStatus || failure != want.failure {
		t.Fatalf("upload %s is %s with failure %q, want %s with %q: %+v",
			key, got.Status, failure, wantStatus, want.failure, got)
	}
	c, bad := got.Counts, int64(len(want.rejected))
	rows, rejected := int64(len(want.accepted))+bad+want.refused, bad+want.refused
	if c.Rows != rows || c.Rejected != rejected {
		t.Fatalf("upload %s has %d rows, %d of them rejected; want %d and %d", key, c.Rows, c.Rejected, rows, rejected)
	}
	checkCounts(t, got)
	if want := want.rejected[:min(bad, events.MaxRejects)]; !slices.Equal(offsets(got.Rejects), want) {
		t.Fatalf("upload %s: the ledger has rejected rows at %v, want %v", key, offsets(got.Rejects), want)
	}
	var reported []events.Reject
	for line := range bytes.Lines(report) {
		var r events.Reject
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("the report of upload %s: %v", key, err)
		}
		reported = append(reported, r)
	}
	if !slices.Equal(offsets(reported), want.rejected) {
		t.Fatalf("the report of upload %s has %d rejected rows at %v, want %d at %v",
			key, len(reported), offsets(reported), bad, want.rejected)
	}
}

// checkCounts checks that the counts of a settled upload add up.
func checkCounts(t fataler, u events.Upload) {
	if c := u.Counts; c.Outcomes() != c.Rows || c.Batches != c.BatchesApplied {
		t.Fatalf("the row counts of %s do not add up: %+v", u.Key, c)
	}
}

func offsets(rejects []events.Reject) (all []int64) {
	for _, r := range rejects {
		all = append(all, r.Offset)
	}
	return all
}

// checkChanges checks that each person's changes, without repeated ones, are a chain: every change starts from the
// flavor of the one before, changes it, and the last one ends at the flavor in the table.
func checkChanges(t fataler, received []events.Change, table map[string]favorite) {
	chains := map[string]map[events.Version]events.Change{}
	for _, c := range received {
		if chains[c.Person] == nil {
			chains[c.Person] = map[events.Version]events.Change{}
		}
		if before, repeated := chains[c.Person][c.Version]; repeated && before != c {
			t.Fatalf("a change was announced as %+v and as %+v", before, c)
		}
		chains[c.Person][c.Version] = c
	}
	got := map[string]string{}
	byVersion := func(a, b events.Change) int { return cmp.Compare(a.Version, b.Version) }
	for person, chain := range chains {
		flavor := ""
		for _, c := range slices.SortedFunc(maps.Values(chain), byVersion) {
			if c.Previous != flavor || c.Flavor == flavor {
				t.Fatalf("%s had the flavor %q before the change %+v", person, flavor, c)
			}
			flavor = c.Flavor
		}
		if flavor != "" {
			got[person] = flavor
		}
	}
	want := map[string]string{}
	for person, f := range table {
		want[person] = f.flavor
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Fatalf("the changes do not add up to the table (-table +changes):\n%s", diff)
	}
}
