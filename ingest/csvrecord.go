package ingest

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/flavorless/flavorless/events"
)

// csvRecord splits a record into fields according to RFC 4180, line by line. It does not store the fields, so its
// memory does not grow with the record. All indexes are relative to the first byte of the record.
type csvRecord struct {
	separator byte
	onField   func(index, begin, end int) // called with each field, including its quotes

	fields int
	begin  int  // of the current field
	quoted bool // whether the current field has an open quote

	fault csvFault
	at    int // index of the faulty quote

	// The quotes of the multiline field with the fault, or else of the longest multiline field. Both are 0 if there is
	// none.
	opened, closed int
}

type csvFault uint8

const (
	noFault     csvFault = iota
	quoteInside          // a quote in an unquoted field
	afterQuote           // text after a closing quote
)

// line splits the next line of the record, row[from:], and reports whether the record ends there. A record ends with
// the line that has a fault, so that the next line can be read as a new record.
func (r *csvRecord) line(row []byte, from int) (done bool) {
	at, end := from, from+len(trimLineEnd(row[from:]))
	for {
		if !r.quoted {
			r.begin = at
			if at == end || row[at] != '"' {
				stop := end
				next := bytes.IndexByte(row[at:end], r.separator)
				if next >= 0 {
					stop = at + next
				}
				if quote := bytes.IndexByte(row[at:stop], '"'); quote >= 0 {
					r.fault, r.at = quoteInside, at+quote
					return true
				}
				r.field(stop)
				if next < 0 {
					return true
				}
				at = stop + 1
				continue
			}
			r.quoted = true
			at++
		}
		quote := bytes.IndexByte(row[at:end], '"')
		if quote < 0 {
			return false
		}
		at += quote + 1
		if at < end && row[at] == '"' { // a doubled quote
			at++
			continue
		}
		r.quoted = false
		if at < end && row[at] != r.separator {
			r.fault, r.at = afterQuote, at-1
		}
		if r.begin < from && (at-1-r.begin > r.closed-r.opened || r.fault != noFault) {
			r.opened, r.closed = r.begin, at-1
		}
		if r.fault != noFault {
			return true
		}
		r.field(at)
		if at == end {
			return true
		}
		at++
	}
}

func (r *csvRecord) field(end int) {
	r.onField(r.fields, r.begin, end)
	r.fields++
}

// lines splits a complete record.
func (r *csvRecord) lines(row []byte) {
	for from := 0; from < len(row); {
		end := len(row)
		if n := bytes.IndexByte(row[from:], '\n'); n >= 0 {
			end = from + n + 1
		}
		if r.line(row[:end], from) {
			return
		}
		from = end
	}
}

// reason describes the fault.
func (r *csvRecord) reason(row []byte) string {
	before, after := row[r.begin:r.at], row[r.at+1:]
	if r.fault == afterQuote {
		after, _, _ = bytes.Cut(after, []byte("\n"))
		after, _, _ = bytes.Cut(after, []byte{r.separator})
		if len(bytes.TrimFunc(after, events.IsSpace)) == 0 {
			return "white space follows the closing quote of a field; remove it"
		}
		return "text follows the closing quote of a field; double the quotes inside of a quoted field"
	}
	if len(before) > 0 && len(bytes.TrimFunc(before, events.IsSpace)) == 0 {
		return "white space precedes the opening quote of a field; remove it"
	}
	return "an unquoted field contains a quote; put the whole field in double quotes, and double the quote inside"
}

// trimLineEnd removes the end of a line: LF and all carriage returns before it, because programs that translate line
// ends twice write several. At the end of the file, it removes carriage returns and the Ctrl-Z of DOS.
func trimLineEnd(line []byte) []byte {
	cut := "\r\x1a"
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line, cut = line[:n-1], "\r"
	}
	return bytes.TrimRight(line, cut)
}

// unquote returns the text of a field. Line ends become LF, as in encoding/csv.
func unquote(field []byte) []byte {
	if len(field) == 0 || field[0] != '"' {
		return field
	}
	field = field[1 : len(field)-1]
	if bytes.IndexByte(field, '"') >= 0 {
		field = bytes.ReplaceAll(field, []byte(`""`), []byte(`"`))
	}
	if bytes.IndexByte(field, '\r') >= 0 {
		field = bytes.ReplaceAll(field, []byte("\r\n"), []byte("\n"))
	}
	return field
}

// isBlank reports whether a line has only white space, separators and Ctrl-Z. Spreadsheets write such lines for empty
// rows.
func isBlank(line []byte, separators string) bool {
	blank := func(r rune) bool { return events.IsSpace(r) || r == '\x1a' || strings.ContainsRune(separators, r) }
	return len(bytes.TrimLeftFunc(line, blank)) == 0
}

// trailing returns the number of blank fields at the end of a row.
func trailing(row []byte, separator byte) (n int) {
	r := csvRecord{separator: separator, onField: func(_, begin, end int) {
		n++
		if len(bytes.TrimFunc(unquote(row[begin:end]), events.IsSpace)) > 0 {
			n = 0
		}
	}}
	r.lines(row)
	return n
}

// mostlyQuoted reports whether most of the row follows the open quote, so that the quote is why the row is too long.
// Otherwise, the row may have been cut inside an ordinary field.
func (r *csvRecord) mostlyQuoted(row []byte) bool { return r.begin < len(row)/2 }

// otherLineEnd returns the index of the first character that ends lines in other kinds of text, if it is outside of
// quotes, before an index, and followed by text. The index is negative if there is none.
func otherLineEnd(text []byte, before int) (at int, end rune) {
	quoted := false
	for i, r := range string(bytes.TrimRightFunc(text, events.IsSpace)) {
		if i >= before {
			break
		}
		switch r {
		case '"':
			quoted = !quoted
		case '\r', '\u0085', '\u2028', '\u2029':
			if !quoted {
				return i, r
			}
		}
	}
	return -1, 0
}

// lineEndName returns the name of a result of otherLineEnd.
func lineEndName(r rune) string {
	switch r {
	case '\r':
		return "a carriage return without line feed"
	case '\u0085':
		return "U+0085 (NEL)"
	}
	return fmt.Sprintf("%U", r)
}
