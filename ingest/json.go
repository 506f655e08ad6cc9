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
// rather than tokens, so that a bad row can be shown as it stands, and so that what is not UTF-8 is seen before it is
// replaced.
type jsonDecoder struct {
	src    *source
	in     *jsontext.Decoder
	skip   int64 // bytes before the first that in saw
	open   jsontext.Kind
	object objectDecoder
	done   bool
}

// lenient lets through what next judges itself: duplicate names are repeated people (and checking costs memory without
// bound), and invalid UTF-8 rejects one row, not the file.
func lenient() []jsontext.Options {
	return []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}
}

func newJSON(src *source, in *bufio.Reader, start int64) (decoder, error) {
	d := &jsonDecoder{src: src, in: jsontext.NewDecoder(in, lenient()...), skip: start}
	t, err := d.in.ReadToken()
	switch {
	case err == io.EOF: //nolint:errorlint // jsontext gives it bare
		d.done = true
	case err != nil:
		return nil, d.explain(err)
	default:
		d.open = t.Kind()
	}
	return d, nil
}

func (d *jsonDecoder) position() (line, column, offset int64) {
	offset = d.skip + d.in.InputOffset()
	line, column = d.src.lines.position(offset)
	return line, column, offset
}

func (d *jsonDecoder) next(u *events.Update) (*events.Reject, error) {
	if d.done {
		return nil, io.EOF
	}
	switch d.in.PeekKind() {
	case jsontext.KindEndObject, jsontext.KindEndArray:
		return nil, d.end()
	}
	value, err := d.in.ReadValue()
	if err != nil {
		return nil, d.explain(err)
	}
	u.Offset = d.skip + d.in.InputOffset() - int64(len(value))
	line, column := d.src.lines.position(u.Offset)
	if len(value) > MaxRecord {
		return nil, errRecordTooLong
	}
	if d.open == jsontext.KindBeginArray {
		if at, bad := d.object.decode(value, u); bad != nil {
			return &events.Reject{Line: line, Column: column + at - 1, Offset: u.Offset, Code: bad.Code, Reason: bad.Reason, Raw: raw(value)}, nil
		}
		return nil, nil //nolint:nilnil // an accepted row
	}
	return d.member(u, line, column, value)
}

// member reads a member of the object, whose name is the person.
func (d *jsonDecoder) member(u *events.Update, line, column int64, name jsontext.Value) (*events.Reject, error) {
	person, badName := text(name)
	raw0 := append(make([]byte, 0, events.MaxRaw+64), name[:min(len(name), events.MaxRaw)]...) // name is gone with the next read
	value, err := d.in.ReadValue()
	if err != nil {
		return nil, d.explain(err)
	}
	if len(raw0)+len(value) > MaxRecord {
		return nil, errRecordTooLong
	}
	bad := badName
	if bad == nil {
		_, bad = d.set(u, person, value)
	}
	if bad == nil {
		return nil, nil //nolint:nilnil // an accepted row
	}
	raw0 = append(append(raw0, ": "...), value[:min(len(value), events.MaxRaw)]...)
	return &events.Reject{Line: line, Column: column, Offset: u.Offset, Code: bad.Code, Reason: bad.Reason, Raw: raw(raw0)}, nil
}

func (d *jsonDecoder) set(u *events.Update, person string, value jsontext.Value) (string, *events.RowError) {
	if value.Kind() == jsontext.KindNull {
		return update(u, person, nil, "remove")
	}
	if value.Kind() != jsontext.KindString {
		return "flavor", notAString("flavor", value)
	}
	flavor, bad := text(value)
	if bad != nil {
		return "flavor", bad
	}
	return update(u, person, &flavor, "")
}

// end reads the closing bracket and makes sure that nothing follows.
func (d *jsonDecoder) end() error {
	if _, err := d.in.ReadToken(); err != nil {
		return d.explain(err)
	}
	_, err := d.in.ReadToken()
	if err == io.EOF { //nolint:errorlint // jsontext gives it bare
		d.done = true
		return err
	}
	if err != nil {
		return d.explain(err)
	}
	return failure(events.MalformedJSON, "something follows the end of the JSON value; a JSON file holds one object or one array, a file of many is NDJSON")
}

// explain places an error of jsontext.
func (d *jsonDecoder) explain(err error) error {
	var syntax *jsontext.SyntacticError
	switch {
	case errors.As(err, &syntax):
		bad := failure(events.MalformedJSON, "this is not valid JSON (%v); mend it there", syntax.Err)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			bad.Failure.Reason = "the JSON ends in the middle; it was cut off, so make and upload it again"
		}
		_, _, bad.Failure.Offset = d.position()
		bad.Failure.Line, bad.Failure.Column = d.src.lines.position(max(d.skip+syntax.ByteOffset, bad.Failure.Offset))
		return bad
	case errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF: //nolint:errorlint // bare only at the end
		return failure(events.MalformedJSON, "the JSON ends in the middle; it was cut off, so make and upload it again")
	}
	return err
}

// objectDecoder reads the row that one JSON object is.
type objectDecoder struct {
	buf bytes.Buffer
	in  *jsontext.Decoder
}

// decode reads {"person": …, "flavor": …, "action": …}; other members are skipped. It returns the 1-based byte of the
// fault within row.
func (d *objectDecoder) decode(row []byte, u *events.Update) (column int64, bad *events.RowError) {
	d.buf = *bytes.NewBuffer(row) // which jsontext reads in place
	if d.in == nil {
		d.in = jsontext.NewDecoder(&d.buf, lenient()...)
	} else {
		d.in.Reset(&d.buf, lenient()...)
	}
	if d.in.PeekKind() != jsontext.KindBeginObject {
		return 1, &events.RowError{Code: events.MalformedRow, Reason: `the row is not a JSON object; write {"person": "…", "flavor": "…"}`}
	}
	if _, err := d.in.ReadToken(); err != nil {
		return d.broken(err)
	}
	var person, flavor, action field
	for d.in.PeekKind() == jsontext.KindString {
		name, err := d.in.ReadValue()
		if err != nil {
			return d.broken(err)
		}
		var f *field
		switch string(name) {
		case `"person"`:
			f = &person
		case `"flavor"`:
			f = &flavor
		case `"action"`:
			f = &action
		default:
			if err := d.in.SkipValue(); err != nil {
				return d.broken(err)
			}
			continue
		}
		if f.at != 0 {
			return d.in.InputOffset() - int64(len(name)) + 1, &events.RowError{Code: events.MalformedRow, Reason: fmt.Sprintf("the row has two members %s; keep one", name)}
		}
		value, err := d.in.ReadValue()
		if err != nil {
			return d.broken(err)
		}
		f.at = d.in.InputOffset() - int64(len(value)) + 1
		switch value.Kind() {
		case jsontext.KindNull:
			f.null = true
		case jsontext.KindString:
			if f.text, bad = text(value); bad != nil {
				return f.at, bad
			}
		default:
			return f.at, notAString(string(name[1:len(name)-1]), value)
		}
	}
	if _, err := d.in.ReadToken(); err != nil {
		return d.broken(err)
	}
	if d.in.InputOffset() < int64(len(row)) {
		return d.in.InputOffset() + 1, &events.RowError{Code: events.MalformedRow, Reason: "something follows the object; put one object on each line"}
	}
	return finish(u, person, flavor, action)
}

// field is a member of a row: where its value stands (0: nowhere), and what it is.
type field struct {
	at   int64
	text string
	null bool
}

func finish(u *events.Update, person, flavor, action field) (int64, *events.RowError) {
	if person.at == 0 {
		return 1, &events.RowError{Code: events.MissingPerson, Reason: `the row has no member "person"; add it`}
	}
	given := &flavor.text
	if flavor.null && action.text == "" { // null removes
		action.text = "remove"
	}
	if flavor.null || flavor.at == 0 {
		given = nil
	}
	which, bad := update(u, person.text, given, action.text)
	switch {
	case bad == nil:
		return 0, nil
	case which == "person":
		return person.at, bad
	case which == "action":
		return action.at, bad
	}
	return max(flavor.at, 1), bad
}

func (d *objectDecoder) broken(err error) (int64, *events.RowError) {
	at := d.in.InputOffset()
	reason := "the row is not a whole JSON object; put one whole object on each line"
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) && !errors.Is(err, io.ErrUnexpectedEOF) {
		at = syntax.ByteOffset
		reason = fmt.Sprintf("the row is not valid JSON (%v); mend it there", syntax.Err)
	}
	return at + 1, &events.RowError{Code: events.MalformedRow, Reason: reason}
}

// text gives what a JSON string says.
func text(quoted jsontext.Value) (string, *events.RowError) {
	if !utf8.Valid(quoted) {
		return "", &events.RowError{Code: events.InvalidUTF8, Reason: "the text is not valid UTF-8; save the file as UTF-8"}
	}
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1]), nil
	}
	s, err := jsontext.AppendUnquote(nil, quoted)
	if err != nil { // half a surrogate pair
		return "", &events.RowError{Code: events.InvalidUTF8, Reason: `a \u escape is half a surrogate pair; write both halves, or the character itself`}
	}
	return string(s), nil
}

func notAString(field string, value jsontext.Value) *events.RowError {
	kind := value.Kind().String()
	switch value.Kind() {
	case jsontext.KindBeginObject:
		kind = "an object"
	case jsontext.KindBeginArray:
		kind = "an array"
	case jsontext.KindTrue, jsontext.KindFalse:
		kind = "a boolean"
	case jsontext.KindNumber:
		kind = "a number"
	}
	return &events.RowError{Code: events.NotAString, Reason: fmt.Sprintf("%s is %s, not a string; put it in double quotes", field, kind)}
}
