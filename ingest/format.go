package ingest

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/flavorless/flavorless/events"
)

// Format is the format of a file's rows.
type Format string

// The formats.
const (
	CSV    Format = "csv"
	TSV    Format = "tsv"
	JSON   Format = "json"
	NDJSON Format = "ndjson"
)

// hasColumns reports whether files of the format have a header.
func (f Format) hasColumns() bool { return f == CSV || f == TSV }

// Compression is the compression of a file. It is empty for uncompressed files.
type Compression string

// The compressions.
const (
	Gzip Compression = "gzip"
	Zstd Compression = "zstd"
)

// FileType is the type of a file as its name states it.
type FileType struct {
	Format      Format
	Compression Compression
}

// String returns, for example, "csv" or "ndjson+gzip".
func (t FileType) String() string {
	if t.Compression == "" {
		return string(t.Format)
	}
	return string(t.Format) + "+" + string(t.Compression)
}

// FileTypeOf returns the type of the file with this key or name. It depends on the suffix, in any letter case.
func FileTypeOf(name string) (FileType, error) {
	base := strings.ToLower(path.Base(name))
	ext := path.Ext(base)
	compression := map[string]Compression{".gz": Gzip, ".zst": Zstd}[ext]
	if compression != "" {
		ext = path.Ext(strings.TrimSuffix(base, ext))
	}
	format, known := map[string]Format{".csv": CSV, ".tsv": TSV, ".json": JSON, ".ndjson": NDJSON, ".jsonl": NDJSON}[ext]
	if !known {
		return FileType{}, failure(events.UnknownFormat, "%s; end the name with .csv, .tsv, .json, .ndjson or .jsonl, "+
			"followed by .gz or .zst if the file is compressed", nameFault(name))
	}
	return FileType{format, compression}, nil
}

// nameFault describes why the format of a file is unknown.
func nameFault(name string) string {
	base := path.Base(name)
	switch ext := path.Ext(base); {
	case base != strings.TrimSpace(base):
		return "the file name " + quote(base) + " has white space around it"
	case ext == "":
		return "the file name " + quote(base) + " has no suffix"
	default:
		return "the suffix " + quote(ext) + " of the file name is not a known format"
	}
}

// FileError states why the rest of a file can't be read. The rows before remain valid.
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

// signature is the beginning of another type of file that is uploaded with a wrong name. If the prefix is printable, it
// could be the beginning of a CSV header, so the bytes after it are checked, too.
type signature struct {
	prefix  string
	follows *regexp.Regexp // nil for any bytes
	name    string
	fix     string
}

// signatures are compiled with the first file, because compiling them takes a tenth of a function's cold start.
var signatures = sync.OnceValue(func() []signature {
	return []signature{
		{"\x1f\x8b", nil, "gzip", "add .gz to its name"},
		{"\x28\xb5\x2f\xfd", nil, "zstd", "add .zst to its name"},
		{"PK", regexp.MustCompile(`^(\x03\x04|\x05\x06|\x07\x08)`), "a ZIP archive or a spreadsheet", "export it as CSV"},
		{"\xd0\xcf\x11\xe0", nil, "an old Excel workbook", "export it as CSV"},
		{"PAR1", regexp.MustCompile(`^[\x00-\x08\x0e-\x1f]`), "Parquet", "export it as CSV or NDJSON"}, // a Thrift struct
		{"BZh", regexp.MustCompile(`^[1-9](1AY&SY|\x17rE8P)`), "bzip2", "compress it with gzip or zstd"},
		{"\xfd7zXZ\x00", nil, "xz", "compress it with gzip or zstd"},
		{"%PDF-", regexp.MustCompile(`^[0-9]\.[0-9][ \t]*[\r\n]`), "a PDF document", "export the table in it as CSV"},
	}
})

// mismatch returns an error if the content is not of the type that the file name states. Head is the beginning of the
// decompressed content, without a byte order mark.
func (s *source) mismatch(head []byte) *FileError {
	t := s.fileType
	for _, sig := range signatures() {
		rest, ok := bytes.CutPrefix(head, []byte(sig.prefix))
		if !ok || sig.follows != nil && !sig.follows.Match(rest) {
			continue
		}
		if t.Compression != "" && (sig.name == string(Gzip) || sig.name == string(Zstd)) {
			return mismatch("the file name says %s, but the decompressed content is %s, too; compress it only once",
				t, sig.name)
		}
		return mismatch("the file name says %s, but the content is %s; %s", t, sig.name, sig.fix)
	}
	if charset := utf16Of(head); charset != "" {
		return mismatch("the content looks like UTF-16 without a byte order mark; "+
			"save the file as UTF-8, or declare its encoding with the metadata charset=%s", charset)
	}
	text := bytes.TrimLeft(head, jsonSpace)
	if len(text) == 0 {
		return nil
	}
	first := text[0]
	line, _, _ := bytes.Cut(text, []byte("\n"))
	switch {
	case t.Format.hasColumns() && bytes.IndexByte(line, 0) >= 0: // the JSON decoders have a better reason
		return mismatch("the file name says %s, but the content has NUL bytes; save the file as UTF-8 text", t)
	case t.Format.hasColumns() && looksJSON(text):
		return mismatch("the file name says %s, but the content looks like JSON; end the name with .json or .ndjson",
			strings.ToUpper(string(t.Format)))
	case !t.Format.hasColumns() && first == '<': // in CSV, it could be the name of a column
		return mismatch("the file name says %s, but the content looks like HTML or XML; "+
			"check whether it is the error page of a server", t)
	case t.Format == NDJSON && first == '[':
		return mismatch("the file name says NDJSON, but the content is a JSON array; end the name with .json")
	case t.Format == JSON && first != '{' && first != '[' && utf8.FullRune(text): // otherwise the decoder reads more of it
		name, advice := s.character(text)
		if advice == "" {
			advice = "a JSON file holds one object or one array"
		}
		bad := mismatch("the file name says JSON, but the content begins with %s; %s", name, advice)
		before := head[:len(head)-len(text)]
		bad.Failure.Line = int64(bytes.Count(before, []byte("\n"))) + 1
		bad.Failure.Column = int64(len(before) - bytes.LastIndexByte(before, '\n'))
		return bad
	}
	return nil
}

func mismatch(format string, args ...any) *FileError {
	return failure(events.FormatMismatch, format, args...)
}

// looksJSON reports whether text begins like a JSON object or array. A CSV file may have a first column "[id]".
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

// utf16Of returns "utf-16le" or "utf-16be" if every second byte at the beginning is zero, as in Latin text in UTF-16
// without a byte order mark, and "" otherwise.
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
