package ingest

import (
	"bufio"
	"bytes"
	"errors"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/swar"
)

// csvDecoder decodes CSV and TSV: RFC 4180 with a header. It skips blank lines.
type csvDecoder struct {
	src     *source
	in      *bufio.Reader
	names   columnNames
	columns columns
	at      int64 // offset up to which rows were read
	pool    stringPool

	scan   lineScan     // of a plain line
	record csvRecord    // any other row
	fields [3]byteRange // of record, by column, including quotes
}

// byteRange is the part of a record from begin up to, but not including, end.
type byteRange struct{ begin, end int }

func newCSV(src *source, in *bufio.Reader, names columnNames, start, offset int64) (decoder, error) {
	d := &csvDecoder{src: src, in: in, names: names, at: start}
	err := d.readHeader(src.fileType.Format)
	if isEnd(err) {
		return d, nil // an empty file: next returns io.EOF, too
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

// setField receives the fields of d.record.
func (d *csvDecoder) setField(index, begin, end int) {
	switch c := &d.columns.index; index {
	case c[person]:
		d.fields[person] = byteRange{begin, end}
	case c[flavor]:
		d.fields[flavor] = byteRange{begin, end}
	case c[action]:
		d.fields[action] = byteRange{begin, end}
	}
}

// begin skips empty lines and returns the buffered bytes from the first byte of the next row.
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
		_, _ = d.in.Peek(2) // the whole CRLF
		buffered, _ = d.in.Peek(d.in.Buffered())
		empty := emptyLines(buffered)
		if empty == 0 {
			return buffered, nil
		}
		n, _ := d.in.Discard(empty) // is buffered
		d.at += int64(n)
	}
}

// emptyLines returns the number of bytes of the empty lines at the beginning of text.
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

// missing returns nothing, because a header without a named column is refused.
func (d *csvDecoder) missing() (metadata, name string) { return "", "" }

func (d *csvDecoder) position() (line, column, offset int64) {
	line, column = d.src.window.position(d.src.record)
	return line, column, d.src.record
}

// row returns the current record as far as it was read.
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
		if bad == nil && d.names.matches(u.Person) && d.names.matches(u.Flavor) {
			bad = d.reject(0, malformed("the row repeats the header; remove it from all lines but the first"))
		}
		// A blank line is always rejected, because it has no person.
		if bad == nil || !isBlank(d.row(), string(rune(d.record.separator))) {
			return bad, nil
		}
	}
}

// plainLine returns the next line if it is completely buffered and has no quotes, so that its fields are the text
// between the separators. Such lines are common, and scanning them takes less than half of the time of csvRecord.
func (d *csvDecoder) plainLine(buffered []byte) (line string, ok bool) {
	p := &d.scan
	if !p.find(buffered, d.record.separator) || p.commas > len(p.comma) {
		return "", false
	}
	row := buffered[:p.end]
	crlf := len(row) > 0 && row[len(row)-1] == '\r'
	if crlf {
		row = bytes.TrimRight(row, "\r")
	}
	if p.hasSpecial && bytes.IndexByte(row, '"') >= 0 {
		return "", false
	}
	line = d.pool.copy(row)
	if crlf {
		p.hasSpecial = !swar.Plain(line)
	}
	n, _ := d.in.Discard(p.end + 1) // is buffered
	d.at += int64(n)
	return line, true
}

func (d *csvDecoder) plainRow(u *events.Update, line string) *events.Reject {
	p, index := &d.scan, &d.columns.index
	if fields := p.commas + 1; fields != d.columns.width {
		return d.wrongWidth(fields)
	}
	personText, flavorText, actionText := p.field(line, index[person]), p.field(line, index[flavor]), ""
	if index[action] >= 0 {
		actionText = p.field(line, index[action])
	}
	if !p.hasSpecial && actionText == "" && isClean(personText) && isClean(flavorText) { // the common case
		u.Person, u.Flavor = personText, flavorText
		return nil
	}
	at, bad := d.src.fill(u, personText, &flavorText, actionText)
	if bad != nil {
		return d.reject(p.begin(index[at]), bad)
	}
	return nil
}

// anyRow reads a row with any number of lines and fields, quoted or not.
func (d *csvDecoder) anyRow(u *events.Update) (*events.Reject, error) {
	r := &d.record
	*r = csvRecord{separator: r.separator, onField: r.onField}
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
		bad := d.wrongWidth(r.fields)
		bad.Reason += d.multiline(row, byteRange{r.opened, r.closed})
		return bad, nil
	}
	value := func(c column) string { return d.pool.copy(unquote(row[d.fields[c].begin:d.fields[c].end])) }
	personText, flavorText, actionText := value(person), value(flavor), ""
	if d.columns.index[action] >= 0 {
		actionText = value(action)
	}
	c, bad := d.src.fill(u, personText, &flavorText, actionText)
	if bad == nil {
		return nil, nil //nolint:nilnil // neither a reject nor an error
	}
	field := d.fields[c]
	if field.end > field.begin {
		bad.Reason += d.multiline(row, byteRange{field.begin, field.end - 1})
	}
	return d.reject(field.begin, bad), nil
}

// readLine reads the next line of the record, of any length. The error is io.EOF if there is none.
func (d *csvDecoder) readLine() error {
	for from := d.at; ; {
		piece, err := d.in.ReadSlice('\n')
		d.at += int64(len(piece))
		switch {
		case d.at-d.src.record > MaxRecord: // the source enforces the limit only when it fills the buffer
			return errRecordTooLong
		case err == nil:
			return nil
		case isEnd(err) && d.at > from:
			return nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

// isClean reports whether CleanName would not change s, which must be plain text.
func isClean(s string) bool {
	return s != "" && len(s) <= events.MaxName && s[0] != ' ' && s[len(s)-1] != ' '
}

// reject rejects the row because of a fault at an index of the row. The column is that of the fault if it is on the
// first line, and that of the row otherwise.
func (d *csvDecoder) reject(at int, bad *events.RowError) *events.Reject {
	d.src.window.advance(d.src.record)
	line, column, offset := d.position()
	row := d.row()
	bad = d.src.checkEnd(row, bad)
	if bytes.IndexByte(row[:at], '\n') < 0 {
		column += int64(at)
	}
	return &events.Reject{Line: line, Column: column, Offset: offset, Code: bad.Code, Reason: bad.Reason, Raw: raw(row)}
}
