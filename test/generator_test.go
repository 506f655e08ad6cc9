package test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
)

// file is an upload as it is put into the bucket.
type file struct {
	upload
	body     []byte
	metadata map[string]string
}

// fileGenerator makes random files. They name a few people again and again, and some of many others.
type fileGenerator struct {
	t       *testing.T
	random  *rand.Rand
	prefix  string // of the keys
	made    int
	maxRows int // of a large file
}

var smallFiles = rapid.Custom(func(t *rapid.T) upload { return drawUpload(t, 0, 12) })

// next makes the next file. One of five is large; of the large ones, some are compressed, some break off, and some
// must be applied as a whole or not at all.
func (g *fileGenerator) next() file {
	g.made++
	if g.random.IntN(5) > 0 {
		u := smallFiles.Example(int(g.random.Int32()))
		return g.pack(u, u.object.Key[len("uploads/0"):], "", false)
	}
	return g.large()
}

// padding makes some names long, so that files have many batches.
var padding = []string{"", strings.Repeat(" of many", 25)}

func (g *fileGenerator) large() file {
	format := formats[g.random.IntN(len(formats))]
	badOneOf := []int{0, 200, 3}[g.random.IntN(3)]
	d := draft{format: format}
	for range g.maxRows/10 + g.random.IntN(g.maxRows) {
		n := g.random.IntN(g.maxRows)
		person := fmt.Sprintf("person %d%s", n, padding[n%len(padding)])
		switch kind := g.random.IntN(600); {
		case kind == 0:
			person = string(rune('a' + n%5)) // a person of the small files
			d.set(person, "fudge")
		case badOneOf > 0 && kind%badOneOf == 1:
			d.bad(person)
		case kind%20 == 2:
			d.remove(person)
		default:
			d.set(person, []string{"vanilla", "mint", "fudge", "cookie dough" + padding[1]}[g.random.IntN(4)])
		}
	}
	abort := g.random.IntN(4) == 0
	u := g.finish(&d, g.random.IntN(5) == 0, abort)
	return g.pack(u, format.suffix, []string{"", ".gz", ".zst"}[g.random.IntN(3)], abort)
}

// finish ends a draft, or makes it break off in a row that is not counted.
func (g *fileGenerator) finish(d *draft, breaks, abort bool) upload {
	breaks = breaks && d.format.broken != ""
	if breaks {
		d.beginRow()
		d.failure, d.format.end = d.format.code, d.format.broken
	}
	u := d.finish()
	if abort && (breaks || len(u.rejected) > 0) {
		if !breaks {
			u.failure = events.Aborted
		}
		u.refused, u.accepted = int64(len(u.accepted)), nil
	}
	return u
}

func (g *fileGenerator) pack(u upload, suffix, compression string, abort bool) file {
	u.object.Key = fmt.Sprintf("uploads/%s-%d%s%s", g.prefix, g.made, suffix, compression)
	packed := file{upload: u, body: compress(g.t, []byte(u.text), compression)}
	if abort {
		packed.metadata = map[string]string{"on-error": "abort"}
	}
	packed.text = "" // it may be long
	return packed
}
