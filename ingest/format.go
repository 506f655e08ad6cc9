package ingest

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/flavorless/flavorless/events"
)

// FileType is what a file is, by its name: how its rows are written, and how that is compressed.
type FileType struct {
	Format      string // "csv", "tsv", "json" or "ndjson"
	Compression string // "", "gzip" or "zstd"
}

// String gives, for example, "csv" or "ndjson+gzip".
func (f FileType) String() string {
	if f.Compression == "" {
		return f.Format
	}
	return f.Format + "+" + f.Compression
}

// FileTypeOf tells the format by the suffix of a key or file name; letter case does not matter.
func FileTypeOf(name string) (FileType, error) {
	var f FileType
	base := strings.ToLower(path.Base(name))
	switch path.Ext(base) {
	case ".gz":
		f.Compression = "gzip"
	case ".zst":
		f.Compression = "zstd"
	}
	if f.Compression != "" {
		base = strings.TrimSuffix(base, path.Ext(base))
	}
	switch path.Ext(base) {
	case ".csv":
		f.Format = "csv"
	case ".tsv":
		f.Format = "tsv"
	case ".json":
		f.Format = "json"
	case ".ndjson", ".jsonl":
		f.Format = "ndjson"
	default:
		return FileType{}, failure(events.UnknownFormat, "%s does not tell the format; end the name in .csv, .tsv, .json, .ndjson or .jsonl, "+
			"and in .gz or .zst after that if it is compressed", ending(name))
	}
	return f, nil
}

// ending quotes the end of a name, in which there may be white space that nobody sees.
func ending(name string) string {
	base := path.Base(name)
	if base != strings.TrimSpace(base) {
		return "the name " + quote(base) + ", which has white space around it,"
	}
	if ext := path.Ext(base); ext != "" {
		base = ext
	}
	return "the end of the name, " + quote(base) + ","
}

// FileError says why a file can't be read to its end. What was read before stands.
type FileError struct{ Failure events.Failure }

func (e *FileError) Error() string {
	f := e.Failure
	if f.Line == 0 {
		return fmt.Sprintf("%s: %s", f.Code, f.Reason)
	}
	return fmt.Sprintf("line %d, column %d: %s: %s", f.Line, f.Column, f.Code, f.Reason)
}

func failure(code events.Code, format string, args ...any) *FileError {
	return &FileError{events.Failure{Code: code, Reason: fmt.Sprintf(format, args...)}}
}

// signatures are the first bytes of things that people upload under a wrong name. A prefix of printable characters could begin
// the header of a CSV file, so what follows has to be binary or exact.
var signatures = []struct {
	prefix  string
	follows *regexp.Regexp // nil for anything
	name    string
	fix     string
}{
	{"\x1f\x8b", nil, "gzip", "add .gz to its name"},
	{"\x28\xb5\x2f\xfd", nil, "zstd", "add .zst to its name"},
	{"PK", regexp.MustCompile(`^(\x03\x04|\x05\x06|\x07\x08)`), "a ZIP archive or a spreadsheet", "export it as CSV"},
	{"\xd0\xcf\x11\xe0", nil, "an old Excel workbook", "export it as CSV"},
	{"PAR1", regexp.MustCompile(`^[\x00-\x08\x0e-\x1f]`), "Parquet", "export it as CSV or NDJSON"}, // a Thrift struct
	{"BZh", regexp.MustCompile(`^[1-9](1AY&SY|\x17rE8P)`), "bzip2", "compress it with gzip or zstd"},
	{"\xfd7zXZ\x00", nil, "xz", "compress it with gzip or zstd"},
	{"%PDF-", regexp.MustCompile(`^[0-9]\.[0-9][ \t]*[\r\n]`), "a PDF document", "export the table in it as CSV"},
}

const byteOrderMark = "\xef\xbb\xbf"

// mismatch holds the first bytes of the decompressed content against the format that the name promises. Head has as
// much of the beginning as is at hand, without a byte order mark.
func (f FileType) mismatch(head []byte) *FileError {
	for _, s := range signatures {
		rest, ok := bytes.CutPrefix(head, []byte(s.prefix))
		if !ok || s.follows != nil && !s.follows.Match(rest) {
			continue
		}
		if f.Compression != "" && (s.name == "gzip" || s.name == "zstd") {
			return failure(events.FormatMismatch, "the name says %s, but what is compressed there is %s again; compress it once", f, s.name)
		}
		return failure(events.FormatMismatch, "the name says %s, but the content is %s; %s", f, s.name, s.fix)
	}
	if utf16Of(head) != "" {
		return failure(events.FormatMismatch, "the content looks like UTF-16 without a byte order mark; save it as UTF-8, or declare it with the metadata charset=%s", utf16Of(head))
	}
	text := bytes.TrimLeft(head, " \t\r\n")
	if len(text) == 0 {
		return nil
	}
	first := text[0]
	line, _, _ := bytes.Cut(text, []byte("\n"))
	switch {
	case bytes.IndexByte(line, 0) >= 0 && (f.Format == "csv" || f.Format == "tsv"): // JSON has better words for it
		return failure(events.FormatMismatch, "the name says %s, but the content is not text, for it has NUL bytes; make it again, and save it as UTF-8", f)
	case first == '<' && (f.Format == "json" || f.Format == "ndjson"): // of CSV it could be the name of a column
		return failure(events.FormatMismatch, "the name says %s, but the content looks like HTML or XML; it may be what a server said instead of giving the file", f)
	case f.Format == "json" && first != '{' && first != '[' && utf8.FullRune(text): // else the decoder reads the rest of it
		what, advice := character(text)
		if advice == "" {
			advice = "a JSON file holds one object or one array"
		}
		bad := failure(events.FormatMismatch, "the name says JSON, but the content begins with %s; %s", what, advice)
		before := head[:len(head)-len(text)]
		bad.Failure.Line = int64(bytes.Count(before, []byte("\n"))) + 1
		bad.Failure.Column = int64(len(before) - bytes.LastIndexByte(before, '\n'))
		return bad
	case f.Format == "ndjson" && first == '[':
		return failure(events.FormatMismatch, "the name says NDJSON, but the content is a JSON array; name it .json")
	case (f.Format == "csv" || f.Format == "tsv") && looksJSON(text):
		return failure(events.FormatMismatch, "the name says %s, but the content looks like JSON; name it .json or .ndjson", strings.ToUpper(f.Format))
	}
	return nil
}

// looksJSON reports whether text begins as a JSON object or array does. A CSV file may have a first column called "[id]".
func looksJSON(text []byte) bool {
	if text[0] != '{' && text[0] != '[' {
		return false
	}
	next := bytes.TrimLeft(text[1:], jsonSpace)
	if len(next) == 0 {
		return true
	}
	if text[0] == '{' {
		return next[0] == '"' || next[0] == '}'
	}
	return strings.IndexByte(`"{[]`, next[0]) >= 0
}

// utf16Of returns how text without a byte order mark seems to be encoded, if every second byte of its beginning is zero, as it
// is with Latin letters: "utf-16le", "utf-16be" or "".
func utf16Of(head []byte) string {
	if len(head) < 4 {
		return ""
	}
	little, big := head[1]|head[3], head[0]|head[2]
	switch {
	case little == 0 && head[0] != 0 && head[2] != 0:
		return "utf-16le"
	case big == 0 && head[1] != 0 && head[3] != 0:
		return "utf-16be"
	}
	return ""
}
