package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/flavorless/flavorless/events"
)

// columns are the columns of a header.
type columns struct {
	index    [3]int // of each column; -1 if the header does not have it
	width    int    // number of columns
	nameless int    // number of trailing columns without a name
	twice    string // name of a column that occurs several times
}

// complete reports whether the header has the required columns.
func (c *columns) complete() bool { return c.index[person] >= 0 && c.index[flavor] >= 0 }

// split splits a header at the separators. The record has the fault of the header, if there is one.
func (n *columnNames) split(row []byte, separator byte) (columns, *csvRecord) {
	c := columns{index: [3]int{-1, -1, -1}}
	named := 0
	record := &csvRecord{separator: separator, onField: func(index, begin, end int) {
		name := columnName(string(unquote(row[begin:end])))
		if i := slices.Index(n[:], name); i >= 0 {
			if c.index[i] >= 0 {
				c.twice = name
			}
			c.index[i] = index
		}
		if name != "" {
			named = index + 1
		}
	}}
	record.lines(row)
	c.width, c.nameless = record.fields, record.fields-named
	return c, record
}

// Separators of columns. Pipes are too frequent in text to be guessed.
const (
	guessedSeparators  = ",;\t"
	declaredSeparators = guessedSeparators + "|"
)

// readHeader reads the header and determines the separator: spreadsheets write semicolons where the comma is the
// decimal sign. The error is io.EOF if there is no header.
func (d *csvDecoder) readHeader(format Format) error {
	separators, declared := guessedSeparators, false
	if format == TSV {
		separators = "\t"
	}
	for {
		if _, err := d.begin(); err != nil {
			return err
		}
		err := d.readHeaderLines()
		if err != nil && !isEnd(err) && !errors.Is(err, errRecordTooLong) {
			return err
		}
		row := d.row()
		row = row[:min(len(row), MaxRecord)] // regardless of how much the last read returned
		separator, ok := separatorLine(row)
		switch {
		case ok && !declared && len(separator) == 1 && strings.Contains(declaredSeparators, separator):
			if format == TSV && separator != "\t" {
				return d.badHeader("the first line declares the separator %q, but the file name says TSV; "+
					"end the name with .csv", separator)
			}
			separators, declared = separator, true
			continue
		case ok && !declared:
			return d.badHeader("the first line declares the separator %q; use a comma, a semicolon, a tab or '|'", separator)
		case err == nil && isBlank(row, declaredSeparators):
			continue
		}
		if bad := d.parseHeader(row, separators, declared, err); bad != nil {
			return d.atRecord(bad)
		}
		return nil
	}
}

func (d *csvDecoder) badHeader(format string, args ...any) error {
	return d.atRecord(failure(events.BadHeader, format, args...))
}

// readHeaderLines reads the lines of the header. It ends with the line in which the number of quotes becomes even,
// which does not depend on the separator. The error is io.EOF if the file ends before.
func (d *csvDecoder) readHeaderLines() error {
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

// parseHeader uses the first separator with which the header has the required columns. If there is none, it returns a
// failure that assumes the most frequent separator of the first line.
func (d *csvDecoder) parseHeader(row []byte, separators string, declared bool, incomplete error) *FileError {
	line, _, _ := bytes.Cut(row, []byte("\n"))
	var likely byte
	most := -1
	for _, separator := range []byte(separators) {
		c, record := d.names.split(row, separator)
		if incomplete == nil && record.fault == noFault && c.complete() {
			likely = separator
			break
		}
		if n := bytes.Count(line, []byte{separator}); n > most {
			likely, most = separator, n
		}
	}
	c, record := d.names.split(row, likely)
	d.columns, d.record = c, csvRecord{separator: likely, onField: d.setField}

	before := len(row)
	if record.fault != noFault {
		before = record.at + 2
	}
	named := c.complete() && bytes.HasSuffix(row, []byte("\n")) // then U+2028 and the like are part of a name
	if at, end := otherLineEnd(row, before); at >= 0 && (end == '\r' || !named) {
		if bytes.HasSuffix(row, []byte("\n")) { // other lines end correctly
			return mismatch("the header contains %s at %s; end every line with LF or CRLF", lineEndName(end), d.positionOf(at))
		}
		return mismatch("lines end with %s; save the file with LF or CRLF line ends", lineEndName(end))
	}
	switch {
	case record.fault != noFault:
		return failure(events.BadHeader, "the header is invalid at %s: %s", d.positionOf(record.at), d.reason(record, row))
	case record.quoted && (!errors.Is(incomplete, errRecordTooLong) || record.mostlyQuoted(row)):
		return failure(events.BadHeader, "the header is invalid: %s", d.unclosed(record, row, incomplete))
	case incomplete != nil:
		return failure(events.BadHeader, "the header is longer than %d bytes; the first line must name the columns %s and %s",
			MaxRecord, d.names[person], d.names[flavor])
	case c.twice != "":
		return failure(events.BadHeader, "the header has the column %s twice; keep one", c.twice)
	case c.complete():
		if metadata, name := d.names.missing([3]bool{true, true, c.index[action] >= 0}); metadata != "" {
			return failure(events.BadHeader, "the header has no column %q, although the metadata %s names it", name, metadata)
		}
		return nil
	}
	header := strings.ReplaceAll(string(trimLineEnd(row)), `"`, "")
	name := columnName(header)
	if c.width > 1 || !strings.Contains(name, d.names[person]) || !strings.Contains(name, d.names[flavor]) {
		return failure(events.BadHeader, "the header is %q; it must name the columns %s and %s",
			truncate(header, 120), d.names[person], d.names[flavor])
	}
	fix := "separate the columns with commas, semicolons or tabs"
	switch {
	case declared:
		fix = fmt.Sprintf("the line before it declares the separator %s; use that one, or remove the line",
			separatorName(separators[0]))
	case separators == "\t":
		fix = "separate the columns with tabs, or end the file name with .csv"
	}
	return failure(events.BadHeader, "the header is %q, which is one column; %s", truncate(header, 120), fix)
}

// atRecord sets the position of a failure to that of the current record.
func (d *csvDecoder) atRecord(bad *FileError) error {
	bad.Failure.Line, bad.Failure.Column, bad.Failure.Offset = d.position()
	return bad
}

// separatorLine returns the separator that a line such as sep=; declares, with or without quotes. Excel and other
// programs write and interpret such a first line. A line with more text may be a header.
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
