package ingest_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
)

// readWith reads a file with metadata.
func readWith(t *testing.T, body io.Reader, name string, metadata map[string]string) outcome {
	t.Helper()
	o, err := ingest.ParseOptions(metadata)
	if err != nil {
		t.Fatalf("ParseOptions(%q): %v", metadata, err)
	}
	got, err := tryRead(t, body, name, o)
	if err != nil {
		t.Fatalf("Read(%s): %v", name, err)
	}
	return got
}

func encode(t *testing.T, e encoding.Encoding, text string) []byte {
	t.Helper()
	b, err := e.NewEncoder().Bytes([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// encodedFiles have faults whose positions must be the same in the encoded file and in UTF-8.
var encodedFiles = map[string]string{
	"a.csv":    "person,flavor\r\nZoë,crème brûlée\r\n,bad\r\n\"Jürgen\",Müsli\r\nAndré,\"a\"b\r\nÅsa,blåbär\r\n",
	"a.tsv":    "flavor\tperson\nglacé\tZoë\nü\n",
	"a.json":   "[{\"person\":\"Zoë\",\"flavor\":\"é\"},\n {\"person\":\"É\",\"flavor\":7}]",
	"b.json":   "{\"Zoë\": \"é\",\n \"Å\": \"ö\", \"É\": [1]}",
	"a.ndjson": "{\"person\":\"Zoë\",\"flavor\":\"é\"}\n\n{\"person\":\"\",\"flavor\":\"ä\"}\n",
	"bad.csv":  "naam,smaak\nZoë,é\n",
	"bad.json": "{\"Zoë\": \"é\",\n \"Å\" \"ö\"}",
}

func TestEncodingsReadAsUTF8(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		encoding encoding.Encoding
		metadata map[string]string
	}{
		{"UTF-16LE with BOM", unicode.UTF16(unicode.LittleEndian, unicode.UseBOM), nil},
		{"UTF-16BE with BOM", unicode.UTF16(unicode.BigEndian, unicode.UseBOM), nil},
		{"a BOM has precedence", unicode.UTF16(unicode.BigEndian, unicode.UseBOM),
			map[string]string{"charset": "windows-1252"}},
		{"UTF-8 BOM has precedence", unicode.UTF8BOM, map[string]string{"charset": "latin1"}},
		{"UTF-16LE declared", unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM),
			map[string]string{"charset": "UTF-16LE"}},
		{"UTF-16 is little-endian", unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM),
			map[string]string{"content-type": "text/csv; charset=utf-16"}},
		{"UTF-16BE declared", unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM),
			map[string]string{"content-type": `application/json;charset="UTF-16BE"`}},
		{"Windows-1252", charmap.Windows1252, map[string]string{"content-type": "text/csv; charset=windows-1252"}},
		{"cp1252", charmap.Windows1252, map[string]string{"charset": " CP1252 "}},
		{"Latin-1", charmap.ISO8859_1, map[string]string{"charset": "ISO-8859-1"}},
		{"metadata before Content-Type", charmap.Macintosh,
			map[string]string{"charset": "macintosh", "content-type": "text/csv; charset=utf-8"}},
		{"CP437", charmap.CodePage437, map[string]string{"charset": "ibm437"}},
		{"UTF-8 declared", unicode.UTF8, map[string]string{"content-type": "text/csv; charset=utf-8"}},
		{"invalid media type", unicode.UTF8, map[string]string{"content-type": "csv;;x"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for name, text := range encodedFiles {
				want := readWith(t, strings.NewReader(text), name, nil)
				if tt.encoding == charmap.CodePage437 {
					text = strings.NewReplacer("ë", "é").Replace(text)
					want = readWith(t, strings.NewReader(text), name, nil)
				}
				encoded := encode(t, tt.encoding, text)
				start := int64(0) // length of the byte order mark in UTF-8
				if tt.encoding == unicode.UTF8BOM || strings.HasSuffix(tt.name, "BOM") || strings.HasPrefix(tt.name, "a BOM") {
					start = 3
				}
				for reader, body := range map[string]io.Reader{
					"at once": bytes.NewReader(encoded), "by bytes": iotest.OneByteReader(bytes.NewReader(encoded)),
				} {
					got := readWith(t, body, name, tt.metadata)
					for i := range got.Rows {
						got.Rows[i].Offset -= start
					}
					for i := range got.Rejects {
						got.Rejects[i].Offset -= start
					}
					if f := got.Failure; f != nil {
						f.Offset -= start
						f.Reason, _, _ = strings.Cut(f.Reason, " (the file is read as ")
						if f.Line == 1 { // the line with the mark
							f.Column = want.Failure.Column
						}
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("%s %s (-in UTF-8 +as encoded):\n%s", name, reader, diff)
					}
				}
			}
		})
	}
}

func TestWrongCharset(t *testing.T) {
	t.Parallel()
	const text = "person,flavor\nandy,mint\n"
	gz := func(b []byte) string {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		if _, err := z.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return packed.String()
	}
	le, be := unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM), unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)
	for _, tt := range []struct {
		name, file, content string
		metadata            map[string]string
		code                events.Code
		says                string
	}{
		{"UTF-16LE without a mark", "a.csv", string(encode(t, le, text)), nil, events.FormatMismatch, "charset=utf-16le"},
		{"UTF-16BE without a mark", "a.ndjson", string(encode(t, be, text)), nil, events.FormatMismatch, "charset=utf-16be"},
		{"UTF-16LE without a mark in gzip", "a.csv.gz", gz(encode(t, le, text)), nil, events.FormatMismatch,
			"charset=utf-16le"},
		{"UTF-32LE", "a.csv", "\xff\xfe\x00\x00p\x00\x00\x00", nil, events.FormatMismatch, "UTF-32"},
		{"UTF-32BE", "a.json", "\x00\x00\xfe\xff\x00\x00\x00{", nil, events.FormatMismatch, "UTF-32"},
		{"UTF-8 declared as UTF-16", "a.csv", text, map[string]string{"charset": "utf-16"}, events.BadHeader,
			"read as utf-16"},
		{"UTF-16 declared as Windows-1252", "a.csv", string(encode(t, le, text)),
			map[string]string{"charset": "windows-1252"}, events.FormatMismatch, "read as windows-1252"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := readWith(t, strings.NewReader(tt.content), tt.file, tt.metadata)
			if got.Failure == nil || got.Failure.Code != tt.code || !strings.Contains(got.Failure.Reason, tt.says) ||
				got.Failure.Line != 1 {
				t.Errorf("failure = %+v, want %s on line 1 with %q in the reason", got.Failure, tt.code, tt.says)
			}
		})
	}
}

// TestInvalidCharactersAreNotReplaced checks that bytes that are not characters reject their row, and only that.
func TestInvalidCharactersAreNotReplaced(t *testing.T) {
	t.Parallel()
	mark := "\xff\xfe"
	unit := func(units ...uint16) string {
		var b strings.Builder
		for _, u := range units {
			b.WriteByte(byte(u))
			b.WriteByte(byte(u >> 8))
		}
		return b.String()
	}
	le := unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)
	text := func(s string) string { return string(encode(t, le, s)) }
	const (
		undeclared = "upload it with metadata such as charset=windows-1252"
		marked     = "not characters in utf-16le, the charset of the file; correct the bytes, or save the file as UTF-8"
		half       = "half of a character in utf-16"
	)
	declared := func(name string) string {
		return "not characters in " + name + ", the charset of the file; correct the bytes, or declare the correct charset"
	}
	greek, utf16be := map[string]string{"charset": "windows-1253"}, map[string]string{"charset": "utf-16be"}
	for name, tt := range map[string]struct {
		content  string
		metadata map[string]string
		rows     string
		reject   string // part of the reason; "" for no rejected row
	}{
		"a high surrogate alone": {mark + text("person,flavor\nan") + unit(0xd800) + text("dy,mint\nbob,nut\n"), nil,
			"bob", marked},
		"a low surrogate alone": {mark + text("person,flavor\nan") + unit(0xdc00) + text("dy,mint\nbob,nut\n"), nil,
			"bob", marked},
		"surrogates in the wrong order": {mark + text("person,flavor\n") + unit(0xdc00, 0xd83d) + text(",mint\nbob,nut\n"),
			nil, "bob", marked},
		"a pair": {mark + text("person,flavor\n") + unit(0xd83c, 0xdf66) + text(",mint\nbob,nut\n"),
			nil, "🍦 bob", ""},
		"an odd byte at the end":      {mark + text("person,flavor\nandy,mint\nbob,nut") + "x", nil, "andy", half},
		"an odd byte on its own line": {mark + text("person,flavor\nandy,mint\n") + "\n", nil, "andy", half},
		"an odd byte after a quote":   {mark + text("person,flavor\nandy,mint\nbob,\"nut\"") + "\n", nil, "andy", half},
		"an odd byte, big-endian": {"\x00p\x00e\x00r\x00s\x00o\x00n\x00,\x00f\x00l\x00a\x00v\x00o\x00r\x00\n\x00",
			utf16be, "", half},
		"half a pair at the end": {mark + text("person,flavor\nandy,mint\nbob,nut") + unit(0xd83c), nil, "andy", half},
		"a low surrogate at the end": {mark + text("person,flavor\nandy,mint\nbob,nut") + unit(0xdc00), nil, "andy",
			marked},
		"U+FFFD itself stays": {mark + text("person,flavor\nandy\ufffd,mint\n"), nil, "andy\ufffd", ""},
		"not in Windows-1253": {"person,flavor\nan\xffdy,mint\nbob,nut\n", greek, "bob", declared("windows-1253")},
		"quoted, not in Windows-1253": {"person,flavor\nandy,\"mi\n\xfft\"\nbob,nut\n", greek, "bob",
			declared("windows-1253")},
		"not in Windows-1252": {"person,flavor\nan\x81dy,mint\nbob,nut\n", map[string]string{"charset": "cp1252"},
			"bob", declared("windows-1252")},
		"undeclared Windows-1252": {"person,flavor\nZo\xeb,mint\nbob,nut\n", nil, "bob", undeclared},
	} {
		t.Run(name, func(t *testing.T) {
			got := readWith(t, strings.NewReader(tt.content), "a.csv", tt.metadata)
			var people []string
			for _, u := range got.Rows {
				people = append(people, u.Person)
			}
			rejects := 0
			if tt.reject != "" {
				rejects = 1
			}
			if strings.Join(people, " ") != tt.rows || len(got.Rejects) != rejects || got.Failure != nil {
				t.Errorf("got persons %q, rejects %+v, failure %+v, want %q and %d rejects", people, got.Rejects, got.Failure,
					tt.rows, rejects)
			}
			for _, r := range got.Rejects {
				if r.Code != events.InvalidUTF8 || !strings.Contains(r.Reason, tt.reject) {
					t.Errorf("reject = %+v, want %s with %q in the reason", r, events.InvalidUTF8, tt.reject)
				}
			}
		})
	}
}

// TestInvalidCharactersInJSON reads bytes that are not characters in the charset, in and outside of JSON strings.
func TestInvalidCharactersInJSON(t *testing.T) {
	t.Parallel()
	greek, utf16be := map[string]string{"charset": "windows-1253"}, map[string]string{"charset": "utf-16be"}
	for _, tt := range []struct {
		name, content string
		metadata      map[string]string
		reason        string
	}{
		{"a.ndjson", "{\"person\":\"a\xff\"}", greek, "person has bytes that are not characters in windows-1253"},
		{"a.ndjson", "{\"person\":\"\\n\xff\"}", greek, "the text has bytes that are not characters in windows-1253"},
		{"a.ndjson", "\xff{}", greek, "a byte that is not a character in windows-1253; correct the bytes"},
		{"a.ndjson", "\x00{\x00", utf16be, "half of a character in utf-16"},
		{"a.json", "\xff{}", greek, "a byte that is not a character in windows-1253; correct the bytes"},
		{"a.json", "{\"a\":\xff}", greek, "found a byte that is not a character in windows-1253 instead"},
		{"a.json", "\x00[\x00]\x00", utf16be, "half of a character in utf-16"},
	} {
		got := readWith(t, strings.NewReader(tt.content), tt.name, tt.metadata)
		var reason string
		if got.Failure != nil {
			reason = got.Failure.Reason
		} else if len(got.Rejects) == 1 {
			reason = got.Rejects[0].Reason
		}
		if !strings.Contains(reason, tt.reason) {
			t.Errorf("reading %s %q: reason = %q, want %q in it", tt.name, tt.content, reason, tt.reason)
		}
	}
}

// TestEncodedFilesResume starts reading a long encoded file at different rows.
func TestEncodedFilesResume(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	text.WriteString("person,flavor\n")
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 20_000 {
		fmt.Fprintf(&text, "pérson %d,%s\n", i, strings.Repeat("ü🍦x"[:random.IntN(2)*2], random.IntN(9)+1)+"x")
	}
	encoded := encode(t, unicode.UTF16(unicode.LittleEndian, unicode.UseBOM), text.String())
	want := readWith(t, bytes.NewReader(encoded), "a.csv", nil)
	for i := 0; i < len(want.Rows); i += 997 {
		if got := readFrom(t, encoded, "a.csv", want.Rows[i].Offset); !slices.Equal(got.Rows, want.Rows[i:]) {
			t.Fatalf("OpenAt row %d: got %d other rows than the whole file, which has %d from there", i, len(got.Rows),
				len(want.Rows)-i)
		}
	}
}

func TestBrokenBodyOfAnEncodedFile(t *testing.T) {
	t.Parallel()
	encoded := encode(t, unicode.UTF16(unicode.LittleEndian, unicode.UseBOM), "person,flavor\nandy,mint\n")
	broken := errors.New("connection reset")
	for n := range encoded {
		body := io.MultiReader(bytes.NewReader(encoded[:n]), iotest.ErrReader(broken))
		_, err := ingest.Read(body, "a.csv", ingest.Options{}, func(events.Update) error { return nil },
			func(*events.Reject) error { return nil })
		if !errors.Is(err, broken) {
			t.Errorf("after %d bytes: error %v, want %v", n, err, broken)
		}
	}
}
