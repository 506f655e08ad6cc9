package ingest_test

import (
	"bytes"
	stdgzip "compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
)

// FuzzReadGzip compares reading with the decompressor of the standard library.
func FuzzReadGzip(f *testing.F) {
	for _, content := range compressedSeeds(f, ".gz") {
		f.Add(content)
	}
	f.Add([]byte("\x1f\x8b\bA000000\x030\x00\x00\x00\x00\x00\x00\x00\x00")) // found by fuzzing
	f.Fuzz(func(t *testing.T, content []byte) {
		fuzzCompressed(t, content, ".gz", func() ([]byte, error) {
			for i := range max(len(content)-3,
				0) { // the standard library does not check the reserved bits (RFC 1952, section 2.3.1.2)
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

// FuzzReadZstd compares reading with decompressing the whole file at once.
func FuzzReadZstd(f *testing.F) {
	for _, content := range compressedSeeds(f, ".zst") {
		f.Add(content)
	}
	all, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(8<<20))
	if err != nil {
		f.Fatal(err)
	}
	pack, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithWindowSize(32<<10))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		fuzzCompressed(t, content, ".zst", func() ([]byte, error) { return all.DecodeAll(content, nil) },
			func() []byte { return pack.EncodeAll(content, nil) })
	})
}

var errUndecided = errors.New("the decompressors may differ")

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

// fuzzCompressed compares reading a compressed file with reading its decompressed content. Corrupt data must cause a
// failure.
func fuzzCompressed(t *testing.T, content []byte, suffix string, plain func() ([]byte, error), packed func() []byte) {
	got := readAll(t, bytes.NewReader(content), "a.csv"+suffix)
	if diff := cmp.Diff(got, readAll(t, iotest.HalfReader(bytes.NewReader(content)), "a.csv"+suffix)); diff != "" {
		t.Errorf("read in halves (-whole +halves):\n%s", diff)
	}
	file, err := plain()
	switch {
	case len(content) == 0 || len(file) > seedLimit || errors.Is(err, errUndecided): // an empty file has no rows
	case err != nil && got.Failure == nil:
		t.Errorf("got no failure, want one, because of %v", err)
	case err == nil && got.Failure != nil && got.Failure.Code == events.CorruptCompression:
		if !strings.Contains(got.Failure.Reason, "window") {
			t.Errorf("failure = %+v, want none, because the data are valid", got.Failure)
		}
	case err == nil:
		if diff := cmp.Diff(readAll(t, bytes.NewReader(file), "a.csv"), got, withoutReasons); diff != "" {
			t.Errorf("(-plain +compressed):\n%s", diff)
		}
	}
	// Reading the content as CSV and reading it compressed must be the same.
	if len(content) < 10_000 {
		want := readAll(t, bytes.NewReader(content), "a.csv")
		if diff := cmp.Diff(want, readAll(t, bytes.NewReader(packed()), "a.csv"+suffix), withoutReasons); diff != "" &&
			len(content) > 0 {
			t.Errorf("compressed (-plain +compressed):\n%s", diff)
		}
	}
}

// FuzzFileTypeOf checks that the type depends only on the suffix, in any letter case.
func FuzzFileTypeOf(f *testing.F) {
	for _, name := range append(corpusFiles(f), "uploads/a b/x.CSV.Gz", "a/.json", "a.csv/", "..", "", "ſ.ndJſon") {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got, err := ingest.FileTypeOf(name)
		if err != nil {
			if got != (ingest.FileType{}) {
				t.Errorf("FileTypeOf(%q) = %v with error %v, want the zero value", name, got, err)
			}
			return
		}
		for _, other := range []string{"uploads/x/" + name, strings.ToUpper(name), "a." + string(got.Format) +
			map[ingest.Compression]string{ingest.Gzip: ".gz", ingest.Zstd: ".zst"}[got.Compression]} {
			if again, err := ingest.FileTypeOf(other); err != nil || again != got {
				t.Errorf("FileTypeOf(%q) = %v, but FileTypeOf(%q) = %v, %v", name, got, other, again, err)
			}
		}
	})
}

// FuzzReport continues a report with any content: its first bytes remain, or the reading fails and does not change it.
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
			return // DecodeContinuation refuses it
		}
		b := newFakePorts("a.csv", []byte(rest))
		key := b.object.UploadID() + "/rejects.ndjson"
		b.stored[key] = string(report)
		in := ingest.New(ingest.Config{Objects: b, Updates: b, Ledger: b, Reports: fakeReports{b}, Clock: time.Now,
			Log: slog.New(slog.DiscardHandler)})
		err := in.Resume(context.Background(),
			events.Continuation{Object: b.object, Offset: int64(len(header)) + 3, Rows: 1, Rejected: 1, RejectsBytes: before})
		if err != nil {
			if b.stored[key] != string(report) || !b.sealed.At.IsZero() {
				t.Errorf("error = %v, report = %q, summary = %+v, want the report unchanged and no summary", err, b.stored[key],
					b.sealed)
			}
			return
		}
		after, ok := strings.CutPrefix(b.stored[key], string(report[:before]))
		if !ok || strings.Count(after, "\n") != 1 || !strings.Contains(after, `"offset":17`) {
			t.Errorf("report = %q, want the first %d bytes of the old one and the row at offset 17", b.stored[key], before)
		}
		if len(b.sealed.Rejects) > events.MaxRejects || b.sealed.Rejected != 2 {
			t.Errorf("got %d rejects and %d rejected rows, want at most %d and 2", len(b.sealed.Rejects), b.sealed.Rejected,
				events.MaxRejects)
		}
	})
}
