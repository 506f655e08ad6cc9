package ingest

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/flavorless/flavorless/events"
)

// jsonDecoder decodes a JSON file: an object that maps persons to flavors, or an array of objects. It reads values
// instead of tokens, because jsontext replaces invalid UTF-8 in tokens.
type jsonDecoder struct {
	src    *source
	buffer *bufio.Reader // in reads from it
	in     *jsontext.Decoder
	skip   int64         // bytes of the file that in does not read
	open   jsontext.Kind // the opening bracket
	object objectDecoder
	pool   stringPool
	done   bool
}

// lenient returns options that accept duplicate names and invalid UTF-8. Duplicate names are repeated persons, and
// detecting them would need unbounded memory. Invalid UTF-8 rejects only its row.
func lenient() []jsontext.Options {
	return []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}
}

func newJSON(src *source, in *bufio.Reader, names columnNames, start, offset int64) (decoder, error) {
	d := &jsonDecoder{src: src, buffer: in, skip: start, object: newObjectDecoder(src, names)}
	if offset > start {
		// The decoder reads the opening bracket and then continues at the row.
		open := make([]byte, 0, 1)
		err := skip(src, in, start, offset, func(piece []byte) {
			if opening := bytes.TrimLeft(piece, jsonSpace); len(open) == 0 && len(opening) > 0 {
				open = append(open, opening[0])
			}
		})
		if err != nil {
			return nil, err
		}
		d.skip = offset - 1
		d.in = jsontext.NewDecoder(io.MultiReader(bytes.NewReader(open), in), lenient()...)
	} else {
		d.in = jsontext.NewDecoder(in, lenient()...)
	}
	t, err := d.in.ReadToken()
	lead := d.at() - start
	if isEnd(err) {
		lead = src.read - start
	}
	switch {
	case lead > MaxRecord && offset <= start:
		return nil, withPosition(d, errRecordTooLong)
	case isEnd(err):
		d.done = true
	case err != nil:
		return nil, withPosition(d, d.explain(err))
	default:
		d.open = t.Kind()
	}
	if metadata, name := d.missing(); d.open == jsontext.KindBeginObject && metadata != "" {
		bad := badMetadata("the metadata %s names the member %q, but the file is a map from person to flavor; "+
			"remove the metadata, or upload an array of rows", metadata, truncate(name, 120))
		bad.Failure.Line, bad.Failure.Column, bad.Failure.Offset = d.position()
		return nil, bad
	}
	return d, nil
}

func (d *jsonDecoder) missing() (metadata, name string) { return d.object.missing() }

// at returns the offset up to which rows were read.
func (d *jsonDecoder) at() int64 { return d.skip + d.in.InputOffset() }

func (d *jsonDecoder) position() (line, column, offset int64) {
	offset = d.src.record
	between := d.src.window.rest(offset)
	if lead := int64(len(between) - len(bytes.TrimLeft(between, jsonSpace+","))); lead <= MaxRecord {
		offset += lead
	}
	line, column = d.src.window.position(offset)
	return line, column, offset
}

func (d *jsonDecoder) next(u *events.Update) (*events.Reject, error) {
	if d.done {
		return nil, io.EOF
	}
	from := d.at()
	d.src.begin(from)
	switch d.in.PeekKind() {
	case jsontext.KindEndObject, jsontext.KindEndArray:
		return nil, d.end(from)
	}
	value, err := d.in.ReadValue()
	if err != nil {
		return nil, d.explain(err)
	}
	*u = events.Update{Offset: d.at() - int64(len(value))}
	var fault int64
	var bad *events.RowError
	if d.open == jsontext.KindBeginArray {
		fault, bad = d.object.decode(value, u)
		fault += u.Offset - 1
	} else {
		fault, bad, err = d.member(u, value)
	}
	switch {
	case err != nil:
		return nil, err
	case d.at()-u.Offset > MaxRecord || u.Offset-from > MaxRecord:
		return nil, errRecordTooLong
	case bad != nil:
		return d.reject(u.Offset, fault, bad), nil
	}
	return nil, nil
}

// member decodes a member of the object, whose name is the person. It returns the offset of the fault, if there is one.
func (d *jsonDecoder) member(u *events.Update, name jsontext.Value) (fault int64, bad *events.RowError, err error) {
	personText, bad := d.pool.unquote(d.src, name) // the next read overwrites name
	value, err := d.in.ReadValue()
	switch {
	case err != nil:
		return 0, nil, d.explain(err)
	case bad != nil:
		return u.Offset, bad, nil
	}
	at := flavor
	switch value.Kind() {
	case jsontext.KindNull:
		at, bad = d.src.fill(u, personText, nil, "remove")
	case jsontext.KindString:
		var flavorText string
		if flavorText, bad = d.pool.unquote(d.src, value); bad == nil {
			at, bad = d.src.fill(u, personText, &flavorText, "")
		}
	default:
		bad = notAString("flavor", value)
	}
	if bad == nil && d.object.names.matches(u.Person) { // checkObject refuses the file if this is among the first members
		at, bad = person, rowError(events.MalformedRow, `%q is the name of a column, not a person; `+
			`write {"andy": "vanilla"}, or an array of rows: [{"person": "andy", "flavor": "vanilla"}]`, u.Person)
	}
	if at == person {
		return u.Offset, bad, nil
	}
	return d.at() - int64(len(value)), bad, nil
}

// reject rejects the row at offset because of a fault at another offset. The column is that of the fault if both are on
// one line.
func (d *jsonDecoder) reject(offset, fault int64, bad *events.RowError) *events.Reject {
	w := d.src.window
	w.advance(offset)
	line, column := w.position(offset)
	if at, c := w.position(fault); at == line {
		column = c
	}
	row := w.bytes(offset, d.at())
	bad = d.src.checkEnd(row, bad)
	return &events.Reject{Line: line, Column: column, Offset: offset, Code: bad.Code, Reason: bad.Reason, Raw: raw(row)}
}

// end reads the closing bracket and checks that nothing follows. The last row ends at the offset from.
func (d *jsonDecoder) end(from int64) error {
	if _, err := d.in.ReadToken(); err != nil {
		return d.explain(err)
	}
	if d.at()-from > MaxRecord {
		return errRecordTooLong
	}
	d.src.begin(d.at())
	_, err := d.in.ReadToken()
	rest := d.src.window.rest(d.src.record)
	text := bytes.TrimLeft(rest, jsonSpace)
	if d.src.failed() == nil && len(rest)-len(text) > MaxRecord {
		return errRecordTooLong
	}
	if isEnd(err) {
		d.done = true
		return err
	}
	if err != nil {
		return d.explain(err)
	}
	name, _ := d.src.character(text)
	return failure(events.MalformedJSON, "%s follows the end of the JSON value; "+
		"a JSON file holds one object or one array, and a file of many objects is NDJSON", name)
}

// explain returns the FileError for an error of jsontext.
func (d *jsonDecoder) explain(err error) error {
	if failed := d.src.failed(); failed != nil && !errors.Is(err, errRecordTooLong) {
		return failed // jsontext reports the end of the JSON instead
	}
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, errRecordTooLong):
		return errRecordTooLong
	case errors.Is(err, io.ErrUnexpectedEOF) || isEnd(err):
		return d.failure(d.src.read, "the JSON ends in the middle; "+createAgain)
	case errors.As(err, &syntax):
		return d.syntax(syntax)
	}
	return err
}

// syntax returns the FileError for invalid JSON.
func (d *jsonDecoder) syntax(err *jsontext.SyntacticError) error {
	row := d.src.record
	at := max(d.skip+err.ByteOffset, row)
	// The reason names the character at the fault, of which jsontext may have buffered only a part.
	d.src.allowed += utf8.UTFMax
	_, _ = d.buffer.Peek(utf8.UTFMax)
	if failed := d.src.failed(); failed != nil {
		return failed
	}
	text := d.src.window.rest(row)
	back, what := d.src.syntaxFault(text, int(at-row), d.stateBefore(text[:at-row]))
	return d.failure(at-int64(back), "invalid JSON: %s", what)
}

// stateBefore returns the state of the parser at the beginning of the record. Text is the JSON from there to a syntax
// error.
func (d *jsonDecoder) stateBefore(text []byte) (p jsonState) {
	depth := d.in.StackDepth()
	switch {
	case d.open == jsontext.KindInvalid:
		return p
	case depth == 0:
		return p.afterValue()
	}
	p = p.afterOpening(byte(d.open))
	first := bytes.TrimLeft(text, jsonSpace)
	if _, length := d.in.StackIndex(1); length > 0 && (len(first) == 0 || first[0] == ',') {
		return p.afterValue()
	}
	return p
}

// failure returns a FileError at an offset.
func (d *jsonDecoder) failure(at int64, format string, args ...any) *FileError {
	bad := failure(events.MalformedJSON, format, args...)
	_, _, bad.Failure.Offset = d.position()
	bad.Failure.Line, bad.Failure.Column = d.src.window.position(max(at, d.src.record))
	return bad
}
