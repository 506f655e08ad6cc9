package sortedcopy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/zstd"
)

const (
	tailSize = 64 << 10 // bytes that Open reads first; the footer of 5 million rows has about 20 KB
	maxPage  = bytesPerGroup + 1<<20
	foreign  = "the file is damaged or no sorted copy"
)

// Copy is a sorted copy, of which the footer has been read. It may be used by several goroutines at the same time.
type Copy struct {
	r        io.ReaderAt
	zstd     *zstd.Decoder
	groups   []rowGroup
	rows     int64
	metadata map[string]string
}

// Open reads the footer of a file that [Write] has written. Size is the size of the file in bytes.
func Open(r io.ReaderAt, size int64) (*Copy, error) {
	c := &Copy{r: r, metadata: map[string]string{}}
	footer, err := readFooter(r, size)
	if err == nil {
		err = c.decode(footer, size-int64(len(footer))-8)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the footer of a sorted copy: %w", err)
	}
	c.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(maxPage), zstd.WithDecodeAllCapLimit(true))
	return c, err
}

// Metadata returns a value that was given to [Write], or an empty string.
func (c *Copy) Metadata(name string) string { return c.metadata[name] }

// Len returns the number of rows.
func (c *Copy) Len() int64 { return c.rows }

// readFooter returns the FileMetaData. It reads once if the footer is short.
func readFooter(r io.ReaderAt, size int64) ([]byte, error) {
	if size < int64(2*len(magic)+4) {
		return nil, fmt.Errorf("the file has only %d bytes; %s", size, foreign)
	}
	tail := make([]byte, min(size, tailSize))
	if err := readFull(r, tail, size-int64(len(tail))); err != nil {
		return nil, err
	}
	end := tail[len(tail)-8:]
	if string(end[4:]) != magic {
		return nil, fmt.Errorf("the file ends with %q, not with %q; %s", end[4:], magic, foreign)
	}
	length := int64(binary.LittleEndian.Uint32(end))
	if length > size-int64(len(magic))-8 {
		return nil, fmt.Errorf("the footer of %d bytes does not fit into the file of %d; %s", length, size, foreign)
	}
	tail = tail[:len(tail)-8]
	if length <= int64(len(tail)) {
		return tail[int64(len(tail))-length:], nil
	}
	footer := make([]byte, length)
	return footer, readFull(r, footer, size-8-length)
}

func readFull(r io.ReaderAt, b []byte, at int64) error {
	n, err := r.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("reading %d bytes at %d: %w", len(b), at, err)
}

// decode decodes the FileMetaData. End is where the row groups end. They must follow each other without gaps, so that
// their number and sizes are bounded by the size of the file.
func (c *Copy) decode(footer []byte, end int64) error {
	d := decoder{b: footer}
	var columns []column
	var rows int64
	at := int64(len(magic))
	d.fields(
		nil, // version
		nil,
		func() { // schema
			element := column{typ: -1, repetition: -1}
			d.fields(nil, &element.typ, nil, &element.repetition, &element.name)
			columns = append(columns, element)
		},
		&rows,
		func() { // row groups
			g := d.rowGroup(&at, end)
			c.rows += g.rows
			c.groups = append(c.groups, g)
		},
		func() { // key-value metadata
			var key, value string
			d.fields(nil, &key, &value)
			c.metadata[key] = value
		},
	)
	want := schema()
	switch {
	case len(columns) != 1+len(want) || !slices.Equal(columns[1:], want[:]):
		return fmt.Errorf("the columns are not person, flavor and offset; %s", foreign)
	case d.err != nil:
		return fmt.Errorf("%w; %s", d.err, foreign)
	case c.rows != rows || at != end:
		return fmt.Errorf("%d rows in %d bytes, want %d rows in %d bytes; %s", c.rows, at, rows, end, foreign)
	}
	return nil
}

// rowGroup reads a RowGroup. Its first column must begin at the offset at, which rowGroup advances.
func (d *decoder) rowGroup(at *int64, end int64) (g rowGroup) {
	n := 0
	d.fields(
		nil,
		func() { // columns
			var ch chunk
			var codec int64
			var first, last string
			d.fields(nil, nil, nil, func() { // metadata
				d.fields(nil, nil, nil, nil, &codec, nil, nil, &ch.size, nil, &ch.offset, nil, nil, func() {
					d.fields(nil, nil, nil, nil, nil, &last, &first)
				})
			})
			if n == len(g.chunks) || codec != codecZstd || ch.offset != *at || ch.size <= 0 || ch.size > end-*at {
				d.fail(fmt.Errorf("column %d at byte %d is not valid", n, *at))
				return
			}
			if n == 0 {
				g.min, g.max = first, last
			}
			g.chunks[n] = ch
			*at += ch.size
			n++
		},
		nil,
		&g.rows,
	)
	if n < len(g.chunks) || g.rows < 1 || g.rows > rowsPerGroup || g.min == "" || g.min > g.max {
		d.fail(fmt.Errorf("row group before byte %d is not valid", *at))
	}
	return g
}
