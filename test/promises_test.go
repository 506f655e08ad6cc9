package test

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
)

// upload is a file, and the rows that it has.
type upload struct {
	object   events.Object
	text     string
	accepted []events.Update
	rejected int64
}

type stored struct {
	version events.Version
	flavor  string
}

// drawUpload makes the file of a number, of few people, so that they meet often.
func drawUpload(t *rapid.T, number, most int) upload {
	draw := func(label string, most int) int { return rapid.IntRange(0, most).Draw(t, label) }
	format := formats[draw("format", len(formats)-1)]
	u := upload{object: events.Object{
		Bucket: "b", Key: fmt.Sprintf("uploads/%d%s", number, format.suffix), ETag: fmt.Sprintf("%032x", number),
		Time:      time.UnixMilli(1_700_000_000_000 + int64(draw("ms", 2))), // they tie, too
		Sequencer: fmt.Sprintf("%x", 16+draw("sequencer", 300)),
	}}
	text := format.begin
	for i := range draw("rows", most) {
		if i > 0 {
			text += format.between
		}
		row := events.Update{Offset: int64(len(text)), Person: string(rune('a' + draw("person", 4)))}
		switch draw("kind", 6) {
		case 0:
			row.Remove = true
			text += format.remove(row.Person)
		case 1:
			u.rejected++
			text += format.set(row.Person, "")
			continue
		default:
			row.Flavor = []string{"vanilla", "mint", "fudge"}[draw("flavor", 2)]
			text += format.set(row.Person, row.Flavor)
		}
		u.accepted = append(u.accepted, row)
	}
	u.text = text + format.end
	return u
}

var formats = []struct {
	suffix, begin, between, end string
	set                         func(person, flavor string) string
	remove                      func(person string) string
}{
	{
		".csv", "person,flavor,action\n", "\n", "\n",
		func(p, f string) string { return p + "," + f + "," }, func(p string) string { return p + ",,remove" },
	},
	{
		".ndjson", "", "\n", "",
		func(p, f string) string { return fmt.Sprintf(`{"person":%q,"flavor":%q}`, p, f) },
		func(p string) string { return fmt.Sprintf(`{"person":%q,"action":"remove"}`, p) },
	},
	{
		".json", "{ ", ",\n  ", "}",
		func(p, f string) string { return fmt.Sprintf("%q : %q", p, f) }, func(p string) string { return fmt.Sprintf("%q:null", p) },
	},
	{
		".json", "[", " ,", "\n]",
		func(p, f string) string { return fmt.Sprintf(`{"person":%q,"flavor":%q}`, p, f) },
		func(p string) string { return fmt.Sprintf(`{"person":%q,"flavor":null}`, p) },
	},
}

type fataler interface {
	Fatalf(format string, args ...any)
}

// checkTable: the table is the fold of the files by version. It returns what the table has.
func checkTable(t fataler, uploads map[string]upload, team []events.Favorite) map[string]stored {
	folded := map[string]stored{}
	for _, u := range uploads {
		origin, err := u.object.Origin()
		if err != nil {
			t.Fatalf("%v", err)
		}
		for _, r := range u.accepted {
			if v := origin.At(r.Offset); v > folded[r.Person].version {
				folded[r.Person] = stored{v, r.Flavor}
			}
		}
	}
	maps.DeleteFunc(folded, func(_ string, s stored) bool { return s.flavor == "" })
	table := map[string]stored{}
	for _, f := range team {
		table[f.Person] = stored{f.Version, f.Flavor}
	}
	if diff := gocmp.Diff(folded, table, gocmp.AllowUnexported(stored{})); diff != "" {
		t.Fatalf("the table is not the fold of the files (-want +got):\n%s", diff)
	}
	return table
}

// checkUpload: the upload is live, each of its rows has one outcome, and the rejected ones are in the report.
func checkUpload(t fataler, u upload, got events.Upload, report []byte) {
	if got.Status != events.Live {
		t.Fatalf("upload %s is %s: %+v", u.object.Key, got.Status, got.Counts)
	}
	c := got.Counts
	if rows := int64(len(u.accepted)) + u.rejected; c.Applied+c.Superseded+c.Rejected != c.Rows || c.Rows != rows || c.Rejected != u.rejected {
		t.Fatalf("upload %s has %d rows, %d of them bad, and does not add up to that: %+v", u.object.Key, rows, u.rejected, c)
	}
	if n := bytes.Count(report, []byte("\n")); int64(n) != u.rejected || int64(len(got.Rejects)) != u.rejected {
		t.Fatalf("upload %s: %d rows are in the report and %d in the ledger of %d that were rejected", u.object.Key, n, len(got.Rejects), u.rejected)
	}
}

// checkChanges: repeated ones left out, the changes of a person form a chain in which every link is a real change, and
// which ends at what the table has.
func checkChanges(t fataler, heard []events.Change, table map[string]stored) {
	chains := map[string]map[events.Version]events.Change{}
	for _, c := range heard {
		if chains[c.Person] == nil {
			chains[c.Person] = map[events.Version]events.Change{}
		}
		if before, repeated := chains[c.Person][c.Version]; repeated && before != c {
			t.Fatalf("one change, told in two ways: %+v and %+v", before, c)
		}
		chains[c.Person][c.Version] = c
	}
	folded := map[string]string{}
	for person, chain := range chains {
		flavor := ""
		for _, c := range slices.SortedFunc(maps.Values(chain), func(a, b events.Change) int { return cmp.Compare(a.Version, b.Version) }) {
			if c.Previous != flavor || c.Flavor == flavor {
				t.Fatalf("%s had %q, and then this is announced: %+v", person, flavor, c)
			}
			flavor = c.Flavor
		}
		if flavor != "" {
			folded[person] = flavor
		}
	}
	flavors := map[string]string{}
	for person, s := range table {
		flavors[person] = s.flavor
	}
	if diff := gocmp.Diff(flavors, folded); diff != "" {
		t.Fatalf("the changes do not add up to the table (-table +changes):\n%s", diff)
	}
}
