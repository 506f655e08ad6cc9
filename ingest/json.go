package ingest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/flavorless/flavorless/events"
)

// jsonDecoder reads one big JSON value: an object of person to flavor, or an array of objects. It goes by whole values
// rather than tokens, so that what is not UTF-8 is seen before it is replaced.
type jsonDecoder struct {
	src    *source
	buffer *bufio.Reader // that in reads from
	in     *jsontext.Decoder
	skip   int64 // bytes before the first that in saw
	open   jsontext.Kind
	object objectDecoder
	text   text
	done   bool
}

// lenient lets through what next judges itself: duplicate names are repeated people (and checking costs memory without
// bound), and invalid UTF-8 rejects one row, not the file.
func lenient() []jsontext.Options {
	return []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}
}

func newJSON(src *source, in *bufio.Reader, names columnNames, start, offset int64) (decoder, error) {
	d := &jsonDecoder{src: src, buffer: in, skip: start, object: objectDecoder{names: names}}
	if offset > start {
		// A row in the middle is the first of a value that opens right before it.
		open := make([]byte, 0, 1)
		err := skip(src, in, start, offset, func(piece []byte) {
			if opening := bytes.TrimLeft(piece, " \t\r\n"); len(open) == 0 && len(opening) > 0 {
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
	if err == io.EOF { //nolint:errorlint // jsontext gives it bare
		lead = src.read - start
	}
	switch {
	case lead > MaxRecord && offset <= start:
		return nil, explain(d, errRecordTooLong)
	case err == io.EOF: //nolint:errorlint // jsontext gives it bare
		d.done = true
	case err != nil:
		return nil, explain(d, d.explain(err))
	default:
		d.open = t.Kind()
	}
	if metadata, name := d.missing(); d.open == jsontext.KindBeginObject && metadata != "" {
		bad := badMetadata(`the metadata %s names the member %q, but the file is a map from person to flavor; leave the metadata out, or upload an array of rows`, metadata, truncate(name, 120))
		bad.Failure.Line, bad.Failure.Column, bad.Failure.Offset = d.position()
		return nil, bad
	}
	return d, nil
}

func (d *jsonDecoder) missing() (metadata, name string) { return d.object.missing() }

// at is the offset up to which in has read.
func (d *jsonDecoder) at() int64 { return d.skip + d.in.InputOffset() }

func (d *jsonDecoder) position() (line, column, offset int64) {
	offset = d.src.record
	between := d.src.window.rest(offset)
	if lead := int64(len(between) - len(bytes.TrimLeft(between, " \t\r\n,"))); lead <= MaxRecord {
		offset += lead
	}
	line, column = d.src.window.place(offset)
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

// member reads a member of the object, whose name is the person. Fault is an offset.
func (d *jsonDecoder) member(u *events.Update, name jsontext.Value) (fault int64, bad *events.RowError, err error) {
	person, bad := d.text.of(name) // which is gone with the next read
	value, err := d.in.ReadValue()
	switch {
	case err != nil:
		return 0, nil, d.explain(err)
	case bad != nil:
		return u.Offset, bad, nil
	}
	field := "flavor"
	switch value.Kind() {
	case jsontext.KindNull:
		field, bad = update(u, person, nil, "remove")
	case jsontext.KindString:
		var flavor string
		if flavor, bad = d.text.of(value); bad == nil {
			field, bad = update(u, person, &flavor, "")
		}
	default:
		bad = notAString(field, value)
	}
	if bad == nil && d.object.names.include(u.Person) { // in the first members, it would have failed the file
		field, bad = "person", &events.RowError{Code: events.MalformedRow, Reason: fmt.Sprintf(
			`%q is not a person but the name of a member; write {"andy": "vanilla"}, or an array of rows: [{"person": "andy", "flavor": "vanilla"}]`, u.Person)}
	}
	if field == "person" {
		return u.Offset, bad, nil
	}
	return d.at() - int64(len(value)), bad, nil
}

// reject is told where the row begins and where its fault lies. The column is that of the fault, if both are on one line.
func (d *jsonDecoder) reject(offset, fault int64, bad *events.RowError) *events.Reject {
	w := d.src.window
	w.count(offset)
	line, column := w.place(offset)
	if at, c := w.place(fault); at == line {
		column = c
	}
	row := w.bytes(offset, d.at())
	bad = d.src.reject(row, bad)
	return &events.Reject{Line: line, Column: column, Offset: offset, Code: bad.Code, Reason: bad.Reason, Raw: raw(row)}
}

// end reads the closing bracket and makes sure that nothing follows. The last row ended at the offset from.
func (d *jsonDecoder) end(from int64) error {
	if _, err := d.in.ReadToken(); err != nil {
		return d.explain(err)
	}
	if d.at()-from > MaxRecord {
		return errRecordTooLong
	}
	d.src.begin(d.at())
	_, err := d.in.ReadToken()
	if rest := d.src.window.rest(d.src.record); d.src.broken() == nil && len(rest)-len(bytes.TrimLeft(rest, " \t\r\n")) > MaxRecord {
		return errRecordTooLong
	}
	if err == io.EOF { //nolint:errorlint // jsontext gives it bare
		d.done = true
		return err
	}
	if err != nil {
		return d.explain(err)
	}
	name, _ := character(bytes.TrimLeft(d.src.window.rest(d.src.record), jsonSpace))
	return failure(events.MalformedJSON, "%s follows the end of the JSON value; a JSON file holds one object or one array, "+
		"and a file of many is NDJSON", name)
}

// explain places an error of jsontext.
func (d *jsonDecoder) explain(err error) error {
	if broken := d.src.broken(); broken != nil && !errors.Is(err, errRecordTooLong) {
		return broken // the JSON does not really end there
	}
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, errRecordTooLong):
		return errRecordTooLong
	case errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF: //nolint:errorlint // bare only at the end
		return d.failure(d.src.read, "the JSON ends in the middle; it was cut off, so make and upload it again")
	case errors.As(err, &syntax):
		return d.syntax(syntax)
	}
	return err
}

// syntax explains an error of jsontext where it found bytes that are not JSON.
func (d *jsonDecoder) syntax(err *jsontext.SyntacticError) error {
	row := d.src.record
	at := max(d.skip+err.ByteOffset, row)
	// The character there is named as a whole, however much of it jsontext had in its buffer.
	d.src.allowed += utf8.UTFMax
	_, _ = d.buffer.Peek(utf8.UTFMax)
	if broken := d.src.broken(); broken != nil {
		return broken
	}
	text := d.src.window.rest(row)
	back, what := syntaxFault(text, int(at-row), d.place(text[:at-row]))
	return d.failure(at-int64(back), "this is not valid JSON: %s", what)
}

// place returns the place at which the record begins. Before is the JSON from there to a syntax error.
func (d *jsonDecoder) place(before []byte) (p jsonPlace) {
	depth := d.in.StackDepth()
	switch {
	case d.open == jsontext.KindInvalid:
		return p
	case depth == 0:
		return p.ended()
	}
	p = p.opened(byte(d.open))
	first := bytes.TrimLeft(before, jsonSpace)
	if _, length := d.in.StackIndex(1); length > 0 && (len(first) == 0 || first[0] == ',') {
		return p.ended()
	}
	return p
}

// failure says that the JSON can't be read on from the offset at.
func (d *jsonDecoder) failure(at int64, format string, args ...any) *FileError {
	bad := failure(events.MalformedJSON, format, args...)
	_, _, bad.Failure.Offset = d.position()
	bad.Failure.Line, bad.Failure.Column = d.src.window.place(max(at, d.src.record))
	return bad
}
