package extsort

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"iter"
	"slices"

	"github.com/flavorless/flavorless/events"
)

// A record of the arena begins with a header: the group (1 byte), the length of the person minus 1 (1 byte), the length
// of the flavor (2 bytes) and the offset (8 bytes). The person and the flavor follow.
const (
	headerSize = 12
	maxRow     = headerSize + 2*events.MaxName
	refSize    = 16
	maxChunk   = 256 << 10
)

// row is a view of a row. Its slices are valid only until the next row is read.
type row struct {
	person, flavor []byte
	offset         int64
	group          byte
}

// compare orders rows by group, person and descending offset.
func (r *row) compare(other *row) int {
	if r.group != other.group {
		return cmp.Compare(r.group, other.group)
	}
	if c := bytes.Compare(r.person, other.person); c != 0 {
		return c
	}
	return cmp.Compare(other.offset, r.offset)
}

// ref refers to a record of the arena. Key has the 8 bytes after the prefix that all persons share, so that most
// comparisons need no access to the arena.
type ref struct {
	key   uint64
	at    uint32
	group byte
}

// arena holds rows in memory. The records are in chunks of equal size, because a slice that grows would be in memory
// twice while it is copied. The references are created when the rows are sorted, when their number is known.
type arena struct {
	memory int // limit for chunks and refs
	shift  int // log2 of the size of a chunk
	chunks [][]byte
	used   int // number of chunks in use; the others are left from an earlier run
	rows   int
	refs   []ref
}

func newArena(memory int) arena {
	a := arena{memory: memory}
	for 1<<a.shift < maxRow || 1<<a.shift < min(memory/16, maxChunk) {
		a.shift++
	}
	return a
}

// add copies a row. It reports false if there is no room for it, unless it is the only row.
func (a *arena) add(group byte, u events.Update) bool {
	size := headerSize + len(u.Person) + len(u.Flavor)
	grow := a.used == 0 || len(a.chunks[a.used-1])+size > 1<<a.shift
	if a.rows > 0 {
		held := len(a.chunks)
		if grow && a.used == held {
			held++
		}
		if held<<a.shift+refSize*max(a.rows+1, cap(a.refs)) > a.memory {
			return false
		}
	}
	if grow {
		if a.used == len(a.chunks) {
			a.chunks = append(a.chunks, make([]byte, 0, 1<<a.shift))
		}
		a.used++
	}
	c := a.chunks[a.used-1]
	c = append(c, group, byte(len(u.Person)-1))
	c = binary.LittleEndian.AppendUint16(c, uint16(len(u.Flavor)))
	c = binary.LittleEndian.AppendUint64(c, uint64(u.Offset))
	c = append(c, u.Person...)
	a.chunks[a.used-1] = append(c, u.Flavor...)
	a.rows++
	return true
}

// reset removes all rows and keeps the memory.
func (a *arena) reset() {
	for i := range a.chunks {
		a.chunks[i] = a.chunks[i][:0]
	}
	a.used, a.rows = 0, 0
}

// sort sorts the rows and returns them.
func (a *arena) sort() iter.Seq2[*row, error] {
	a.index()
	var x, y row
	slices.SortFunc(a.refs, func(r, s ref) int {
		if r.group != s.group {
			return cmp.Compare(r.group, s.group)
		}
		if r.key != s.key {
			return cmp.Compare(r.key, s.key)
		}
		a.read(r.at, &x)
		a.read(s.at, &y)
		return x.compare(&y)
	})
	return func(yield func(*row, error) bool) {
		for _, r := range a.refs {
			a.read(r.at, &x)
			if !yield(&x, nil) {
				return
			}
		}
	}
}

// reserve uses the rest of the memory for references, so that they need not be allocated again for the next run.
func (a *arena) reserve() {
	if a.refs == nil {
		a.refs = make([]ref, 0, max(a.rows, (a.memory-len(a.chunks)<<a.shift)/refSize))
	}
}

// index creates the references.
func (a *arena) index() {
	a.refs = slices.Grow(a.refs[:0], a.rows)
	var x row
	var prefix []byte
	for i, c := range a.chunks[:a.used] {
		for at := 0; at < len(c); {
			pos := uint32(i<<a.shift + at)
			at += a.read(pos, &x)
			if len(a.refs) == 0 {
				prefix = x.person
			}
			prefix = prefix[:shared(prefix, x.person)]
			a.refs = append(a.refs, ref{at: pos, group: x.group})
		}
	}
	for i := range a.refs {
		a.read(a.refs[i].at, &x)
		var key [8]byte
		copy(key[:], x.person[len(prefix):])
		a.refs[i].key = binary.BigEndian.Uint64(key[:])
	}
}

// read sets r to the record at a position, and returns the size of the record.
func (a *arena) read(at uint32, r *row) int {
	c := a.chunks[at>>a.shift][at&(1<<a.shift-1):]
	person := int(c[1]) + 1
	size := headerSize + person + int(binary.LittleEndian.Uint16(c[2:]))
	r.group = c[0]
	r.offset = int64(binary.LittleEndian.Uint64(c[4:]))
	r.person = c[headerSize : headerSize+person]
	r.flavor = c[headerSize+person : size]
	return size
}

// shared returns the number of bytes at the beginning that are the same in a and b.
func shared(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
