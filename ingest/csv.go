package ingest

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/flavorless/flavorless/events"
)

// csvDecoder reads CSV and TSV: RFC 4180 with a header, as encoding/csv understands it. It skips blank lines itself, so
// that the offset of a row is that of its first byte.
type csvDecoder struct {
	src    *source
	in     *bufio.Reader // the very buffer that csv reads from
	csv    *csv.Reader
	width  int // fields of the header
	person int // index of the column
	flavor int
	action int // -1 without that column

	skipped      int64 // bytes that csv never saw: a byte order mark, blank lines
	skippedLines int64
	line         int64  // on which the row that is read begins
	head         []byte // its first bytes
	copied       []byte
}

func newCSV(src *source, in *bufio.Reader, start int64, format Format) (decoder, error) {
	d := &csvDecoder{src: src, in: in, skipped: start, action: -1}
	if err := d.skipBlankLines(); err != nil {
		if errors.Is(err, io.EOF) {
			return d, nil // an empty file; next will say so again
		}
		return nil, err
	}
	comma, bad := delimiter(d.head, format)
	if bad != nil {
		bad.Failure.Line, bad.Failure.Column, bad.Failure.Offset = d.position()
		return nil, bad
	}
	d.csv = csv.NewReader(in) // in is large enough to be used as it is
	d.csv.Comma = comma
	d.csv.FieldsPerRecord = -1 // ragged rows are rejected below, with a better reason
	d.csv.ReuseRecord = true
	header, err := d.csv.Read()
	if err != nil {
		return nil, d.headerError(err)
	}
	d.width = len(header)
	if bad := d.columns(header); bad != nil {
		bad.Failure.Line, bad.Failure.Column, bad.Failure.Offset = 1+d.skippedLines, 1, start
		return nil, bad
	}
	return d, nil
}

func (d *csvDecoder) headerError(err error) error {
	var parse *csv.ParseError
	if !errors.As(err, &parse) && !errors.Is(err, errRecordTooLong) {
		return err
	}
	bad := failure(events.BadHeader, "the header can't be read (%v); the first line names the columns: person,flavor", err)
	bad.Failure.Line, bad.Failure.Column = 1+d.skippedLines, 1
	return bad
}

// delimiter finds out what separates the fields: spreadsheets write semicolons where the comma is the decimal sign.
func delimiter(head []byte, format Format) (rune, *FileError) {
	line, _, found := bytes.Cut(head, []byte("\n"))
	if cr := bytes.IndexByte(bytes.TrimSuffix(line, []byte("\r")), '\r'); cr >= 0 && !bytes.Contains(line[:cr], []byte(`"`)) {
		return 0, failure(events.FormatMismatch, "lines end in CR alone; save the file with LF or CRLF line ends")
	}
	if format.Rows == "tsv" {
		return '\t', nil
	}
	if found || len(line) < events.MaxRaw {
		for _, comma := range []rune{',', ';', '\t'} {
			r := csv.NewReader(bytes.NewReader(line))
			r.Comma = comma
			if names, err := r.Read(); err == nil && indexOf(names, "person") >= 0 && indexOf(names, "flavor") >= 0 {
				return comma, nil
			}
		}
	}
	return ',', nil
}

func (d *csvDecoder) columns(header []string) *FileError {
	for i, name := range header {
		n := columnName(name)
		if (n == "person" || n == "flavor" || n == "action") && indexOf(header[i+1:], n) >= 0 {
			return failure(events.BadHeader, "the header names the column %s twice; keep one", n)
		}
	}
	d.person, d.flavor, d.action = indexOf(header, "person"), indexOf(header, "flavor"), indexOf(header, "action")
	if d.person < 0 || d.flavor < 0 {
		return failure(events.BadHeader, "the header is %q; it has to name the columns person and flavor", truncate(strings.Join(header, string(d.csv.Comma)), 120))
	}
	return nil
}

func columnName(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

func indexOf(header []string, name string) int {
	return slices.IndexFunc(header, func(s string) bool { return columnName(s) == name })
}

// skipBlankLines moves to the first byte of the next row.
func (d *csvDecoder) skipBlankLines() error {
	for {
		head, err := d.in.Peek(events.MaxRaw + 1)
		n := 0
		switch {
		case len(head) == 0:
			return err
		case head[0] == '\n':
			n = 1
		case head[0] == '\r' && len(head) > 1 && head[1] == '\n':
			n = 2
		default:
			d.keep(head)
			return nil
		}
		if _, err := d.in.Discard(n); err != nil {
			return err
		}
		d.skipped += int64(n)
		d.skippedLines++
		d.src.beginRecord()
	}
}

// keep remembers how a row begins. The buffer may move on while the row is read, unless the row is a line that the
// buffer has already, without quotes that could make it longer.
func (d *csvDecoder) keep(head []byte) {
	if n := bytes.IndexByte(head, '\n'); n >= 0 && bytes.IndexByte(head[:n], '"') < 0 {
		d.head = head
		return
	}
	d.copied = append(d.copied[:0], head...)
	d.head = d.copied
}

func (d *csvDecoder) offset() int64 {
	if d.csv == nil {
		return d.skipped
	}
	return d.skipped + d.csv.InputOffset()
}

func (d *csvDecoder) position() (line, column, offset int64) {
	return max(d.line, 1+d.skippedLines), 1, d.offset()
}

func (d *csvDecoder) next(u *events.Update) (*events.Reject, error) {
	if err := d.skipBlankLines(); err != nil {
		return nil, err
	}
	u.Offset = d.offset()
	fields, err := d.csv.Read()
	if err != nil {
		return d.explain(u.Offset, err)
	}
	if d.offset()-u.Offset > MaxRecord {
		d.line, _ = d.fieldPosition(0)
		return nil, errRecordTooLong
	}
	if len(fields) != d.width {
		return d.ragged(u.Offset, len(fields)), nil
	}
	action := ""
	if d.action >= 0 {
		action = fields[d.action]
	}
	column, bad := update(u, fields[d.person], &fields[d.flavor], action)
	if bad == nil {
		return nil, nil //nolint:nilnil // an accepted row
	}
	index := d.person
	switch column {
	case "flavor":
		index = d.flavor
	case "action":
		index = d.action
	}
	r := d.reject(u.Offset, bad)
	_, r.Column = d.fieldPosition(index)
	return r, nil
}

// fieldPosition is only good after a successful csv.Read.
func (d *csvDecoder) fieldPosition(field int) (line, column int64) {
	l, c := d.csv.FieldPos(field)
	return int64(l) + d.skippedLines, int64(c)
}

func (d *csvDecoder) ragged(offset int64, fields int) *events.Reject {
	r := d.reject(offset, &events.RowError{Code: events.MalformedRow, Reason: fmt.Sprintf(
		"the row has %d fields, the header %d; put a field that contains %q in double quotes", fields, d.width, d.csv.Comma)})
	r.Column = 1
	return r
}

func (d *csvDecoder) reject(offset int64, bad *events.RowError) *events.Reject {
	line, _ := d.fieldPosition(0)
	return &events.Reject{Line: line, Offset: offset, Code: bad.Code, Reason: bad.Reason, Raw: d.raw(offset)}
}

func (d *csvDecoder) raw(offset int64) string {
	return raw(d.head[:min(int64(len(d.head)), d.offset()-offset)])
}

// explain turns an error of encoding/csv into a rejected row where reading can go on with the next line, and into a
// failure of the file where it can't.
func (d *csvDecoder) explain(offset int64, err error) (*events.Reject, error) {
	var parse *csv.ParseError
	if !errors.As(err, &parse) {
		return nil, err
	}
	line, column := int64(parse.StartLine)+d.skippedLines, int64(parse.Column)
	if errors.Is(err, csv.ErrQuote) && d.unclosed(parse) {
		bad := failure(events.UnclosedQuote, "a quote is opened in the row that begins here, and never closed; close it, or write a quote inside of a field twice")
		bad.Failure.Line, bad.Failure.Column, bad.Failure.Offset = line, 1, offset
		return nil, bad
	}
	reason := `a quote stands inside a field that does not begin with one; put the whole field in double quotes, and write the quote inside twice`
	if errors.Is(err, csv.ErrQuote) {
		reason = `something stands between a closing quote and the end of the field; write a quote inside a quoted field twice`
	}
	return &events.Reject{Line: line, Column: column, Offset: offset, Code: events.MalformedRow, Reason: reason, Raw: d.raw(offset)}, nil
}

// unclosed tells a quote that is open at the end of the file from one that is closed in the wrong place. Both are
// csv.ErrQuote, but only the former is noticed behind the last byte.
func (d *csvDecoder) unclosed(parse *csv.ParseError) bool {
	if _, err := d.in.Peek(1); !errors.Is(err, io.EOF) {
		return false
	}
	// A CRLF counts as one byte in a column.
	return d.src.lastLine()+int64(parse.Column)-1 >= d.src.read-1
}
