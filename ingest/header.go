package ingest

import (
	"bytes"
	"encoding/csv"
	"errors"
	"slices"
	"strings"
	"unicode"

	"github.com/flavorless/flavorless/events"
)

// header reads the row that names the columns. The error is io.EOF if there is nothing.
func (d *csvDecoder) header(format Format) ([]string, error) {
	place := func(bad *FileError) error {
		bad.Failure.Line, bad.Failure.Column, bad.Failure.Offset = d.position()
		return bad
	}
	if _, err := d.begin(); err != nil {
		return nil, err
	}
	head, _ := d.in.Peek(headSize)
	comma, bad := delimiter(head, format)
	if bad != nil {
		return nil, place(bad)
	}
	d.separate(byte(comma))
	header, err := d.csv.Read()
	end := d.skipped + d.csv.InputOffset()
	if err == nil && end-d.at > MaxRecord { // every run takes the same headers, however much was read at once
		err = errRecordTooLong
	}
	if d.src.crowded(end) {
		err = errManyFields
	}
	var parse *csv.ParseError
	switch {
	case err != nil && d.src.broken() != nil:
		return nil, d.src.broken()
	case errors.As(err, &parse) || endless(err):
		return nil, place(failure(events.BadHeader, "the header can't be read (%v); the first line names the columns: person,flavor", err))
	case err != nil:
		return nil, err
	}
	if bad := d.columns(header); bad != nil {
		return nil, place(bad)
	}
	return header, nil
}

// delimiter finds out what separates the fields: spreadsheets write semicolons where the comma is the decimal sign.
func delimiter(head []byte, format Format) (rune, *FileError) {
	line, _, found := bytes.Cut(head, []byte("\n"))
	if cr := bytes.IndexByte(bytes.TrimSuffix(line, []byte("\r")), '\r'); cr >= 0 && !bytes.Contains(line[:cr], []byte(`"`)) {
		return 0, failure(events.FormatMismatch, "lines end in CR alone; save the file with LF or CRLF line ends")
	}
	if format.Rows == "tsv" {
		return '\t', nil
	}
	if found || len(head) < headSize {
		for _, comma := range []rune{',', ';', '\t'} {
			r := csv.NewReader(bytes.NewReader(line))
			r.Comma = comma
			if names, err := r.Read(); err == nil && indexOf(names, "person") >= 0 && indexOf(names, "flavor") >= 0 {
				return comma, nil
			}
		}
	}
	return ',', nil
}

func (d *csvDecoder) columns(header []string) *FileError {
	for i, name := range header {
		n := columnName(name)
		if (n == "person" || n == "flavor" || n == "action") && indexOf(header[i+1:], n) >= 0 {
			return failure(events.BadHeader, "the header names the column %s twice; keep one", n)
		}
	}
	d.person, d.flavor, d.action = indexOf(header, "person"), indexOf(header, "flavor"), indexOf(header, "action")
	if name := columnName(header[0]); len(header) == 1 && strings.Contains(name, "person") && strings.Contains(name, "flavor") {
		mend := "separate the columns by commas, semicolons or tabs"
		if d.csv.Comma == '\t' {
			mend = "separate the columns by tabs, or name the file .csv"
		}
		return failure(events.BadHeader, "the header is %q, which is one column; %s", truncate(header[0], 120), mend)
	}
	if d.person < 0 || d.flavor < 0 {
		return failure(events.BadHeader, "the header is %q; it has to name the columns person and flavor", truncate(strings.Join(header, string(d.csv.Comma)), 120))
	}
	return nil
}

// columnName takes away what is taken from names, too.
func columnName(s string) string {
	return strings.ToLower(strings.TrimFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' || r == '\u200b' }))
}

// isColumn tells a name that stands where a person should: a header in the middle of joined files, or a row that was
// written as if its members were people. Let in, it would be somebody whose name is person.
func isColumn(name string) bool {
	return len(name) == len("person") && (strings.EqualFold(name, "person") || strings.EqualFold(name, "flavor") || strings.EqualFold(name, "action"))
}

func indexOf(header []string, name string) int {
	return slices.IndexFunc(header, func(s string) bool { return columnName(s) == name })
}
