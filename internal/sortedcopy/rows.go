package sortedcopy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"slices"

	"github.com/flavorless/flavorless/events"
)

var errPage = errors.New("the page is damaged")

// Rows returns the rows from the start-th (0-based) in the order of the file. It reads a row group at a time, each with
// one call of ReadAt. The strings remain valid; those of a row group share memory.
func (c *Copy) Rows(ctx context.Context, start int64) iter.Seq2[events.Update, error] {
	return func(yield func(events.Update, error) bool) {
		if start < 0 || start > c.rows {
			yield(events.Update{}, fmt.Errorf("row %d is not in the sorted copy, which has %d rows", start, c.rows))
			return
		}
		var b buffers
		for i := range c.groups {
			if start >= c.groups[i].rows {
				start -= c.groups[i].rows
				continue
			}
			for u, err := range c.read(ctx, i, &b) {
				if start > 0 && err == nil {
					start--
					continue
				}
				if !yield(u, err) || err != nil {
					return
				}
			}
		}
	}
}

// Span is a range of rows, from First to before End.
type Span struct{ First, End int64 }

// Groups returns the rows of each group of persons. Group is the function that was given to [Write].
func (c *Copy) Groups(group func(person string) int) (spans []Span) {
	row, last := int64(0), -1
	for i := range c.groups {
		if g := groupOf(group, c.groups[i].min); g != last {
			spans = append(spans, Span{First: row})
			last = g
		}
		row += c.groups[i].rows
		spans[len(spans)-1].End = row
	}
	return spans
}

func groupOf(group func(person string) int, person string) int {
	if group == nil {
		return 0
	}
	return group(person)
}

// Lookup returns the rows of persons, in the order of the file. The persons may be in any order, and need not be in the
// file. Group is the function that was given to [Write]. Lookup reads each row group at most once, and only those that
// can have one of persons.
func (c *Copy) Lookup(
	ctx context.Context, persons []string, group func(person string) int,
) (found []events.Update, err error) {
	ofGroup := map[int][]string{}
	for _, person := range slices.Compact(slices.Sorted(slices.Values(persons))) {
		g := groupOf(group, person)
		ofGroup[g] = append(ofGroup[g], person)
	}
	var b buffers
	for i := range c.groups {
		sorted := ofGroup[groupOf(group, c.groups[i].min)]
		first, _ := slices.BinarySearch(sorted, c.groups[i].min)
		wanted := sorted[first:]
		if len(wanted) == 0 || wanted[0] > c.groups[i].max {
			continue
		}
		for u, err := range c.read(ctx, i, &b) {
			if err != nil {
				return nil, err
			}
			for len(wanted) > 0 && wanted[0] < u.Person {
				wanted = wanted[1:]
			}
			if len(wanted) == 0 {
				break
			}
			if wanted[0] == u.Person {
				found = append(found, u)
			}
		}
	}
	return found, nil
}

// buffers are reused for each row group.
type buffers struct{ compressed, page []byte }

// read returns the rows of a row group. After an error it ends.
func (c *Copy) read(ctx context.Context, i int, b *buffers) iter.Seq2[events.Update, error] {
	return func(yield func(events.Update, error) bool) {
		err := ctx.Err()
		var columns [3]string
		if err == nil {
			columns, err = c.pages(&c.groups[i], b)
		}
		if err == nil {
			err = c.groups[i].each(columns, yield)
		}
		if err != nil {
			yield(events.Update{}, fmt.Errorf("reading row group %d of a sorted copy: %w", i, err))
		}
	}
}

// pages reads a row group and returns its decompressed pages.
func (c *Copy) pages(g *rowGroup, b *buffers) (columns [3]string, err error) {
	first, last := g.chunks[0], g.chunks[len(g.chunks)-1]
	b.compressed = slices.Grow(b.compressed[:0], int(last.offset+last.size-first.offset))
	b.compressed = b.compressed[:last.offset+last.size-first.offset]
	if err := readFull(c.r, b.compressed, first.offset); err != nil {
		return columns, err
	}
	for i, ch := range g.chunks {
		start := ch.offset - first.offset
		d := decoder{b: b.compressed[start : start+ch.size]}
		kind, encoding, levels := int64(-1), int64(-1), int64(-1)
		var size, compressed, crc, rows int64
		d.fields(nil, &kind, &size, &compressed, &crc, func() { // PageHeader
			d.fields(nil, &rows, &encoding, &levels) // DataPageHeader
		})
		switch {
		case d.err != nil:
			return columns, d.err
		case kind != dataPage || encoding != plain || levels != rle || rows != g.rows ||
			compressed != int64(len(d.b)) || size < 0 || size > maxPage || crc32.ChecksumIEEE(d.b) != uint32(crc):
			return columns, errPage
		}
		b.page, err = c.zstd.DecodeAll(d.b, slices.Grow(b.page[:0], int(size))[:0:size])
		if err != nil || int64(len(b.page)) != size {
			return columns, errors.Join(errPage, err)
		}
		columns[i] = string(b.page)
	}
	return columns, nil
}

// each yields the rows of a row group, whose columns are PLAIN.
func (g *rowGroup) each(columns [3]string, yield func(events.Update, error) bool) error {
	persons, flavors, offsets := texts{s: columns[0]}, texts{s: columns[1]}, columns[2]
	levels := []byte(flavors.next(len(flavors.s)))
	var run, level uint64
	if int64(len(offsets)) != 8*g.rows {
		return errPage
	}
	for i := range int(g.rows) {
		if run == 0 {
			header, n := binary.Uvarint(levels)
			if n <= 0 || n == len(levels) || header&1 != 0 || header == 0 || levels[n] > 1 {
				return errPage
			}
			run, level, levels = header>>1, uint64(levels[n]), levels[n+1:]
		}
		run--
		u := events.Update{Person: persons.next(events.MaxName), Remove: level == 0}
		if !u.Remove {
			u.Flavor = flavors.next(events.MaxName)
		}
		for j := range 8 {
			u.Offset |= int64(offsets[8*i+j]) << (8 * j)
		}
		if persons.damaged || flavors.damaged || u.Person == "" || u.Remove != (u.Flavor == "") {
			return errPage
		}
		if !yield(u, nil) {
			return nil
		}
	}
	if run > 0 || len(levels)+len(persons.s)+len(flavors.s) > 0 {
		return errPage
	}
	return nil
}

// texts reads texts that follow their length in 4 bytes.
type texts struct {
	s       string
	damaged bool
}

// next returns the next text, which must not be longer than maximum.
func (t *texts) next(maximum int) string {
	if len(t.s) >= 4 {
		n := int(t.s[0]) | int(t.s[1])<<8 | int(t.s[2])<<16 | int(t.s[3])<<24
		if n >= 0 && n <= min(maximum, len(t.s)-4) {
			text := t.s[4 : 4+n]
			t.s = t.s[4+n:]
			return text
		}
	}
	t.damaged = true
	return ""
}
