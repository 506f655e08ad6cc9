package ingest_test

import (
	"bytes"
	stdgzip "compress/gzip"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
)

// seedLimit keeps long files of the corpus from the seeds: a fuzzer is at its best with short ones, and TestCorpus reads
// the others.
const seedLimit = 64 << 10

// corpusSeeds gives the files of the corpus that have a suffix; compressed ones of it, too, undone as far as that goes.
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
		f.Fatalf("the corpus has no %s", suffix)
	}
	return seeds
}

// decompress gives what comes out before a fault.
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

// fuzzRead feeds a format with anything. Beyond what readAll checks: names are clean, a row is found at its offset's
// line, the outcome is the same if the bytes come one by one, and from each row on the rest can be read alone.
//
// Oracle holds the outcome against somebody else's.
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
		for _, u := range got.Rows {
			clean(t, u.Person)
			if !u.Remove {
				clean(t, u.Flavor)
			} else if u.Flavor != "" {
				t.Errorf("%+v removes and sets", u)
			}
			if u.Offset >= int64(len(content)) || strings.IndexByte(" \n,", content[u.Offset]) >= 0 && !strings.HasPrefix(file, "a.csv") && !strings.HasPrefix(file, "a.tsv") {
				t.Errorf("%+v does not begin there", u)
			}
		}
		for _, r := range got.Rejects {
			if line := int64(bytes.Count(content[:r.Offset], []byte("\n"))) + 1; r.Line != line {
				t.Errorf("%+v is on line %d", r, line)
			}
			if length := lineLength(content, r.Offset); r.Column > length+1 {
				t.Errorf("%+v: its line has only %d bytes", r, length)
			}
		}
		if b := got.Failure; b != nil && (b.Code == "" || b.Reason == "" || b.Offset < 0 || b.Offset > int64(len(content)) || b.Line < 1 || b.Column < 1) {
			t.Errorf("failure %+v is incomplete", b)
		}
		oracle(t, content, got)
		readOn(t, content, file, got, int(at))
		if len(content) > 10_000 {
			return
		}
		bytewise := readAll(t, iotest.OneByteReader(bytes.NewReader(content)), file)
		if diff := cmp.Diff(got, bytewise); diff != "" {
			t.Errorf("byte by byte (-whole +bytewise):\n%s", diff)
		}
	})
}

// lineLength is how many bytes the line has on which an offset lies.
func lineLength(content []byte, offset int64) int64 {
	start := bytes.LastIndexByte(content[:offset], '\n') + 1
	end := bytes.IndexByte(content[start:], '\n')
	if end < 0 {
		end = len(content) - start
	}
	return int64(end)
}

// readOn opens the file at one of its rows. What is read from there is what the whole reading had from that row on.
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
		t.Errorf("from %d on (-whole +resumed):\n%s", from, diff)
	}
}

func readFrom(t *testing.T, content []byte, file string, from int64) (got outcome) {
	t.Helper()
	rows, err := ingest.OpenAt(bytes.NewReader(content), file, from)
	if err != nil {
		t.Fatalf("opening at %d: %v", from, err)
	}
	defer rows.Close()
	for {
		u, reject, err := rows.Next()
		switch {
		case errors.Is(err, io.EOF):
			return got
		case err != nil:
			bad := new(ingest.FileError)
			if !errors.As(err, &bad) {
				t.Fatalf("reading from %d on: %v", from, err)
			}
			got.Failure = &bad.Failure
			return got
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
		t.Errorf("%q is not clean: %q, %v", name, again, bad)
	}
}

func FuzzReadCSV(f *testing.F) {
	fuzzRead(f, "a.csv", asCSV, header, header+"andy,\"vanilla", "person;flavor\na;b\n", "flavor,action,person\n,remove,x")
}

func FuzzReadTSV(f *testing.F) { fuzzRead(f, "a.tsv", asCSV, "person\tflavor\nandy\t\"") }

func FuzzReadJSON(f *testing.F) {
	fuzzRead(f, "a.json", asJSON, `{"andy":"vanilla",`, `{"andy"`, `{"a":"b"}{"c":"d"}`, `{} x`, `{"person":"a","b":null}`,
		"[\n{}\n", `[{"p\u0065rson":"\ud83c\udf66","flavor":null}]`, "[[],{},0]")
}

func FuzzReadNDJSON(f *testing.F) {
	fuzzRead(f, "a.ndjson", asLines, "\ufeff \ufeff\ufeff\n\ufeff\ufeff7", "{\"person\":\"a\",\"flavor\":\"b\"}\r\n{\"person\":\"a\",\n\n", `{"person":"\u00e4","action":"remove"}`)
}

// asCSV holds what was read against what encoding/csv makes of all of it. (It is used for each row that is not plain.)
func asCSV(t *testing.T, content []byte, got outcome) {
	if got.Failure != nil {
		return
	}
	content = bytes.TrimPrefix(content, []byte("\ufeff"))
	for _, comma := range ",;\t" {
		in := csv.NewReader(bytes.NewReader(content))
		in.Comma, in.FieldsPerRecord = comma, -1
		records, err := in.ReadAll()
		if err != nil || len(records) == 0 || !slices.ContainsFunc(records[0], func(s string) bool { return strings.Contains(strings.ToLower(s), "person") }) || len(records[0]) < 2 {
			continue // stray quotes, which are rejected row by row; or another separator
		}
		if n := len(got.Rows) + len(got.Rejects); n != len(records)-1 {
			t.Errorf("%d rows, encoding/csv has %d", n, len(records)-1)
		}
		return
	}
}

// asJSON holds the number of rows, and whether there is a failure, against encoding/json.
func asJSON(t *testing.T, content []byte, got outcome) {
	content = bytes.TrimLeft(bytes.TrimPrefix(content, []byte("\ufeff")), " \t\r\n")
	if len(content) == 0 || content[0] != '{' && content[0] != '[' {
		return
	}
	if valid := json.Valid(content); valid != (got.Failure == nil) {
		t.Errorf("valid JSON: %v, but failure %+v", valid, got.Failure)
	} else if !valid {
		return
	}
	in := json.NewDecoder(bytes.NewReader(content))
	_, err := in.Token()
	n := 0
	for ; err == nil && in.More(); n++ {
		if content[0] == '{' {
			_, err = in.Token()
		}
		if err == nil {
			err = in.Decode(new(json.RawMessage))
		}
	}
	if rows := len(got.Rows) + len(got.Rejects); err != nil || rows != n {
		t.Errorf("%d rows, encoding/json has %d (%v)", rows, n, err)
	}
}

// asLines holds the number of rows against the number of lines, and their form against encoding/json.
func asLines(t *testing.T, content []byte, got outcome) {
	if got.Failure != nil {
		return
	}
	lines := 0
	for line := range bytes.Lines(bytes.TrimPrefix(content, []byte("\ufeff"))) {
		if len(strings.Trim(string(line), " \t\r\n\ufeff")) > 0 {
			lines++
		}
	}
	if n := len(got.Rows) + len(got.Rejects); n != lines {
		t.Errorf("%d rows on %d lines", n, lines)
	}
	for _, u := range got.Rows {
		line, _, _ := bytes.Cut(content[u.Offset:], []byte("\n"))
		if !json.Valid(line) {
			t.Errorf("%+v was accepted of %q, which is not valid", u, line)
		}
	}
}

// FuzzReadGzip holds reading against the decompressor of the standard library.
func FuzzReadGzip(f *testing.F) {
	for _, content := range compressedSeeds(f, ".gz") {
		f.Add(content)
	}
	f.Add([]byte("\x1f\x8b\bA000000\x030\x00\x00\x00\x00\x00\x00\x00\x00")) // found
	f.Fuzz(func(t *testing.T, content []byte) {
		fuzzCompressed(t, content, ".gz", func() ([]byte, error) {
			for i := range max(len(content)-3, 0) { // RFC 1952, section 2.3.1.2: such a header is an error, which the library lets pass
				if string(content[i:i+3]) == "\x1f\x8b\x08" && content[i+3]>>5 != 0 {
					return nil, errUndecided
				}
			}
			z, err := stdgzip.NewReader(bytes.NewReader(content))
			if err != nil {
				return nil, err
			}
			return io.ReadAll(io.LimitReader(z, seedLimit+1))
		}, func() []byte { return compress(t, ".gz", content) })
	})
}

// FuzzReadZstd holds reading against one call for all of it.
func FuzzReadZstd(f *testing.F) {
	for _, content := range compressedSeeds(f, ".zst") {
		f.Add(content)
	}
	all, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(8<<20))
	if err != nil {
		f.Fatal(err)
	}
	pack, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(32<<10))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		fuzzCompressed(t, content, ".zst", func() ([]byte, error) { return all.DecodeAll(content, nil) },
			func() []byte { return pack.EncodeAll(content, nil) })
	})
}

var errUndecided = errors.New("the two may differ here")

func compressedSeeds(f *testing.F, suffix string) (seeds [][]byte) {
	seeds = append(seeds, compress(f, suffix, []byte(header+"andy,vanilla\n")), compress(f, suffix, nil))
	for _, name := range corpusFiles(f) {
		content, err := os.ReadFile(filepath.Join(corpus, name))
		if err != nil {
			f.Fatal(err)
		}
		if strings.HasSuffix(name, ".csv"+suffix) && len(content) < 4096 && len(decompress(suffix, content)) < 4096 {
			seeds = append(seeds, content)
		}
	}
	return seeds
}

// fuzzCompressed: what decompresses is read like what it decompresses to, and what does not has a failure.
func fuzzCompressed(t *testing.T, content []byte, suffix string, plain func() ([]byte, error), packed func() []byte) {
	got := readAll(t, bytes.NewReader(content), "a.csv"+suffix)
	if diff := cmp.Diff(got, readAll(t, iotest.HalfReader(bytes.NewReader(content)), "a.csv"+suffix)); diff != "" {
		t.Errorf("by halves (-whole +halves):\n%s", diff)
	}
	file, err := plain()
	switch {
	case len(content) == 0 || len(file) > seedLimit || errors.Is(err, errUndecided): // an empty file is one without rows
	case err != nil && got.Failure == nil:
		t.Errorf("%v, and yet there is no failure", err)
	case err == nil && got.Failure != nil && got.Failure.Code == events.CorruptCompression:
		if !strings.Contains(got.Failure.Reason, "window") {
			t.Errorf("%+v, but it is whole", got.Failure)
		}
	case err == nil:
		if diff := cmp.Diff(readAll(t, bytes.NewReader(file), "a.csv"), got, withoutReasons); diff != "" {
			t.Errorf("(-plain +compressed):\n%s", diff)
		}
	}
	// The other way round: whatever the content is as CSV, compressed it is the same.
	if len(content) < 10_000 {
		want := readAll(t, bytes.NewReader(content), "a.csv")
		if diff := cmp.Diff(want, readAll(t, bytes.NewReader(packed()), "a.csv"+suffix), withoutReasons); diff != "" && len(content) > 0 {
			t.Errorf("compressed (-plain +compressed):\n%s", diff)
		}
	}
}

// FuzzFormatOf: a format is told by the end of a name alone, in any letter case.
func FuzzFormatOf(f *testing.F) {
	for _, name := range append(corpusFiles(f), "uploads/a b/x.CSV.Gz", "a/.json", "a.csv/", "..", "", "ſ.ndJſon") {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got, err := ingest.FormatOf(name)
		if err != nil {
			if got != (ingest.Format{}) {
				t.Errorf("%q: %v came with %v", name, got, err)
			}
			return
		}
		for _, other := range []string{"uploads/x/" + name, strings.ToUpper(name), "a." + got.Rows + map[string]string{"gzip": ".gz", "zstd": ".zst"}[got.Compression]} {
			if again, err := ingest.FormatOf(other); err != nil || again != got {
				t.Errorf("%q is %v, but %q is %v (%v)", name, got, other, again, err)
			}
		}
	})
}

// FuzzReport goes on with a report of rejected rows that says anything: its first bytes stay as they are, or the reading
// fails and the report stays as it was.
func FuzzReport(f *testing.F) {
	const line = `{"line":2,"column":1,"offset":14,"code":"missing_person","reason":"person is empty","raw":",x"}` + "\n"
	f.Add([]byte(line), int64(len(line)))
	f.Add([]byte(line+line), int64(len(line)+7))
	f.Add([]byte(line), int64(len(line)+1))
	f.Add([]byte("[]"), int64(2))
	f.Add([]byte(strings.Repeat(line, 101)), int64(101*len(line)))
	const rest = header + ",a\n,b\n"
	f.Fuzz(func(t *testing.T, report []byte, before int64) {
		if before < 0 {
			return // DecodeSpan lets none through
		}
		b := newBench("a.csv", []byte(rest))
		key := b.object.UploadID() + "/rejects.ndjson"
		b.stored[key] = string(report)
		in := ingest.New(ingest.Config{Objects: b, Updates: b, Ledger: b, Reports: benchReports{b}, Clock: time.Now, Log: slog.New(slog.DiscardHandler)})
		err := in.Resume(context.Background(), events.Span{Object: b.object, Offset: int64(len(header)) + 3, Rows: 1, Rejected: 1, RejectsBytes: before})
		if err != nil {
			if b.stored[key] != string(report) || !b.sealed.At.IsZero() {
				t.Errorf("%v, and yet the report is %q, the reading %+v", err, b.stored[key], b.sealed)
			}
			return
		}
		after, ok := strings.CutPrefix(b.stored[key], string(report[:before]))
		if !ok || strings.Count(after, "\n") != 1 || !strings.Contains(after, `"offset":17`) {
			t.Errorf("the report of %d bytes became %q", before, b.stored[key])
		}
		if len(b.sealed.Rejects) > events.MaxRejects || b.sealed.Rejected != 2 {
			t.Errorf("%d rejects in the ledger, %d counted", len(b.sealed.Rejects), b.sealed.Rejected)
		}
	})
}
