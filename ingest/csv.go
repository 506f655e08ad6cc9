package ingest

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/swar"
)

// csvDecoder reads CSV and TSV: RFC 4180 with a header. It skips blank lines, and the offset of a row is that of its first
// byte.
type csvDecoder struct {
	src     *source
	in      *bufio.Reader
	names   columnNames
	columns columns
	at      int64 // offset up to which rows were read
	text    text

	places places    // in a plain line
	record csvRecord // any other row
	person span      // its fields, quotes included
	flavor span
	action span
}

// span is a part of a record, from its first byte to behind its last one.
type span struct{ begin, end int }

func newCSV(src *source, in *bufio.Reader, start, offset int64, format FileType, names columnNames) (decoder, error) {
	d := &csvDecoder{src: src, in: in, names: names, at: start}
	err := d.header(format)
	if err == io.EOF { //nolint:errorlint // the source gives it bare
		return d, nil // an empty file; next will say so again
	}
	if err != nil {
		return nil, err
	}
	if offset > d.at {
		if err := skip(src, in, d.at, offset, nil); err != nil {
			return nil, err
		}
		d.at = offset
	}
	return d, nil
}

// found takes a field of a row.
func (d *csvDecoder) found(index, begin, end int) {
	switch index {
	case d.columns.person:
		d.person = span{begin, end}
	case d.columns.flavor:
		d.flavor = span{begin, end}
	case d.columns.action:
		d.action = span{begin, end}
	}
}

// begin moves to the first byte of the next row, over empty lines, and gives what is buffered from there on.
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
		empty := emptyLines(buffered)
		if empty == 0 {
			return buffered, nil
		}
		n, _ := d.in.Discard(empty) // they are buffered
		d.at += int64(n)
	}
}

// emptyLines is how many bytes of empty lines the text begins with.
func emptyLines(text []byte) (n int) {
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

// row is the record that is being read, as far as it was read.
func (d *csvDecoder) row() []byte { return d.src.window.bytes(d.src.record, d.at) }

func (d *csvDecoder) next(u *events.Update) (*events.Reject, error) {
	for {
		buffered, err := d.begin()
		if err != nil {
			return nil, err
		}
		*u = events.Update{Offset: d.at}
		var bad *events.Reject
		if line, ok := d.plainLine(buffered); ok {
			bad = d.plainRow(u, line)
		} else if bad, err = d.anyRow(u); err != nil {
			return nil, err
		}
		if bad == nil || !isBlank(d.row(), string(rune(d.record.separator))) { // a blank line is never a row: it lacks a person
			return bad, nil
		}
	}
}

// plainLine reads a line that is buffered as a whole and has no quotes: its fields are what stands between the commas. Most
// lines are such, and looking for commas costs half of what a parser does.
func (d *csvDecoder) plainLine(buffered []byte) (line string, ok bool) {
	p := &d.places
	if !p.find(buffered, d.record.separator) || p.commas > len(p.comma) {
		return "", false
	}
	row := buffered[:p.end]
	crlf := len(row) > 0 && row[len(row)-1] == '\r'
	if crlf {
		row = bytes.TrimRight(row, "\r")
	}
	if p.odd && bytes.IndexByte(row, '"') >= 0 {
		return "", false
	}
	line = d.text.copy(row)
	if crlf {
		p.odd = !swar.Plain(line)
	}
	n, _ := d.in.Discard(p.end + 1) // they are buffered
	d.at += int64(n)
	return line, true
}

func (d *csvDecoder) plainRow(u *events.Update, line string) *events.Reject {
	p, c := &d.places, &d.columns
	if fields := p.commas + 1; fields != c.width {
		return d.ragged(fields)
	}
	person, flavor, action := p.field(line, c.person), p.field(line, c.flavor), ""
	if c.action >= 0 {
		action = p.field(line, c.action)
	}
	if !p.odd && action == "" && tidy(person) && tidy(flavor) { // as most rows are
		u.Person, u.Flavor = person, flavor
	} else if field, bad := update(u, person, &flavor, action); bad != nil {
		index := c.person
		switch field {
		case "flavor":
			index = c.flavor
		case "action":
			index = c.action
		}
		return d.reject(p.begin(index), bad)
	}
	return d.heading(u)
}

// anyRow reads a row of any number of lines, fields and quotes.
func (d *csvDecoder) anyRow(u *events.Update) (*events.Reject, error) {
	r := &d.record
	*r = csvRecord{separator: r.separator, found: r.found}
	for done := false; !done; {
		from := int(d.at - u.Offset)
		if err := d.readLine(); err != nil {
			return nil, d.incomplete(from, err)
		}
		done = r.line(d.row(), from)
	}
	row := d.row()
	if r.fault != noFault {
		return d.malformed(r.at, r.at+2, d.reason(r, row)), nil
	}
	if r.fields != d.columns.width {
		bad := d.ragged(r.fields)
		bad.Reason += d.extent(row, r.opened, r.closed)
		return bad, nil
	}
	value := func(s span) string { return d.text.copy(unquote(row[s.begin:s.end])) }
	person, flavor, action := value(d.person), value(d.flavor), ""
	if d.columns.action >= 0 {
		action = value(d.action)
	}
	if field, bad := update(u, person, &flavor, action); bad != nil {
		at := d.person
		switch field {
		case "flavor":
			at = d.flavor
		case "action":
			at = d.action
		}
		if at.end > at.begin {
			bad.Reason += d.extent(row, at.begin, at.end-1)
		}
		return d.reject(at.begin, bad), nil
	}
	return d.heading(u), nil
}

// readLine reads the next line of the record, however long. The error is io.EOF if there is none.
func (d *csvDecoder) readLine() error {
	for from := d.at; ; {
		piece, err := d.in.ReadSlice('\n')
		d.at += int64(len(piece))
		switch {
		case d.at-d.src.record > MaxRecord: // also where it was all there at once, so that every run ends here
			return errRecordTooLong
		case err == nil:
			return nil
		case err == io.EOF && d.at > from: //nolint:errorlint // the source gives it bare
			return nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

// heading rejects the header of a second file that was joined to the first.
func (d *csvDecoder) heading(u *events.Update) *events.Reject {
	if !d.names.include(u.Person) || !d.names.include(u.Flavor) {
		return nil
	}
	return d.reject(0, &events.RowError{
		Code: events.MalformedRow, Reason: "this is a header again; remove it from all but the first line",
	})
}

// tidy tells that of plain text CleanName would change nothing.
func tidy(s string) bool {
	return s != "" && len(s) <= events.MaxName && s[0] != ' ' && s[len(s)-1] != ' '
}

// reject rejects the row for a fault at an offset from its beginning. The column is that of the fault if it lies on the
// first line, or else that of the beginning.
func (d *csvDecoder) reject(at int, bad *events.RowError) *events.Reject {
	d.src.window.count(d.src.record)
	line, column, offset := d.position()
	row := d.row()
	bad = d.src.reject(row, bad)
	if bytes.IndexByte(row[:at], '\n') < 0 {
		column += int64(at)
	}
	return &events.Reject{Line: line, Column: column, Offset: offset, Code: bad.Code, Reason: bad.Reason, Raw: raw(row)}
}
