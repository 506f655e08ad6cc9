package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/flavorless/flavorless/events"
)

// objectDecoder decodes rows that are JSON objects. It uses one jsontext decoder for all rows, because resetting it
// for each row costs more. The decoder reads from input, which ends with the row.
type objectDecoder struct {
	src   *source
	names columnNames
	found [3]bool           // columns that have occurred in any row
	in    *jsontext.Decoder // nil after a fault, which may leave it in the middle of a row
	input bytes.Reader
	base  int64 // in.InputOffset at the beginning of the row
	pool  stringPool

	general bool // whether to decode plain rows like others, for tests
}

func newObjectDecoder(src *source, names columnNames) objectDecoder {
	return objectDecoder{src: src, names: names}
}

// decode decodes {"person": …, "flavor": …, "action": …} and ignores other members. Row must not have white space
// around it. Column is the 1-based byte of the fault within row.
func (d *objectDecoder) decode(row []byte, u *events.Update) (column int64, bad *events.RowError) {
	var fields [3]field
	if !d.general && d.plain(row, &fields) {
		return d.update(row, &fields, u)
	}
	if d.in == nil {
		d.in = jsontext.NewDecoder(&d.input, lenient()...)
	}
	d.input.Reset(row)
	d.base = d.in.InputOffset()
	if column, bad = d.object(row, u); bad != nil {
		d.in = nil
	}
	return column, bad
}

func (d *objectDecoder) missing() (metadata, name string) { return d.names.missing(d.found) }

// at returns the number of bytes of the row that were read.
func (d *objectDecoder) at() int64 { return d.in.InputOffset() - d.base }

// field is a column of a row.
type field struct {
	at   int64 // 1-based byte of its value; 0 if the row does not have the column
	text string
	null bool
}

func (d *objectDecoder) object(row []byte, u *events.Update) (at int64, bad *events.RowError) {
	if open, err := d.in.ReadToken(); err != nil || open.Kind() != jsontext.KindBeginObject {
		return 1, d.notObject(row)
	}
	var fields [3]field
	for {
		before := d.at()
		name, err := d.in.ReadToken()
		if err != nil {
			return d.invalid(row, err)
		}
		if name.Kind() != jsontext.KindString { // a closing brace
			break
		}
		text := name.String()
		c, ok := d.names.lookup(text)
		if !ok {
			if err := d.in.SkipValue(); err != nil {
				return d.invalid(row, err)
			}
			continue
		}
		f := &fields[c]
		d.found[c] = true
		if f.at != 0 {
			between := row[before:]
			before += int64(len(between) - len(bytes.TrimLeft(between, jsonSpace+",")))
			reason := fmt.Sprintf("the row has two members %q; keep one", d.names[c])
			if text != d.names[c] {
				reason += " (letter case does not matter)"
			}
			return before + 1, malformed(reason)
		}
		value, err := d.in.ReadValue()
		if err != nil {
			return d.invalid(row, err)
		}
		f.at = d.at() - int64(len(value)) + 1
		switch value.Kind() {
		case jsontext.KindNull:
			f.null = true
		case jsontext.KindString:
			if f.text, bad = d.pool.unquote(d.src, value); bad != nil {
				return f.at, bad
			}
		default:
			return f.at, notAString(d.names[c], value)
		}
	}
	if d.at() < int64(len(row)) {
		return d.textAfter(row)
	}
	return d.update(row, &fields, u)
}

// update sets u to the fields of a row.
func (d *objectDecoder) update(
	row []byte, fields *[3]field, u *events.Update,
) (at int64, bad *events.RowError) {
	if fields[person].at == 0 {
		return 1, d.missingPerson(row)
	}
	flavorText := &fields[flavor].text
	if fields[flavor].null && fields[action].text == "" { // null removes the person
		fields[action].text = "remove"
	}
	if fields[flavor].null || fields[flavor].at == 0 {
		flavorText = nil
	}
	c, bad := d.src.fill(u, fields[person].text, flavorText, fields[action].text)
	return max(fields[c].at, 1), bad
}

func (d *objectDecoder) missingPerson(row []byte) *events.RowError {
	reason := fmt.Sprintf("the row has no member %q; add it", d.names[person])
	scan := d.names.scan(row)
	if _, err := scan.object(nil, true); err == nil && scan.best.score == rowsFound {
		reason = fmt.Sprintf("the row has no member %q; its %s contains rows, so write each of them as a row",
			d.names[person], scan.best.name())
	}
	return rowError(events.MissingPerson, "%s", reason)
}

// notObject rejects a row that does not begin with an opening brace.
func (d *objectDecoder) notObject(row []byte) *events.RowError {
	reason := fmt.Sprintf(`the row is not a JSON object; write {%q: "…", %q: "…"}`, d.names[person], d.names[flavor])
	n, rest := commas(row)
	switch name, advice := d.src.character(row); {
	case n > 0 && len(rest) == 0:
		reason = "the line has only commas; remove it"
	case n == 1:
		reason = "the line begins with a comma; remove it"
	case n > 1:
		reason = fmt.Sprintf("the line begins with %d commas; remove them", n)
	case row[0] != '"' && advice != "":
		reason = fmt.Sprintf("the row is not a JSON object, because it begins with %s; %s", name, advice)
	}
	return malformed(reason)
}

// textAfter rejects a row with text after the object.
func (d *objectDecoder) textAfter(row []byte) (int64, *events.RowError) {
	after := row[d.at():]
	at := d.at() + int64(len(after)-len(bytes.TrimLeft(after, jsonSpace)))
	name, advice := d.src.jsonCharacter(row[at:])
	if advice == "" {
		advice = "put one object on each line"
	}
	reason := fmt.Sprintf("%s follows the object; %s", name, advice)
	n, rest := commas(after)
	switch between := after[:len(after)-len(rest)]; {
	case n == 1 && len(rest) == 0:
		reason = "the line ends with a comma; remove it"
	case len(rest) == 0:
		reason = fmt.Sprintf("the line ends with %d commas; remove them", n)
	case bytes.IndexByte(between, '\r') >= 0:
		at = d.at() + int64(bytes.IndexByte(between, '\r'))
		reason = "a carriage return without line feed follows the object; end every line with LF or CRLF"
	case n > 0:
		reason = "a comma follows the object; remove it, and put one object on each line"
	case closes(rest[0]):
		reason = name + " follows the object; remove it"
	case rest[0] == '{':
		reason = "another object follows the object; put one object on each line"
	}
	return at + 1, malformed(reason)
}

// commas returns the number of commas at the beginning of text, with white space between them, and the rest of text.
func commas(text []byte) (n int, rest []byte) {
	rest = bytes.TrimLeft(text, jsonSpace+",")
	return bytes.Count(text[:len(text)-len(rest)], []byte{','}), rest
}

// invalid rejects a row that is not valid JSON.
func (d *objectDecoder) invalid(row []byte, err error) (int64, *events.RowError) {
	at := d.at()
	reason := "the row is an incomplete JSON object; put a complete object on each line"
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) && !errors.Is(err, io.ErrUnexpectedEOF) {
		at = syntax.ByteOffset - d.base
		back, what := d.src.syntaxFault(row, int(at), jsonState{})
		at -= int64(back)
		reason = "invalid JSON: " + what
	}
	return at + 1, malformed(reason)
}
