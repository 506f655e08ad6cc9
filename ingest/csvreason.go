package ingest

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/flavorless/flavorless/events"
)

// incomplete returns the error for a row without an end. Its last line, which begins at from, was not decoded.
func (d *csvDecoder) incomplete(from int, err error) error {
	r, row := &d.record, d.row()
	switch {
	case isEnd(err):
		return failure(events.UnclosedQuote, "%s", d.unclosed(r, row, err))
	case errors.Is(err, errRecordTooLong):
		row = row[:min(len(row), MaxRecord)]
		if r.line(row, from); r.quoted && r.mostlyQuoted(row) {
			return failure(events.RecordTooLong, "the record that begins here is too long: %s", d.unclosed(r, row, err))
		}
		if _, reason := d.strayLineEnd(row, len(row)); reason != "" {
			return failure(events.RecordTooLong, "%v; %s", errRecordTooLong, reason)
		}
	}
	return err
}

// unclosed describes a quote that is open where reading ended.
func (d *csvDecoder) unclosed(r *csvRecord, row []byte, err error) string {
	what := fmt.Sprintf("the quote at %s is never closed", d.positionOf(r.begin))
	if errors.Is(err, errRecordTooLong) {
		what = fmt.Sprintf("the quote at %s is not closed within %d bytes", d.positionOf(r.begin), MaxRecord)
	}
	if n := bytes.Count(row[r.begin:], []byte("\n")); n > 0 {
		what += " (" + count(n, "line end") + " after it)"
	}
	return what + "; close it, or double it if it is part of the text"
}

// reason describes the fault of a record.
func (d *csvDecoder) reason(r *csvRecord, row []byte) string {
	return r.reason(row) + d.multiline(row, byteRange{r.opened, r.closed})
}

// multiline describes a quoted field with line ends, which may be the result of a misplaced quote. The range is from
// the opening to the closing quote. The result is "" for other fields.
func (d *csvDecoder) multiline(row []byte, quotes byteRange) string {
	n := bytes.Count(row[quotes.begin:quotes.end], []byte("\n"))
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; note that the quotes at %s and %s enclose %s",
		d.positionOf(quotes.begin), d.positionOf(quotes.end), count(n, "line end"))
}

// count returns a number and a noun in the singular or plural.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// wrongWidth rejects a row that does not have as many fields as the header.
func (d *csvDecoder) wrongWidth(fields int) *events.Reject {
	row, separator, width := d.row(), d.record.separator, d.columns.width
	var why string
	switch extra := fields - width; {
	case extra > 0 && extra <= trailing(row, separator):
		why = ", because the row ends with " + extraSeparators(extra, separator)
	case extra > 0:
		why = fmt.Sprintf("; put fields that contain %s in double quotes", separatorName(separator))
	case -extra <= d.columns.nameless:
		why = ", because the header ends with " + extraSeparators(-extra, separator)
	default:
		why = fmt.Sprintf("; write a field for each column, even if it is empty, separated by %s", separatorName(separator))
	}
	return d.malformed(0, len(row), fmt.Sprintf("the row has %s, the header %d%s", count(fields, "field"), width, why))
}

func extraSeparators(n int, separator byte) string {
	if n == 1 {
		return fmt.Sprintf("an extra separator (%s); remove it", separatorName(separator))
	}
	return fmt.Sprintf("%d extra separators (%s); remove them", n, separatorName(separator))
}

func separatorName(separator byte) string {
	if separator == '\t' {
		return "tab"
	}
	return "'" + string(rune(separator)) + "'"
}

// malformed rejects a row for its syntax. If the row has a stray line end before an offset, that is the better reason.
func (d *csvDecoder) malformed(at, before int, reason string) *events.Reject {
	if end, better := d.strayLineEnd(d.row(), before); better != "" {
		at, reason = end, better
	}
	return d.reject(at, malformed(reason))
}

// strayLineEnd describes the first character before an offset that ends lines in other kinds of text. The reason is ""
// if there is none.
func (d *csvDecoder) strayLineEnd(row []byte, before int) (at int, reason string) {
	at, end := otherLineEnd(row, before)
	if at < 0 {
		return at, ""
	}
	return at, fmt.Sprintf("the row contains %s at %s; end every line with LF or CRLF", lineEndName(end), d.positionOf(at))
}

// positionOf returns the line and the column of an index in the record.
func (d *csvDecoder) positionOf(at int) string {
	line, column := d.src.window.position(d.src.record + int64(at))
	return fmt.Sprintf("line %d, column %d", line, column)
}
