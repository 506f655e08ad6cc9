package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/flavorless/flavorless/events"
)

// incomplete explains why a row has no end. Its last line, which begins at from, was not looked at.
func (d *csvDecoder) incomplete(from int, err error) error {
	r, row := &d.record, d.row()
	switch {
	case err == io.EOF: //nolint:errorlint // the source gives it bare
		return failure(events.UnclosedQuote, "%s", d.unclosed(r, row, err))
	case errors.Is(err, errRecordTooLong):
		row = row[:min(len(row), MaxRecord)]
		if r.line(row, from); r.quoted && r.swallows(row) {
			return failure(events.RecordTooLong, "the record that begins here is too long: %s", d.unclosed(r, row, err))
		}
		if _, reason := d.lineEndInside(row, len(row)); reason != "" {
			return failure(events.RecordTooLong, "%v; %s", errRecordTooLong, reason)
		}
	}
	return err
}

// unclosed describes a quote that is still open where reading ended.
func (d *csvDecoder) unclosed(r *csvRecord, row []byte, err error) string {
	what := fmt.Sprintf("a quote is opened at %s and never closed", d.placeOf(r.begin))
	if errors.Is(err, errRecordTooLong) {
		what = fmt.Sprintf("a quote is opened at %s and not closed within %d bytes", d.placeOf(r.begin), MaxRecord)
	}
	if n := bytes.Count(row[r.begin:], []byte("\n")); n > 0 {
		what += ", with " + lineEnds(n) + " behind it"
	}
	return what + "; close it, or write a quote inside of a field twice"
}

// reason describes the fault of a record.
func (d *csvDecoder) reason(r *csvRecord, row []byte) string {
	return r.reason(row) + d.extent(row, r.opened, r.closed)
}

// extent tells, for a record of several lines, where the quotes are that make it one. It may be that they do so by mistake.
func (d *csvDecoder) extent(row []byte, opened, closed int) string {
	n := bytes.Count(row[opened:closed], []byte("\n"))
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; the quote opened at %s is closed at %s, with %s inside", d.placeOf(opened), d.placeOf(closed), lineEnds(n))
}

func lineEnds(n int) string {
	if n == 1 {
		return "1 line end"
	}
	return fmt.Sprintf("%d line ends", n)
}

// ragged rejects a row that has not as many fields as the header.
func (d *csvDecoder) ragged(fields int) *events.Reject {
	row, separator, width := d.row(), d.record.separator, d.columns.width
	var why string
	switch extra := fields - width; {
	case extra > 0 && extra <= trailing(row, separator):
		why = ", because it ends in " + tooMany(extra, separator)
	case extra > 0:
		why = fmt.Sprintf("; put a field that contains %s in double quotes", separatorName(separator))
	case -extra <= d.columns.nameless:
		why = ", because the header ends in " + tooMany(-extra, separator)
	default:
		why = fmt.Sprintf("; write one for each column, be it empty, with %s between them", separatorName(separator))
	}
	return d.malformed(0, len(row), fmt.Sprintf("the header has %d fields, the row %d%s", width, fields, why))
}

func tooMany(n int, separator byte) string {
	if n == 1 {
		return fmt.Sprintf("one separator too many (%s); remove it", separatorName(separator))
	}
	return fmt.Sprintf("%d separators too many (%s); remove them", n, separatorName(separator))
}

func separatorName(separator byte) string {
	if separator == '\t' {
		return "tab"
	}
	return "'" + string(rune(separator)) + "'"
}

// malformed rejects a row for its form. If a line seems to end within it, before an offset, that is the better reason.
func (d *csvDecoder) malformed(at, before int, reason string) *events.Reject {
	if end, better := d.lineEndInside(d.row(), before); better != "" {
		at, reason = end, better
	}
	return d.reject(at, &events.RowError{Code: events.MalformedRow, Reason: reason})
}

// lineEndInside describes the first place at which a line seems to end in the middle of a row.
func (d *csvDecoder) lineEndInside(row []byte, before int) (at int, reason string) {
	at, end := otherLineEnd(row, before)
	if at < 0 {
		return at, ""
	}
	return at, fmt.Sprintf("%s stands in the row at %s; end every line in LF or CRLF", lineEndName(end), d.placeOf(at))
}

// placeOf gives the line and the column of an offset in the record.
func (d *csvDecoder) placeOf(at int) string {
	line, column := d.src.window.place(d.src.record + int64(at))
	return fmt.Sprintf("line %d, column %d", line, column)
}
