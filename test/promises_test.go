package test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
)

// upload is a file, and what is to become of the rows that it has.
type upload struct {
	object   events.Object
	text     string
	accepted []events.Update
	rejected []int64     // offsets of the bad rows
	refused  int64       // good rows that are not applied because of them: on-error=abort
	failure  events.Code // why the file ends as failed; empty if it becomes live
}

type stored struct {
	version events.Version
	flavor  string
}

// drawUpload makes the file of a number, of few people, so that they meet often.
func drawUpload(t *rapid.T, number, most int) upload {
	draw := func(label string, most int) int { return rapid.IntRange(0, most).Draw(t, label) }
	format := formats[draw("format", len(formats)-1)]
	d := draft{format: format, upload: upload{object: events.Object{
		Bucket: "b", Key: fmt.Sprintf("uploads/%d%s", number, format.suffix), ETag: fmt.Sprintf("%032x", number),
		Time:      time.UnixMilli(1_700_000_000_000 + int64(draw("ms", 2))), // they tie, too
		Sequencer: fmt.Sprintf("%x", 16+draw("sequencer", 300)),
	}}}
	for range draw("rows", most) {
		person := string(rune('a' + draw("person", 4)))
		switch draw("kind", 6) {
		case 0:
			d.remove(person)
		case 1:
			d.bad(person)
		default:
			d.set(person, []string{"vanilla", "mint", "fudge"}[draw("flavor", 2)])
		}
	}
	return d.end()
}

// draft is a file that is being written, row by row.
type draft struct {
	upload
	format fileFormat
	b      strings.Builder
	begun  bool
}

// row gives the offset of the next row.
func (d *draft) row() int64 {
	if d.begun {
		d.b.WriteString(d.format.between)
	} else {
		d.b.WriteString(d.format.begin)
	}
	d.begun = true
	return int64(d.b.Len())
}

func (d *draft) set(person, flavor string) {
	d.accepted = append(d.accepted, events.Update{Offset: d.row(), Person: person, Flavor: flavor})
	d.b.WriteString(d.format.set(person, flavor))
}

func (d *draft) remove(person string) {
	d.accepted = append(d.accepted, events.Update{Offset: d.row(), Person: person, Remove: true})
	d.b.WriteString(d.format.remove(person))
}

// bad writes a row without a flavor.
func (d *draft) bad(person string) {
	d.rejected = append(d.rejected, d.row())
	d.b.WriteString(d.format.set(person, ""))
}

func (d *draft) end() upload {
	if !d.begun {
		d.b.WriteString(d.format.begin)
	}
	d.b.WriteString(d.format.end)
	d.text = d.b.String()
	d.object.Size = int64(len(d.text))
	return d.upload
}

// fileFormat writes rows. Some can break off so that nobody can read on; then the file fails with the code.
type fileFormat struct {
	suffix, begin, between, end string
	set                         func(person, flavor string) string
	remove                      func(person string) string
	broken                      string
	code                        events.Code
}

var formats = []fileFormat{
	{
		".csv", "person,flavor,action\n", "\n", "\n",
		func(p, f string) string { return p + "," + f + "," }, func(p string) string { return p + ",,remove" },
		"x,\"open", events.UnclosedQuote,
	},
	{
		".ndjson", "", "\n", "",
		func(p, f string) string { return fmt.Sprintf(`{"person":%q,"flavor":%q}`, p, f) },
		func(p string) string { return fmt.Sprintf(`{"person":%q,"action":"remove"}`, p) },
		"", "",
	},
	{
		".json", "{ ", ",\n  ", "}",
		func(p, f string) string { return fmt.Sprintf("%q : %q", p, f) }, func(p string) string { return fmt.Sprintf("%q:null", p) },
		`"x": nul`, events.MalformedJSON,
	},
	{
		".json", "[", " ,", "\n]",
		func(p, f string) string { return fmt.Sprintf(`{"person":%q,"flavor":%q}`, p, f) },
		func(p string) string { return fmt.Sprintf(`{"person":%q,"flavor":null}`, p) },
		`{"person"`, events.MalformedJSON,
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

// checkUpload: the upload has the end that it is to have, each of its rows has one outcome, and the report names every
// rejected one.
func checkUpload(t fataler, u upload, got events.Upload, report []byte) {
	want, failure := events.Live, events.Code("")
	if u.failure != "" {
		want = events.Failed
	}
	if got.Failure != nil {
		failure = got.Failure.Code
	}
	if got.Status != want || failure != u.failure {
		t.Fatalf("upload %s is %s, %+v; want %s, %q: %+v", u.object.Key, got.Status, got.Failure, want, u.failure, got.Counts)
	}
	c, bad := got.Counts, int64(len(u.rejected))
	rows := int64(len(u.accepted)) + bad + u.refused
	if c.Applied+c.Superseded+c.Rejected != c.Rows || c.Rows != rows || c.Rejected != bad+u.refused || c.Batches != c.BatchesApplied {
		t.Fatalf("upload %s has %d rows, %d of them bad, %d refused, and does not add up to that: %+v", u.object.Key, rows, bad, u.refused, c)
	}
	if want := u.rejected[:min(bad, events.MaxRejects)]; !slices.Equal(offsets(got.Rejects), want) {
		t.Fatalf("upload %s: the ledger has the rejected rows at %v, want %v", u.object.Key, offsets(got.Rejects), want)
	}
	var all []events.Reject
	for line := range bytes.Lines(report) {
		var r events.Reject
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("upload %s: report: %v", u.object.Key, err)
		}
		all = append(all, r)
	}
	if !slices.Equal(offsets(all), u.rejected) {
		t.Fatalf("upload %s: the report has %d rejected rows, at %v; want %d, at %v", u.object.Key, len(all), offsets(all), bad, u.rejected)
	}
}

func offsets(rejects []events.Reject) (all []int64) {
	for _, r := range rejects {
		all = append(all, r.Offset)
	}
	return all
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
