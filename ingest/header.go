package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/flavorless/flavorless/events"
)

// columns are where the columns are that are read, with -1 for one that the header does not have.
type columns struct {
	person, flavor, action int

	width    int    // how many columns there are
	nameless int    // how many of the last ones have no name
	twice    string // name of a column that the header has more than once
}

// columns reads a header whose columns are separated in one way.
func (n columnNames) columns(row []byte, separator byte) (columns, *csvRecord) {
	c := columns{person: -1, flavor: -1, action: -1}
	column := func(field *int, index int, name string) {
		if *field >= 0 {
			c.twice = name
		}
		*field = index
	}
	named := 0
	record := &csvRecord{separator: separator, found: func(index, begin, end int) {
		name := columnName(string(unquote(row[begin:end])))
		switch name {
		case n.person:
			column(&c.person, index, name)
		case n.flavor:
			column(&c.flavor, index, name)
		case n.action:
			column(&c.action, index, name)
		}
		if name != "" {
			named = index + 1
		}
	}}
	record.lines(row)
	c.width, c.nameless = record.fields, record.fields-named
	return c, record
}

// Separators that are read. Pipes are too frequent in text to be guessed.
const (
	guessedSeparators  = ",;\t"
	declaredSeparators = guessedSeparators + "|"
)

// header reads the row that names the columns, and finds out what separates them: spreadsheets write semicolons where the
// comma is the decimal sign. The error is io.EOF if there is no header.
func (d *csvDecoder) header(format FileType) error {
	separators, declared := guessedSeparators, false
	if format.Format == "tsv" {
		separators = "\t"
	}
	for {
		if _, err := d.begin(); err != nil {
			return err
		}
		err := d.headerRow()
		if err != nil && err != io.EOF && !errors.Is(err, errRecordTooLong) { //nolint:errorlint // the source gives io.EOF bare
			return err
		}
		row := d.row()
		row = row[:min(len(row), MaxRecord)] // every run reads the same, however much was read at once
		separator, ok := separatorLine(row)
		switch {
		case ok && !declared && len(separator) == 1 && strings.Contains(declaredSeparators, separator):
			if format.Format == "tsv" && separator != "\t" {
				return d.place(failure(events.BadHeader,
					"the first line says that the separator is %q, but the name says TSV; name the file .csv", separator))
			}
			separators, declared = separator, true
			continue
		case ok && !declared:
			return d.place(failure(events.BadHeader,
				"the first line says that the separator is %q; use a comma, a semicolon, a tab or '|'", separator))
		case err == nil && isBlank(row, declaredSeparators):
			continue
		}
		if bad := d.readHeader(row, separators, declared, err); bad != nil {
			return d.place(bad)
		}
		return nil
	}
}

// headerRow reads the lines of the header. It ends where the quotes are even in number: whatever separates the columns,
// quotes open and close in turn, or the header has a fault. The error is io.EOF if the file ends before.
func (d *csvDecoder) headerRow() error {
	for quotes, from := 0, 0; ; {
		if err := d.readLine(); err != nil {
			return err
		}
		row := d.row()
		if quotes += bytes.Count(row[from:], []byte{'"'}); quotes%2 == 0 {
			return nil
		}
		from = len(row)
	}
}

// readHeader takes the first of the separators with which the header has the columns that are needed. Without one it says
// what is wrong, assuming the separator that the first line has most often.
func (d *csvDecoder) readHeader(row []byte, separators string, declared bool, incomplete error) *FileError {
	line, _, _ := bytes.Cut(row, []byte("\n"))
	var likely byte
	most := -1
	for _, separator := range []byte(separators) {
		c, record := d.names.columns(row, separator)
		if incomplete == nil && record.fault == noFault && c.person >= 0 && c.flavor >= 0 {
			likely = separator
			break
		}
		if n := bytes.Count(line, []byte{separator}); n > most {
			likely, most = separator, n
		}
	}
	c, record := d.names.columns(row, likely)
	d.columns, d.record = c, csvRecord{separator: likely, found: d.found}

	before := len(row)
	if record.fault != noFault {
		before = record.at + 2
	}
	named := c.person >= 0 && c.flavor >= 0 && bytes.HasSuffix(row, []byte("\n")) // so U+2028, say, is but a part of some name
	if at, end := otherLineEnd(row, before); at >= 0 && (end == '\r' || !named) {
		if bytes.HasSuffix(row, []byte("\n")) { // other lines end as they should
			return failure(events.FormatMismatch, "%s stands in the header at %s; end every line in LF or CRLF",
				lineEndName(end), d.placeOf(at))
		}
		name := "CR alone"
		if end != '\r' {
			name = lineEndName(end)
		}
		return failure(events.FormatMismatch, "lines end in %s; save the file with LF or CRLF line ends", name)
	}
	switch {
	case record.fault != noFault:
		return failure(events.BadHeader, "the header can't be read: at %s, %s", d.placeOf(record.at), d.reason(record, row))
	case record.quoted && (!errors.Is(incomplete, errRecordTooLong) || record.swallows(row)):
		return failure(events.BadHeader, "the header can't be read: %s", d.unclosed(record, row, incomplete))
	case incomplete != nil:
		return failure(events.BadHeader, "the header is longer than %d bytes; the first line has to name the columns %s and %s",
			MaxRecord, d.names.person, d.names.flavor)
	case c.twice != "":
		return failure(events.BadHeader, "the header names the column %s twice; keep one", c.twice)
	case c.person >= 0 && c.flavor >= 0:
		if metadata, name := d.names.missing(columnsFound{true, true, c.action >= 0}); metadata != "" {
			return failure(events.BadHeader, "the header has no column %q, which the metadata %s names", name, metadata)
		}
		return nil
	}
	header := strings.ReplaceAll(string(trimLineEnd(row)), `"`, "")
	name := columnName(header)
	if c.width > 1 || !strings.Contains(name, d.names.person) || !strings.Contains(name, d.names.flavor) {
		return failure(events.BadHeader, "the header is %q; it has to name the columns %s and %s",
			truncate(header, 120), d.names.person, d.names.flavor)
	}
	fix := "separate the columns by commas, semicolons or tabs"
	switch {
	case declared:
		fix = fmt.Sprintf("the line before it says that the separator is %s; use that one, or remove the line",
			separatorName(separators[0]))
	case separators == "\t":
		fix = "separate the columns by tabs, or name the file .csv"
	}
	return failure(events.BadHeader, "the header is %q, which is one column; %s", truncate(header, 120), fix)
}

// place adds to a failure where the record begins.
func (d *csvDecoder) place(bad *FileError) error {
	bad.Failure.Line, bad.Failure.Column, bad.Failure.Offset = d.position()
	return bad
}

// separatorLine returns the separator that a line such as sep=; declares, in quotes or not. Excel heeds such a first line,
// and other programs write it. The line is nothing else, so it can't be taken for a header.
func separatorLine(line []byte) (separator string, ok bool) {
	text := string(trimLineEnd(line))
	if len(text) >= 2 && text[0] == '"' && text[len(text)-1] == '"' {
		text = text[1 : len(text)-1]
	}
	const prefix = "sep="
	if len(text) < len(prefix) || !strings.EqualFold(text[:len(prefix)], prefix) {
		return "", false
	}
	separator = strings.Trim(text[len(prefix):], " ")
	return separator, utf8.RuneCountInString(separator) <= 1
}

// columnName takes away what is taken from names, too.
func columnName(s string) string { return strings.ToLower(strings.TrimFunc(s, isSpace)) }

// isSpace reports whether r is trimmed from names, as [events.CleanName] does.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' || r == '\u200b' }
