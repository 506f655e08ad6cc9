package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/flavorless/flavorless/events"
)

// objectDecoder reads rows that are JSON objects. Its jsontext decoder lives on from row to row, which costs less than
// to reset it; each row is all that there is to read until the next.
type objectDecoder struct {
	names columnNames
	seen  columnsFound
	in    *jsontext.Decoder // nil after a fault, when it may stand in the middle of a row
	row   row
	base  int64 // offset in all that in has read at which the row begins
	text  text
}

// row is a reader that ends where the row does.
type row struct{ rest []byte }

func (r *row) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// decode reads {"person": …, "flavor": …, "action": …}; other members are skipped. There is no white space around row.
// It returns the 1-based byte of the fault within row.
func (d *objectDecoder) decode(row []byte, u *events.Update) (column int64, bad *events.RowError) {
	if d.in == nil {
		d.in = jsontext.NewDecoder(&d.row, lenient()...)
	}
	d.row.rest = row
	d.base = d.in.InputOffset()
	if column, bad = d.object(row, u); bad != nil {
		d.in = nil
	}
	return column, bad
}

func (d *objectDecoder) missing() (metadata, name string) { return d.names.missing(d.seen) }

// at gives the number of bytes of the row that were read.
func (d *objectDecoder) at() int64 { return d.in.InputOffset() - d.base }

func (d *objectDecoder) object(row []byte, u *events.Update) (column int64, bad *events.RowError) {
	if open, err := d.in.ReadToken(); err != nil || open.Kind() != jsontext.KindBeginObject {
		return 1, d.notObject(row)
	}
	person, flavor, action := field{name: d.names.person}, field{name: d.names.flavor}, field{name: d.names.action}
	for {
		before := d.at()
		name, err := d.in.ReadToken()
		if err != nil {
			return d.broken(row, err)
		}
		if name.Kind() != jsontext.KindString { // only a closing brace is possible
			break
		}
		var f *field
		switch d.names.of(name.String()) {
		case d.names.person:
			f, d.seen.person = &person, true
		case d.names.flavor:
			f, d.seen.flavor = &flavor, true
		case d.names.action:
			f, d.seen.action = &action, true
		default:
			if err := d.in.SkipValue(); err != nil {
				return d.broken(row, err)
			}
			continue
		}
		if f.at != 0 {
			between := row[before:]
			before += int64(len(between) - len(bytes.TrimLeft(between, " \t\r\n,")))
			reason := fmt.Sprintf("the row has two members %q; keep one", f.name)
			if name.String() != f.name {
				reason += " (letter case does not matter)"
			}
			return before + 1, &events.RowError{Code: events.MalformedRow, Reason: reason}
		}
		value, err := d.in.ReadValue()
		if err != nil {
			return d.broken(row, err)
		}
		f.at = d.at() - int64(len(value)) + 1
		switch value.Kind() {
		case jsontext.KindNull:
			f.null = true
		case jsontext.KindString:
			if f.text, bad = d.text.of(value); bad != nil {
				return f.at, bad
			}
		default:
			return f.at, notAString(f.name, value)
		}
	}
	if d.at() < int64(len(row)) {
		return d.follows(row)
	}
	if person.at == 0 {
		return 1, d.missingPerson(row)
	}
	return finish(u, person, flavor, action)
}

func (d *objectDecoder) missingPerson(row []byte) *events.RowError {
	reason := fmt.Sprintf("the row has no member %q; add it", d.names.person)
	scan := d.names.scan(row)
	if _, err := scan.object(nil, true); err == nil && scan.best.score == rowsFound {
		reason = fmt.Sprintf("the row has no member %q; its %s holds rows, so write each of those as a row of its own",
			d.names.person, scan.best.name())
	}
	return &events.RowError{Code: events.MissingPerson, Reason: reason}
}

// notObject says what the row begins with instead of an opening brace.
func (d *objectDecoder) notObject(row []byte) *events.RowError {
	reason := fmt.Sprintf(`the row is not a JSON object; write {%q: "…", %q: "…"}`, d.names.person, d.names.flavor)
	if n, rest := commas(row); n > 0 && len(rest) == 0 {
		reason = "the line has only commas; remove it"
	} else if n == 1 {
		reason = "the line begins with a comma; remove it"
	} else if n > 1 {
		reason = fmt.Sprintf("the line begins with %d commas; remove them", n)
	} else if name, advice := character(row); row[0] != '"' && advice != "" {
		reason = fmt.Sprintf("the row is not a JSON object, because it begins with %s; %s", name, advice)
	}
	return &events.RowError{Code: events.MalformedRow, Reason: reason}
}

// follows rejects a row for what follows its object.
func (d *objectDecoder) follows(row []byte) (int64, *events.RowError) {
	behind := row[d.at():]
	at := d.at() + int64(len(behind)-len(bytes.TrimLeft(behind, jsonSpace)))
	name, advice := jsonCharacter(row[at:])
	if advice == "" {
		advice = "put one object on each line"
	}
	reason := fmt.Sprintf("%s follows the object; %s", name, advice)
	n, rest := commas(behind)
	switch between := behind[:len(behind)-len(rest)]; {
	case n == 1 && len(rest) == 0:
		reason = "the line ends with a comma; remove it"
	case len(rest) == 0:
		reason = fmt.Sprintf("the line ends with %d commas; remove them", n)
	case bytes.IndexByte(between, '\r') >= 0:
		at = d.at() + int64(bytes.IndexByte(between, '\r'))
		reason = "a carriage return alone follows the object; end every line in LF or CRLF"
	case n > 0:
		reason = "a comma follows the object; remove it, and put one object on each line"
	case closes(rest[0]):
		reason = name + " follows the object; remove it"
	case rest[0] == '{':
		reason = "another object follows the object; put one object on each line"
	}
	return at + 1, &events.RowError{Code: events.MalformedRow, Reason: reason}
}

// commas counts the commas that text begins with, over white space, and returns the rest.
func commas(text []byte) (n int, rest []byte) {
	rest = bytes.TrimLeft(text, jsonSpace+",")
	return bytes.Count(text[:len(text)-len(rest)], []byte{','}), rest
}

// field is a member of a row: where its value stands (0: nowhere), and what it is.
type field struct {
	name string
	at   int64
	text string
	null bool
}

func finish(u *events.Update, person, flavor, action field) (int64, *events.RowError) {
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

func (d *objectDecoder) broken(row []byte, err error) (int64, *events.RowError) {
	at := d.at()
	reason := "the row is not a whole JSON object; put one whole object on each line"
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) && !errors.Is(err, io.ErrUnexpectedEOF) {
		at = syntax.ByteOffset - d.base
		back, what := syntaxFault(row, int(at), jsonPlace{})
		at -= int64(back)
		reason = "the row is not valid JSON: " + what
	}
	return at + 1, &events.RowError{Code: events.MalformedRow, Reason: reason}
}
