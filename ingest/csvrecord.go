package ingest

import (
	"bytes"
	"fmt"
	"strings"
)

// csvRecord finds the fields of one record as RFC 4180 has it, line by line, and keeps none of them: its memory grows
// neither with the length of the record nor with the number of fields. All offsets begin at the record's first byte.
type csvRecord struct {
	separator byte
	found     func(index, begin, end int) // is called for each field, which has its quotes still

	fields int
	begin  int  // of the latest field
	quoted bool // the latest field is in quotes that are not closed yet

	fault csvFault
	at    int // offset of the quote that is the fault

	// The quotes of the field that has line ends inside: of the one with the fault, or else of the longest. Without such a
	// field both are 0.
	opened, closed int
}

type csvFault uint8

const (
	noFault     csvFault = iota
	quoteInside          // a quote in a field that does not begin with one
	behindQuote          // something other than a separator or a line end follows a closing quote
)

// line reads the next line of the record, row[from:], and reports whether the record ends there. It ends with its fault, if
// it has one, so that reading can go on with the next line.
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
		if at < end && row[at] == '"' { // a doubled quote stands for one
			at++
			continue
		}
		r.quoted = false
		if at < end && row[at] != r.separator {
			r.fault, r.at = behindQuote, at-1
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
	r.found(r.fields, r.begin, end)
	r.fields++
}

// lines reads a record that is there as a whole.
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
	before, behind := row[r.begin:r.at], row[r.at+1:]
	if r.fault == behindQuote {
		behind, _, _ = bytes.Cut(behind, []byte("\n"))
		behind, _, _ = bytes.Cut(behind, []byte{r.separator})
		if len(bytes.TrimFunc(behind, isSpace)) == 0 {
			return "white space stands behind the quote that closes the field; remove it"
		}
		return "something stands between a closing quote and the end of the field; write a quote inside a quoted field twice"
	}
	if len(before) > 0 && len(bytes.TrimFunc(before, isSpace)) == 0 {
		return "white space stands before the quote that opens the field; remove it"
	}
	return "a quote stands inside a field that does not begin with one; " +
		"put the whole field in double quotes, and write the quote inside twice"
}

// trimLineEnd removes what ends a line: LF with any carriage returns before it, as programs write it that translate line
// ends twice. At the end of the file carriage returns alone go, too, and the Ctrl-Z with which DOS ends files.
func trimLineEnd(line []byte) []byte {
	cut := "\r\x1a"
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line, cut = line[:n-1], "\r"
	}
	return bytes.TrimRight(line, cut)
}

// unquote returns the text of a field as it stands in the file. As encoding/csv has it, line ends inside are LF.
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

// isBlank reports whether a line has no text at all: nothing but white space, separators and Ctrl-Z. Spreadsheets write such
// lines for empty rows.
func isBlank(line []byte, separators string) bool {
	blank := func(r rune) bool { return isSpace(r) || r == '\x1a' || strings.ContainsRune(separators, r) }
	return len(bytes.TrimLeftFunc(line, blank)) == 0
}

// trailing returns how many of the row's last fields are empty or blank, in quotes or not.
func trailing(row []byte, separator byte) (n int) {
	r := csvRecord{separator: separator, found: func(_, begin, end int) {
		n++
		if len(bytes.TrimFunc(unquote(row[begin:end]), isSpace)) > 0 {
			n = 0
		}
	}}
	r.lines(row)
	return n
}

// swallows reports whether the open quote is why a row is too long: most of the row is behind it. Otherwise the row may just have
// been cut inside an ordinary field.
func (r *csvRecord) swallows(row []byte) bool { return r.begin < len(row)/2 }

// otherLineEnd finds the first character that ends lines in other kinds of text, where it stands outside of quotes, before an
// offset, and text follows it. The result is negative without one.
func otherLineEnd(text []byte, before int) (at int, end rune) {
	quoted := false
	for i, r := range string(bytes.TrimRightFunc(text, isSpace)) {
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

// lineEndName names a character that ends lines in other kinds of text.
func lineEndName(r rune) string {
	switch r {
	case '\r':
		return "a carriage return alone"
	case '\u0085':
		return "U+0085 (NEL)"
	}
	return fmt.Sprintf("%U", r)
}
