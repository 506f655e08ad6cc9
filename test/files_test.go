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

// files makes files of all sorts from one source of chance. They name few people over and over, and some of a crowd.
type files struct {
	t      *testing.T
	random *rand.Rand
	prefix string // of the keys
	made   int
	most   int // rows of a large file
}

var smallFiles = rapid.Custom(func(t *rapid.T) upload { return drawUpload(t, 0, 12) })

// next makes the next file: mostly a small one, one of five a large one, and among these some that are compressed, that
// break off, or that are to be applied as a whole or not at all.
func (f *files) next() file {
	f.made++
	if f.random.IntN(5) > 0 {
		u := smallFiles.Example(int(f.random.Int32()))
		return f.pack(u, u.object.Key[len("uploads/0"):], "", false)
	}
	return f.large()
}

// long makes some names long, so that files have many batches.
var long = []string{"", strings.Repeat(" of many", 25)}

func (f *files) large() file {
	format := formats[f.random.IntN(len(formats))]
	badOneOf := []int{0, 200, 3}[f.random.IntN(3)]
	d := draft{format: format}
	for range f.most/10 + f.random.IntN(f.most) {
		n := f.random.IntN(f.most)
		person := fmt.Sprintf("person %d%s", n, long[n%len(long)])
		switch kind := f.random.IntN(600); {
		case kind == 0:
			person = string(rune('a' + n%5)) // one of those in small files
			d.set(person, "fudge")
		case badOneOf > 0 && kind%badOneOf == 1:
			d.bad(person)
		case kind%20 == 2:
			d.remove(person)
		default:
			d.set(person, []string{"vanilla", "mint", "fudge", "cookie dough" + long[1]}[f.random.IntN(4)])
		}
	}
	abort := f.random.IntN(4) == 0
	u := f.end(&d, f.random.IntN(5) == 0, abort)
	return f.pack(u, format.suffix, []string{"", ".gz", ".zst"}[f.random.IntN(3)], abort)
}

// end ends the file, or lets it break off in a row that is not counted then.
func (f *files) end(d *draft, breaks, abort bool) upload {
	breaks = breaks && d.format.broken != ""
	if breaks {
		d.row()
		d.failure, d.format.end = d.format.code, d.format.broken
	}
	u := d.end()
	if abort && (breaks || len(u.rejected) > 0) {
		if !breaks {
			u.failure = events.Aborted
		}
		u.refused, u.accepted = int64(len(u.accepted)), nil
	}
	return u
}

func (f *files) pack(u upload, suffix, compression string, abort bool) file {
	u.object.Key = fmt.Sprintf("uploads/%s-%d%s%s", f.prefix, f.made, suffix, compression)
	packed := file{upload: u, body: compress(f.t, []byte(u.text), compression)}
	if abort {
		packed.metadata = map[string]string{"on-error": "abort"}
	}
	packed.text = "" // it may be long
	return packed
}
