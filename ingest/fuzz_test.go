package ingest_test

import (
	"bytes"
	stdgzip "compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
)

// seedLimit is the maximum length of seeds. Fuzzing works best with short seeds; TestCorpus reads the long files.
const seedLimit = 64 << 10

// corpusSeeds returns the files of the corpus with a suffix. Compressed files are decompressed as far as possible.
func corpusSeeds(f *testing.F, suffix string) map[string][]byte {
	f.Helper()
	seeds := map[string][]byte{}
	for _, name := range corpusFiles(f) {
		content, err := os.ReadFile(filepath.Join(corpus, name))
		if err != nil {
			f.Fatal(err)
		}
		lower := strings.ToLower(name)
		if !strings.HasSuffix(lower, suffix) && !strings.Contains(lower, suffix+".") {
			continue
		}
		if !strings.HasSuffix(lower, suffix) {
			content = decompress(path.Ext(lower), content)
		}
		if len(content) <= seedLimit {
			seeds[name] = content
		}
	}
	if len(seeds) == 0 {
		f.Fatalf("the corpus has no files with suffix %s", suffix)
	}
	return seeds
}

// decompress returns the content before a fault.
func decompress(suffix string, content []byte) []byte {
	in := io.Reader(bytes.NewReader(nil)) // of other suffixes
	switch suffix {
	case ".gz":
		z, err := stdgzip.NewReader(bytes.NewReader(content))
		if err != nil {
			return nil
		}
		in = z
	case ".zst":
		z, err := zstd.NewReader(bytes.NewReader(content), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil
		}
		defer z.Close()
		in = z
	}
	plain, _ := io.ReadAll(io.LimitReader(in, seedLimit+1))
	return plain
}

// fuzzRead fuzzes a format. It checks that names are clean, that lines match offsets, that the outcome is the same if
// the bytes arrive one by one, and that reading can start at each row. Oracle compares the outcome with that of another
// implementation.
func fuzzRead(f *testing.F, file string, oracle func(t *testing.T, content []byte, got outcome), seeds ...string) {
	for _, g := range grammars {
		if g.file == file {
			f.Add([]byte(g.start+strings.Join(g.rows, g.between[0])+g.end), uint16(0))
		}
	}
	for _, s := range seeds {
		f.Add([]byte(s), uint16(1))
	}
	for _, content := range corpusSeeds(f, path.Ext(file)) {
		f.Add(content, uint16(2))
	}
	f.Fuzz(func(t *testing.T, content []byte, at uint16) {
		got := readAll(t, bytes.NewReader(content), file)
		encoded, content := content, inUTF8(content)
		for _, u := range got.Rows {
			clean(t, u.Person)
			if !u.Remove {
				clean(t, u.Flavor)
			} else if u.Flavor != "" {
				t.Errorf("got %+v, want a removal without a flavor", u)
			}
			if u.Offset >= int64(len(content)) || strings.IndexByte(" \n,", content[u.Offset]) >= 0 &&
				!strings.HasPrefix(file, "a.csv") && !strings.HasPrefix(file, "a.tsv") {
				t.Errorf("no row begins at the offset of %+v", u)
			}
		}
		for _, r := range got.Rejects {
			if line := int64(bytes.Count(content[:r.Offset], []byte("\n"))) + 1; r.Line != line {
				t.Errorf("line of %+v, want %d", r, line)
			}
			if length := lineLength(content, r.Offset); r.Column > length+1 {
				t.Errorf("column of %+v, want at most %d", r, length+1)
			}
		}
		if b := got.Failure; b != nil &&
			(b.Code == "" || b.Reason == "" || b.Offset < 0 || b.Offset > int64(len(content)) || b.Line < 1 || b.Column < 1) {
			t.Errorf("failure = %+v, want a code, a reason and a valid position", b)
		}
		oracle(t, content, got)
		readOn(t, encoded, file, got, int(at))
		if len(content) > 10_000 {
			return
		}
		bytewise := readAll(t, iotest.OneByteReader(bytes.NewReader(encoded)), file)
		if diff := cmp.Diff(got, bytewise); diff != "" {
			t.Errorf("byte by byte (-whole +bytewise):\n%s", diff)
		}
	})
}

// inUTF8 converts a file with a UTF-16 byte order mark to UTF-8, with 0xff for unpaired surrogates. It returns other
// files unchanged.
func inUTF8(content []byte) []byte {
	order := binary.ByteOrder(binary.LittleEndian)
	switch {
	case bytes.HasPrefix(content, []byte("\xff\xfe\x00\x00")):
		return content
	case bytes.HasPrefix(content, []byte("\xfe\xff")):
		order = binary.BigEndian
	case !bytes.HasPrefix(content, []byte("\xff\xfe")):
		return content
	}
	var text []byte
	for rest := content; len(rest) > 0; {
		if len(rest) == 1 {
			return append(text, 0xff)
		}
		r := rune(order.Uint16(rest))
		rest = rest[2:]
		if utf16.IsSurrogate(r) && len(rest) > 1 {
			if pair := utf16.DecodeRune(r, rune(order.Uint16(rest))); pair != utf8.RuneError {
				text, rest = utf8.AppendRune(text, pair), rest[2:]
				continue
			}
		}
		if utf16.IsSurrogate(r) {
			text = append(text, 0xff)
		} else {
			text = utf8.AppendRune(text, r)
		}
	}
	return text
}

// lineLength returns the number of bytes of the line at an offset.
func lineLength(content []byte, offset int64) int64 {
	start := bytes.LastIndexByte(content[:offset], '\n') + 1
	end := bytes.IndexByte(content[start:], '\n')
	if end < 0 {
		end = len(content) - start
	}
	return int64(end)
}

// readOn starts reading at one of the rows, and compares the outcome with that of the whole file.
func readOn(t *testing.T, content []byte, file string, whole outcome, at int) {
	t.Helper()
	var offsets []int64
	for _, u := range whole.Rows {
		offsets = append(offsets, u.Offset)
	}
	for _, r := range whole.Rejects {
		offsets = append(offsets, r.Offset)
	}
	if len(offsets) == 0 {
		return
	}
	from := offsets[at%len(offsets)]
	var want outcome
	for _, u := range whole.Rows {
		if u.Offset >= from {
			want.Rows = append(want.Rows, u)
		}
	}
	for _, r := range whole.Rejects {
		if r.Offset >= from {
			want.Rejects = append(want.Rejects, r)
		}
	}
	want.Failure = whole.Failure
	if diff := cmp.Diff(want, readFrom(t, content, file, from)); diff != "" {
		t.Errorf("OpenAt %d (-whole +rest):\n%s", from, diff)
	}
	if diff := cmp.Diff(want, continueFrom(t, content, file, from)); diff != "" {
		t.Errorf("Continue at %d (-whole +rest):\n%s", from, diff)
	}
}

func readFrom(t *testing.T, content []byte, file string, from int64) outcome {
	t.Helper()
	rows, err := ingest.OpenAt(bytes.NewReader(content), file, ingest.Options{}, from)
	if err != nil {
		t.Fatalf("opening at %d: %v", from, err)
	}
	return rest(t, rows)
}

// continueFrom reads up to the row at an offset, and continues with another reader that gets only the rest of the file
// and the state of the first reader.
func continueFrom(t *testing.T, content []byte, file string, from int64) outcome {
	t.Helper()
	first, err := ingest.Open(bytes.NewReader(content), file, ingest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	for at := int64(-1); at != from; {
		u, reject, err := first.Next()
		if err != nil {
			t.Fatalf("reading up to %d: %v", from, err)
		}
		if at = u.Offset; reject != nil {
			at = reject.Offset
		}
	}
	state := first.State(from)
	if converted := !bytes.Equal(content, inUTF8(content)); (state == nil) != converted {
		t.Fatalf("%s: State(%d) = %+v, want nil: %v", file, from, state, converted)
	}
	if state == nil {
		return readFrom(t, content, file, from)
	}
	if from > 0 { // continuations are never at offset 0
		object := events.Object{Bucket: "b", Key: file, ETag: "e", Sequencer: "0a", Size: int64(len(content)),
			Time: time.UnixMilli(1)}
		m, err := events.Continuation{Object: object, Offset: from, Reader: state}.Message()
		if err != nil {
			t.Fatal(err)
		}
		c, err := events.DecodeContinuation(m.Body)
		if err != nil {
			t.Fatalf("the state %+v at %d: %v", state, from, err)
		}
		state = c.Reader
	}
	second, err := ingest.Continue(bytes.NewReader(content[from:]), file, ingest.Options{}, from, *state)
	if err != nil {
		t.Fatalf("continuing at %d: %v", from, err)
	}
	return rest(t, second)
}

// rest reads the remaining rows.
func rest(t *testing.T, rows *ingest.Rows) (got outcome) {
	t.Helper()
	defer rows.Close()
	for {
		u, reject, err := rows.Next()
		var bad *ingest.FileError
		switch {
		case errors.Is(err, io.EOF):
			return got
		case errors.As(err, &bad):
			got.Failure = &bad.Failure
			return got
		case err != nil:
			t.Fatalf("Next: %v", err)
		case reject != nil:
			got.Rejects = append(got.Rejects, *reject)
		default:
			got.Rows = append(got.Rows, u)
		}
	}
}

func clean(t *testing.T, name string) {
	t.Helper()
	if again, bad := events.CleanName(name, "name", "missing"); bad != nil || again != name {
		t.Errorf("CleanName(%q) = %q, %v, want no change", name, again, bad)
	}
}

func FuzzReadCSV(f *testing.F) {
	fuzzRead(f, "a.csv", asCSV(",;\t"), header, header+"andy,\"vanilla", "person;flavor\na;b\n",
		"\xff\xfep\x00e\x00r\x00s\x00o\x00n"+
			"\x00,\x00f\x00l\x00a\x00v\x00o\x00r\x00"+
			"\n\x00\xb1\x03,\x00\x3c\xd8\x66\xdf\n\x00\x3c\xd8,\x00", "flavor,action,person\n,remove,x")
}

func FuzzReadTSV(f *testing.F) { fuzzRead(f, "a.tsv", asCSV("\t"), "person\tflavor\nandy\t\"") }

func FuzzReadJSON(f *testing.F) {
	fuzzRead(f, "a.json", asJSON, `{"andy":"vanilla",`, `{"andy"`, `{"a":"b"}{"c":"d"}`, `{} x`, `{"person":"a","b":null}`,
		"[\n{}\n", `[{"p\u0065rson":"\ud83c\udf66","flavor":null}]`, "[[],{},0]",
		`{"status":"ok","data":[{"Person":"a","flavor":"b"}],"next":null}`, `{"a":{"flavor":"x","b":[{"c":1}]}}`,
		`{"a":{"flavor":"x"},"b":["c"],"d":[1,{}]}`,
		`{"\u0070ERSON ":"a"}`, "{\"a\":\"b\",}\x1a", "[1,,2]", "[[1,],{\"x\":1,}]", "{“a”:1}", "{\"a\":\"\\\x1b\"}",
		"[\u00a0\u0085\u2028]")
}

func FuzzReadNDJSON(f *testing.F) {
	fuzzRead(f, "a.ndjson", asLines, "\ufeff \ufeff\ufeff\n\ufeff\ufeff7",
		"{\"person\":\"a\",\"flavor\":\"b\"}\r\n{\"person\":\"a\",\n\n", `{"person":"\u00e4","action":"remove"}`)
}
