package ingest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
)

func compress(t reporter, suffix string, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := io.WriteCloser(nopCloser{&b})
	switch suffix {
	case ".gz":
		w = gzip.NewWriter(&b)
	case ".zst":
		w, _ = zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatalf("compressing: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatalf("compressing: %v", err)
	}
	return b.Bytes()
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// manyRows returns a CSV file of n rows that hardly compresses.
func manyRows(n int) []byte {
	random := rand.New(rand.NewPCG(1, 1))
	b := []byte(header)
	for range n {
		b = fmt.Appendf(b, "%016x,%016x\n", random.Uint64(), random.Uint64())
	}
	return b
}

func TestCompression(t *testing.T) {
	file := manyRows(20000)
	for _, suffix := range []string{".gz", ".zst"} {
		whole := compress(t, suffix, file)
		t.Run("members"+suffix, func(t *testing.T) {
			var b []byte
			for p := range slices.Chunk(file, 100_001) {
				b = append(b, compress(t, suffix, p)...)
			}
			got := readAll(t, bytes.NewReader(b), "a.csv"+suffix)
			if len(got.Rows) != 20000 || got.Failure != nil {
				t.Errorf("got %d rows, failure %+v, want 20000 and none", len(got.Rows), got.Failure)
			}
		})
		t.Run("truncated"+suffix, func(t *testing.T) {
			for _, n := range []int{1, 5, 12, 100, len(whole) / 2, len(whole) - 5, len(whole) - 1} {
				got := readAll(t, bytes.NewReader(whole[:n]), "a.csv"+suffix)
				if got.Failure == nil || got.Failure.Code != events.CorruptCompression {
					t.Errorf("%d of %d bytes: failure = %+v, want %s", n, len(whole), got.Failure, events.CorruptCompression)
				} else if !strings.Contains(got.Failure.Reason, "data are truncated; compress") {
					t.Errorf("%d of %d bytes: reason = %q, want truncated data", n, len(whole), got.Failure.Reason)
				}
				if len(got.Rejects) > 0 {
					t.Errorf("%d of %d bytes: got reject %+v, want none", n, len(whole), got.Rejects[0])
				}
			}
		})
		t.Run("corrupt"+suffix, func(t *testing.T) {
			broken := bytes.Clone(whole)
			broken[len(broken)/2] ^= 0xff
			broken[len(broken)-1] ^= 0xff
			got := readAll(t, bytes.NewReader(broken), "a.csv"+suffix)
			if got.Failure == nil || got.Failure.Code != events.CorruptCompression {
				t.Fatalf("failure = %+v, want %s", got.Failure, events.CorruptCompression)
			}
			if want := "data are corrupt; compress"; !strings.Contains(got.Failure.Reason, want) {
				t.Errorf("reason = %q, want %q in it", got.Failure.Reason, want)
			}
		})
		t.Run("garbage after"+suffix, func(t *testing.T) {
			got := readAll(t, strings.NewReader(string(whole)+"garbage"), "a.csv"+suffix)
			if got.Failure == nil || got.Failure.Code != events.CorruptCompression || len(got.Rows) != 20000 {
				t.Fatalf("got %d rows, failure %+v, want 20000 and %s", len(got.Rows), got.Failure, events.CorruptCompression)
			}
			if want := "data are followed by other data; compress"; !strings.Contains(got.Failure.Reason, want) {
				t.Errorf("reason = %q, want %q in it", got.Failure.Reason, want)
			}
		})
		t.Run("bomb"+suffix, func(t *testing.T) {
			row := "andy,vanilla," + strings.Repeat("x", 1e6) + "\n"
			bomb := compress(t, suffix, []byte("person,flavor,note\n"+strings.Repeat(row, 80)))
			got, err := summarize(bytes.NewReader(bomb), "a.csv"+suffix)
			if err != nil || got.Failure == nil || got.Failure.Code != events.DecompressionBomb {
				t.Errorf("%d bytes: failure = %+v, %v; want %s", len(bomb), got.Failure, err, events.DecompressionBomb)
			}
		})
	}
	t.Run("zstd window", func(t *testing.T) {
		var b bytes.Buffer
		w, err := zstd.NewWriter(&b, zstd.WithWindowSize(16<<20), zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(bytes.Repeat(file, 30)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		got := readAll(t, &b, "a.csv.zst")
		if got.Failure == nil || got.Failure.Code != events.CorruptCompression ||
			!strings.Contains(got.Failure.Reason, "--long") {
			t.Errorf("failure = %+v, want %s with --long in the reason", got.Failure, events.CorruptCompression)
		}
	})
}

// summarize reads a file without keeping the rows.
func summarize(body io.Reader, name string) (events.ReadSummary, error) {
	return ingest.Read(body, name, ingest.Options{},
		func(events.Update) error { return nil }, func(*events.Reject) error { return nil })
}

// TestConnectionBreaks reads bodies that fail at every byte. The result must be the error of the body and never a
// failure of the file, which would be recorded permanently.
func TestConnectionBreaks(t *testing.T) {
	contents := map[string]string{
		"a.csv":        header + "andy,vanilla\ndan,\"mint\"\n\"x\"y,z\na\"b,c\nliz,\"pista\nchio\"\n",
		"a.json":       `{"andy": "vanilla", "dan": "mint", "liz": 5}` + "\n",
		"a.array.json": `[{"person":"andy","flavor":"vanilla"}, 5, {"person":"dan","flavor":"mint"}]`,
		"a.ndjson":     "{\"person\":\"andy\",\"flavor\":\"vanilla\"}\n{\n{\"person\":\"dan\",\"flavor\":\"mint\"}\n",
	}
	failures := map[string]error{
		"reset":          errors.New("connection reset by peer"),
		"unexpected EOF": io.ErrUnexpectedEOF,
		"wrapped EOF":    fmt.Errorf("read tcp: %w", io.EOF),
		"no progress":    io.ErrNoProgress,
		"timeout":        iotest.ErrTimeout,
	}
	for name, content := range contents {
		for _, suffix := range []string{"", ".gz", ".zst"} {
			for what, failure := range failures {
				t.Run(name+suffix+" "+what, func(t *testing.T) {
					stored := compress(t, suffix, []byte(content))
					for n := range len(stored) + 1 {
						for _, once := range []bool{false, true} { // if once, later reads return io.EOF
							body := io.MultiReader(bytes.NewReader(stored[:n]), iotest.ErrReader(failure))
							if once {
								body = iotest.DataErrReader(&failingOnce{Reader: bytes.NewReader(stored[:n]), err: failure})
							}
							got, err := tryRead(t, body, name+suffix, ingest.Options{})
							if !errors.Is(err, failure) || got.Failure != nil {
								t.Fatalf("%d of %d bytes: error %v, failure %+v, want error %v", n, len(stored), err, got.Failure, failure)
							}
						}
					}
				})
			}
		}
	}
}

type failingOnce struct {
	io.Reader
	err error
}

func (f *failingOnce) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err == io.EOF {
		err, f.err = f.err, io.EOF
	}
	return n, err
}

// TestCallerStops checks that Read returns the errors of accept and reject, even if they are io.EOF.
func TestCallerStops(t *testing.T) {
	for _, want := range []error{errors.New("enough"), io.EOF} {
		ok := func(events.Update) error { return nil }
		summary, err := ingest.Read(strings.NewReader(header+"a,b\nc,d\n"), "a.csv", ingest.Options{},
			func(events.Update) error { return want }, nil)
		if !errors.Is(err, want) || summary.Rows != 1 || summary.Format != "csv" {
			t.Errorf("accept: %d rows of %s, error %v, want 1 row of csv and %v", summary.Rows, summary.Format, err, want)
		}
		_, err = ingest.Read(strings.NewReader(header+"a\nc,d\n"), "a.csv", ingest.Options{}, ok,
			func(*events.Reject) error { return want })
		if !errors.Is(err, want) {
			t.Errorf("reject: error %v, want %v", err, want)
		}
	}
}

// TestErrorsStay calls Next after the end and after a failure.
func TestErrorsStay(t *testing.T) {
	for name, content := range map[string]string{"a.csv": header, "a.json": "{,", "a.ndjson": ""} {
		r, err := ingest.Open(strings.NewReader(content), name, ingest.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		_, _, first := r.Next()
		_, _, second := r.Next()
		if first == nil || !errors.Is(second, first) || r.Read() != 0 {
			t.Errorf("%s: errors %v and %v after %d rows, want the same error and 0 rows", name, first, second, r.Read())
		}
	}
}
