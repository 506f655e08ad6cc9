package test

import (
	"fmt"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
)

// upload is a file, with the outcome that each of its rows must have.
type upload struct {
	object   events.Object
	text     string
	accepted []events.Update
	rejected []int64     // offsets of the bad rows
	refused  int64       // good rows that are not applied because of bad ones (on-error=abort)
	failure  events.Code // the failure of the file; empty if it becomes live
}

// drawUpload draws a small file. It names few people, so that files overlap.
func drawUpload(t *rapid.T, number, maxRows int) upload {
	draw := func(label string, most int) int { return rapid.IntRange(0, most).Draw(t, label) }
	format := formats[draw("format", len(formats)-1)]
	d := draft{format: format, upload: upload{object: events.Object{
		Bucket: "b", Key: fmt.Sprintf("uploads/%d%s", number, format.suffix), ETag: fmt.Sprintf("%032x", number),
		Time:      time.UnixMilli(1_700_000_000_000 + int64(draw("ms", 2))), // so few that some are equal
		Sequencer: fmt.Sprintf("%x", 16+draw("sequencer", 300)),
	}}}
	for range draw("rows", maxRows) {
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
	return d.finish()
}

// draft is a file that is written row by row.
type draft struct {
	upload
	format fileFormat
	b      strings.Builder
	begun  bool
}

// beginRow writes what precedes a row, and returns the offset of the row.
func (d *draft) beginRow() int64 {
	if d.begun {
		d.b.WriteString(d.format.between)
	} else {
		d.b.WriteString(d.format.begin)
	}
	d.begun = true
	return int64(d.b.Len())
}

func (d *draft) set(person, flavor string) {
	d.accepted = append(d.accepted, events.Update{Offset: d.beginRow(), Person: person, Flavor: flavor})
	d.b.WriteString(d.format.set(person, flavor))
}

func (d *draft) remove(person string) {
	d.accepted = append(d.accepted, events.Update{Offset: d.beginRow(), Person: person, Remove: true})
	d.b.WriteString(d.format.remove(person))
}

// bad writes a row without a flavor, which is rejected.
func (d *draft) bad(person string) {
	d.rejected = append(d.rejected, d.beginRow())
	d.b.WriteString(d.format.set(person, ""))
}

// finish ends the file.
func (d *draft) finish() upload {
	if !d.begun {
		d.b.WriteString(d.format.begin)
	}
	d.b.WriteString(d.format.end)
	d.text = d.b.String()
	d.object.Size = int64(len(d.text))
	return d.upload
}

// fileFormat writes a file's rows in a format.
type fileFormat struct {
	suffix, begin, between, end string
	set                         func(person, flavor string) string
	remove                      func(person string) string
	broken                      string      // a last row that cannot be read; empty if the format has none
	code                        events.Code // the failure of a file with that row
}

var formats = []fileFormat{
	{
		".csv", "person,flavor,action\n", "\n", "\n",
		func(p, f string) string { return p + "," + f + "," },
		func(p string) string { return p + ",,remove" },
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
		func(p, f string) string { return fmt.Sprintf("%q : %q", p, f) },
		func(p string) string { return fmt.Sprintf("%q:null", p) },
		`"x": nul`, events.MalformedJSON,
	},
	{
		".json", "[", " ,", "\n]",
		func(p, f string) string { return fmt.Sprintf(`{"person":%q,"flavor":%q}`, p, f) },
		func(p string) string { return fmt.Sprintf(`{"person":%q,"flavor":null}`, p) },
		`{"person"`, events.MalformedJSON,
	},
}
