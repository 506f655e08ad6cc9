package sortedcopy

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"maps"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/flavorless/flavorless/events"
)

const (
	magic         = "PAR1"
	rowsPerGroup  = 16 << 10 // readers hold a row group of each group of persons in memory
	bytesPerGroup = 2 << 20  // a row group ends with the row that reaches this size before compression
)

// Values of the enumerations in parquet.thrift.
const (
	typeInt64     = 2 // Type
	typeByteArray = 6
	required      = 0 // FieldRepetitionType
	optional      = 1
	utf8          = 0 // ConvertedType
	plain         = 0 // Encoding
	rle           = 3
	codecZstd     = 6 // CompressionCodec
	dataPage      = 0 // PageType
)

// column is what the schema says about a column.
type column struct {
	name            string
	typ, repetition int64
}

// schema returns the columns of the file.
func schema() [3]column {
	return [3]column{
		{"person", typeByteArray, required},
		{"flavor", typeByteArray, optional},
		{"offset", typeInt64, required},
	}
}

// rowGroup is what the footer says about a row group.
type rowGroup struct {
	rows     int64
	chunks   [3]chunk
	min, max string // persons
	nulls    int64  // flavors
}

// chunk is a column of a row group. The sizes include the page header.
type chunk struct {
	offset, size, uncompressed int64
}

// writer holds the row group that is not written yet. Persons, flavors and offsets are PLAIN.
type writer struct {
	w          io.Writer
	at         int64 // bytes written
	zstd       *zstd.Encoder
	compressed []byte
	groups     []rowGroup

	group                    rowGroup
	levels, persons, flavors []byte
	offsets                  []byte
	run                      uint64 // number of equal levels that are not in levels yet
	level                    byte   // their value: 1 if there is a flavor, 0 if not
}

// Write writes rows as a Parquet file and returns their number. The rows must be sorted by group, then by person, with
// one row for each person; group may be nil if there is one group. Write calls metadata after the last row and
// stores the result in the file. If rows or metadata return an error, Write returns it as it is, and the file is
// incomplete.
func Write(w io.Writer, rows iter.Seq2[events.Update, error], group func(string) int,
	metadata func() (map[string]string, error)) (n int64, err error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false),
		zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return 0, err
	}
	out := &writer{w: w, zstd: encoder}
	if err := out.write([]byte(magic)); err != nil {
		return 0, err
	}
	current := 0
	for u, err := range rows {
		if err != nil {
			return n, err
		}
		g := current
		if group != nil {
			g = group(u.Person)
		}
		if g != current || out.full() {
			if err := out.flush(); err != nil {
				return n, err
			}
		}
		if n > 0 && g < current || out.group.rows > 0 && u.Person <= out.group.max {
			return n, fmt.Errorf("person %.80q of group %d is not in order", u.Person, g)
		}
		current = g
		out.add(u)
		n++
	}
	if err := out.flush(); err != nil {
		return n, err
	}
	pairs, err := metadata()
	if err != nil {
		return n, err
	}
	return n, out.footer(n, pairs)
}

func (w *writer) write(b []byte) error {
	n, err := w.w.Write(b)
	w.at += int64(n)
	return err
}

func (w *writer) full() bool {
	return w.group.rows == rowsPerGroup || len(w.persons)+len(w.flavors)+len(w.levels)+len(w.offsets) >= bytesPerGroup
}

func (w *writer) add(u events.Update) {
	if w.group.rows == 0 {
		w.group.min = u.Person
	}
	w.group.max = u.Person
	w.group.rows++
	w.persons = appendText(w.persons, u.Person)
	w.offsets = binary.LittleEndian.AppendUint64(w.offsets, uint64(u.Offset))
	level := byte(1)
	if u.Remove {
		level = 0
		w.group.nulls++
	} else {
		w.flavors = appendText(w.flavors, u.Flavor)
	}
	if level != w.level {
		w.endRun()
		w.level = level
	}
	w.run++
}

func appendText(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

// endRun appends a run of equal levels. The lowest bit of the header tells a repeated run (0) from a bit-packed one.
func (w *writer) endRun() {
	if w.run > 0 {
		w.levels = append(binary.AppendUvarint(w.levels, w.run<<1), w.level)
		w.run = 0
	}
}

// flush writes the row group, if it has rows.
func (w *writer) flush() error {
	if w.group.rows == 0 {
		return nil
	}
	w.endRun()
	flavors := binary.LittleEndian.AppendUint32(nil, uint32(len(w.levels)))
	flavors = append(append(flavors, w.levels...), w.flavors...)
	for i, values := range [3][]byte{w.persons, flavors, w.offsets} {
		if err := w.page(&w.group.chunks[i], values); err != nil {
			return err
		}
	}
	w.groups = append(w.groups, w.group)
	w.group = rowGroup{}
	w.levels, w.persons, w.flavors, w.offsets = w.levels[:0], w.persons[:0], w.flavors[:0], w.offsets[:0]
	return nil
}

// page writes a column of the row group as a page.
func (w *writer) page(c *chunk, values []byte) error {
	w.compressed = w.zstd.EncodeAll(values, w.compressed[:0])
	header := appendStruct(nil, structure{ // PageHeader
		{1, int32(dataPage)},
		{2, int32(len(values))},
		{3, int32(len(w.compressed))},
		{4, int32(crc32.ChecksumIEEE(w.compressed))},
		{5, structure{ // DataPageHeader
			{1, int32(w.group.rows)},
			{2, int32(plain)},
			{3, int32(rle)}, // definition levels
			{4, int32(rle)}, // repetition levels, of which there are none
		}},
	})
	*c = chunk{w.at, int64(len(header) + len(w.compressed)), int64(len(header) + len(values))}
	if err := w.write(header); err != nil {
		return err
	}
	return w.write(w.compressed)
}

// footer writes the FileMetaData.
func (w *writer) footer(rows int64, metadata map[string]string) error {
	columns := schema()
	elements := list{structure{{4, "schema"}, {5, int32(len(columns))}}} // SchemaElement; the first is the root
	var orders, groups, pairs list
	for _, c := range columns {
		e := structure{{1, int32(c.typ)}, {3, int32(c.repetition)}, {4, c.name}}
		if c.typ == typeByteArray {
			e = append(e, field{6, int32(utf8)}, field{10, structure{{1, structure{}}}}) // and as LogicalType
		}
		elements = append(elements, e)
		orders = append(orders, structure{{1, structure{}}}) // by type; without it readers ignore min_value and max_value
	}
	for i := range w.groups {
		groups = append(groups, w.groups[i].structure(columns))
	}
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		pairs = append(pairs, structure{{1, key}, {2, metadata[key]}}) // KeyValue
	}
	b := appendStruct(nil, structure{
		{1, int32(1)}, // version
		{2, elements},
		{3, rows},
		{4, groups},
		{5, pairs},
		{6, "flavorless version 1"}, // the form that other writers use
		{7, orders},
	})
	b = binary.LittleEndian.AppendUint32(b, uint32(len(b)))
	return w.write(append(b, magic...))
}

// structure returns the RowGroup.
func (g *rowGroup) structure(columns [3]column) structure {
	statistics := [3]structure{
		{{3, int64(0)}, {5, g.max}, {6, g.min}}, // null_count, max_value, min_value
		{{3, g.nulls}},
		{{3, int64(0)}},
	}
	var chunks list
	var size, uncompressed int64
	for i, c := range g.chunks {
		size += c.size
		uncompressed += c.uncompressed
		chunks = append(chunks, structure{{2, int64(0)}, {3, structure{ // ColumnChunk, ColumnMetaData
			{1, int32(columns[i].typ)},
			{2, list{int32(plain), int32(rle)}},
			{3, list{columns[i].name}},
			{4, int32(codecZstd)},
			{5, g.rows},
			{6, c.uncompressed},
			{7, c.size},
			{9, c.offset},
			{12, statistics[i]},
		}}})
	}
	return structure{
		{1, chunks},
		{2, uncompressed},
		{3, g.rows},
		{4, list{structure{{1, int32(0)}, {2, false}, {3, false}}}}, // SortingColumn: person, ascending
		{5, g.chunks[0].offset},
		{6, size},
	}
}
