package ingest

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"

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

	line    text   // memory of lines that csv never saw
	places  places // in such a line
	skipped int64  // bytes that csv never saw
	at      int64  // offset up to which rows were read
}

func newCSV(src *source, in *bufio.Reader, start, offset int64, format Format) (decoder, error) {
	d := &csvDecoder{src: src, in: in, skipped: start, at: start, action: -1}
	header, err := d.header(format)
	if err == io.EOF { //nolint:errorlint // the source and csv give it bare
		return d, nil // an empty file; next will say so again
	}
	if err != nil {
		return nil, err
	}
	d.width, d.at = len(header), d.skipped+d.csv.InputOffset()
	if offset > d.at {
		if err := skip(src, in, d.at, offset, nil); err != nil {
			return nil, err
		}
		d.skipped += offset - d.at
		d.at = offset
	}
	return d, nil
}

// begin moves to the first byte of the next row, over blank lines, and gives what is buffered from there on.
func (d *csvDecoder) begin() (buffered []byte, err error) {
	for {
		buffered, err = d.in.Peek(max(d.in.Buffered(), 1))
		d.src.begin(d.at)
		if len(buffered) == 0 {
			return nil, err
		}
		if buffered[0] != '\n' && buffered[0] != '\r' {
			return buffered, nil
		}
		_, _ = d.in.Peek(2) // so that a CRLF is there as a whole
		buffered, _ = d.in.Peek(d.in.Buffered())
		blank := blankLines(buffered)
		if blank == 0 {
			return buffered, nil
		}
		n, _ := d.in.Discard(blank) // they are buffered
		d.skipped += int64(n)
		d.at += int64(n)
	}
}

// blankLines is how many bytes of blank lines the text begins with.
func blankLines(text []byte) (n int) {
	for {
		switch rest := text[n:]; {
		case len(rest) > 0 && rest[0] == '\n':
			n++
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			n += 2
		default:
			return n
		}
	}
}

// missing returns nothing, because the header was checked.
func (d *csvDecoder) missing() (metadata, name string) { return "", "" }

func (d *csvDecoder) position() (line, column, offset int64) {
	line, column = d.src.window.place(d.src.record)
	return line, column, d.src.record
}

func (d *csvDecoder) next(u *events.Update) (*events.Reject, error) {
	buffered, err := d.begin()
	if err != nil {
		return nil, err
	}
	*u = events.Update{Offset: d.at}
	if line, ok := d.plainLine(buffered); ok {
		return d.plainRow(u, line), nil
	}
	fields, err := d.csv.Read()
	d.at = d.skipped + d.csv.InputOffset()
	switch {
	case d.src.crowded(d.at): // also where it was all there at once, so that every run ends here
		return nil, errManyFields
	case err != nil:
		return d.explain(err)
	case d.at-u.Offset > MaxRecord:
		return nil, errRecordTooLong
	case len(fields) != d.width:
		return d.ragged(len(fields)), nil
	}
	action := ""
	if d.action >= 0 {
		action = fields[d.action]
	}
	if column, bad := update(u, fields[d.person], &fields[d.flavor], action); bad != nil {
		return d.reject(d.column(d.csv.FieldPos(d.index(column))), bad), nil
	}
	return d.heading(u), nil
}

// plainLine reads a line that is buffered as a whole and has no quotes: its fields are what stands between the commas. Most
// lines are such, and looking for commas costs half of what a parser does.
func (d *csvDecoder) plainLine(buffered []byte) (line string, ok bool) {
	p := &d.places
	if !p.find(buffered, byte(d.csv.Comma)) || p.commas > len(p.comma) {
		return "", false
	}
	row := buffered[:p.end]
	crlf := len(row) > 0 && row[len(row)-1] == '\r'
	if crlf {
		row = row[:len(row)-1]
	}
	if p.odd && bytes.IndexByte(row, '"') >= 0 {
		return "", false
	}
	line = d.line.copy(row)
	if crlf {
		p.odd = !events.Plain(line)
	}
	n, _ := d.in.Discard(p.end + 1) // they are buffered
	d.skipped += int64(n)
	d.at += int64(n)
	return line, true
}

func (d *csvDecoder) plainRow(u *events.Update, line string) *events.Reject {
	p := &d.places
	if fields := p.commas + 1; fields != d.width {
		return d.ragged(fields)
	}
	person, flavor, action := p.field(line, d.person), p.field(line, d.flavor), ""
	if d.action >= 0 {
		action = p.field(line, d.action)
	}
	if !p.odd && action == "" && tidy(person) && tidy(flavor) { // as most rows are
		u.Person, u.Flavor = person, flavor
	} else if column, bad := update(u, person, &flavor, action); bad != nil {
		return d.reject(int64(p.begin(d.index(column)))+1, bad)
	}
	return d.heading(u)
}

// index is that of one of our columns.
func (d *csvDecoder) index(column string) int {
	switch column {
	case "flavor":
		return d.flavor
	case "action":
		return d.action
	}
	return d.person
}

func (d *csvDecoder) ragged(fields int) *events.Reject {
	mend := "put a field that contains %q in double quotes"
	if fields < d.width {
		mend = "write one for each column, be it empty, with %q between them"
	}
	return d.reject(1, &events.RowError{Code: events.MalformedRow, Reason: fmt.Sprintf(
		"the header has %d fields, the row %d; "+mend, d.width, fields, d.csv.Comma)})
}

// heading rejects the header of a second file that was joined to the first.
func (d *csvDecoder) heading(u *events.Update) *events.Reject {
	if !isColumn(u.Person) || !isColumn(u.Flavor) {
		return nil
	}
	return d.reject(1, &events.RowError{Code: events.MalformedRow, Reason: "this is a header again; remove it from all but the first line"})
}

// tidy tells that of plain text CleanName would change nothing.
func tidy(s string) bool {
	return s != "" && len(s) <= events.MaxName && s[0] != ' ' && s[len(s)-1] != ' '
}

// column is that of a fault, if it lies on the line on which the row begins, or else the beginning of the row.
func (d *csvDecoder) column(line, column int) int64 {
	if first, _ := d.csv.FieldPos(0); line > first {
		return 1
	}
	return int64(column)
}

func (d *csvDecoder) reject(column int64, bad *events.RowError) *events.Reject {
	row := d.src.record
	d.src.window.count(row)
	line, _ := d.src.window.place(row)
	return &events.Reject{Line: line, Column: column, Offset: row, Code: bad.Code, Reason: bad.Reason, Raw: raw(d.src.window.bytes(row, d.at))}
}

// explain turns an error of encoding/csv into a rejected row where reading can go on with the next line, and into a
// failure of the file where it can't.
func (d *csvDecoder) explain(err error) (*events.Reject, error) {
	row := d.src.window.bytes(d.src.record, d.at)
	if broken := d.src.broken(); broken != nil && !bytes.HasSuffix(row, []byte("\n")) {
		return nil, broken // what seems to be wrong with the row is but that the rest of it is missing
	}
	var parse *csv.ParseError
	if !errors.As(err, &parse) {
		return nil, err
	}
	if errors.Is(err, csv.ErrQuote) && d.unclosed(row, parse) {
		return nil, failure(events.UnclosedQuote, "a quote is opened in the row that begins here, and never closed; close it, or write a quote inside of a field twice")
	}
	column := int64(parse.Column)
	if parse.Line > parse.StartLine {
		column = 1
	}
	before := row[:column-1]
	blank := len(before) - len(bytes.TrimRight(before, " "))
	reason := `a quote stands inside a field that does not begin with one; put the whole field in double quotes, and write the quote inside twice`
	switch {
	case errors.Is(err, csv.ErrQuote):
		reason = `something stands between a closing quote and the end of the field; write a quote inside a quoted field twice`
	case blank > 0 && (blank == len(before) || before[len(before)-blank-1] == byte(d.csv.Comma)):
		reason = `white space stands before the quote that opens the field; remove it`
	}
	return d.reject(column, &events.RowError{Code: events.MalformedRow, Reason: reason}), nil
}

// unclosed tells a quote that is open at the end of the file from one that is closed in the wrong place. Both are
// csv.ErrQuote, but only the former is noticed behind the last byte.
func (d *csvDecoder) unclosed(row []byte, parse *csv.ParseError) bool {
	if _, err := d.in.Peek(1); err != io.EOF { // the source gives it bare
		return false
	}
	line := row[bytes.LastIndexByte(row[:len(row)-1], '\n')+1:]
	return parse.Column-1 >= len(line)-1 // a CRLF counts as one byte in a column
}
