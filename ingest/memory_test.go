package ingest_test

import (
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/testutil"
)

// endless reads start and then pattern, repeatedly, up to size bytes. It measures the heap while it is read.
type endless struct {
	start, pattern []byte
	size           int64

	read, checked  int64
	before, growth uint64
}

func (e *endless) Read(p []byte) (int, error) {
	if e.read == 0 {
		e.before = heap()
	}
	if e.read >= e.size {
		return 0, io.EOF
	}
	n := 0
	if e.read < int64(len(e.start)) {
		n = copy(p, e.start[e.read:])
	}
	for at := e.read + int64(n) - int64(len(e.start)); n < len(p); {
		c := copy(p[n:], e.pattern[at%int64(len(e.pattern)):])
		n, at = n+c, at+int64(c)
	}
	e.read += int64(n)
	if e.read-e.checked > min(8<<20, 16<<10+e.read/8) { // more often at the beginning, where most readings end
		e.check()
	}
	return n, nil
}

func (e *endless) check() {
	h := heap()
	e.checked, e.growth = e.read, max(e.growth, h-min(e.before, h))
}

// heap returns the size of the live heap, in bytes.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestMemory reads files of hundreds of megabytes that are as bad as possible. The live heap must stay below a constant
// bound. Without the limits of source, an unclosed quote in such a file would take more than a gigabyte.
func TestMemory(t *testing.T) {
	testutil.SkipIfShort(t)
	testutil.SkipUnderRace(t)
	const size = 300 << 20
	for _, c := range []struct {
		name, file     string
		start, pattern string
		size           int64
		rows           int64 // minimum
		code           events.Code
	}{
		{"unclosed quote", "a.csv", "person,flavor\nandy,\"", "dan,mint\n", size, 0, events.RecordTooLong},
		{"unclosed quote in the header", "a.csv", "person,flavor,\"", "dan,mint\n", size, 0, events.BadHeader},
		{"endless line", "a.tsv", "person\tflavor\n", "x", size, 0, events.RecordTooLong},
		{"endless fields", "a.csv", "person,flavor\n", ",", size, 0, events.RecordTooLong},
		{"endless fields on many lines", "a.csv", "person,flavor\n\"", ",,\",\"\n\",\"", size, 0, events.RecordTooLong},
		{"endless string", "a.json", `{"andy":"`, "x", size, 0, events.RecordTooLong},
		{"endless name", "a.json", `{"`, "x", size, 0, events.RecordTooLong},
		{"endless string in an array", "a.json", `[{"person":"`, `\n`, size, 0, events.RecordTooLong},
		{"endless nesting", "a.json", `[`, "[", size, 0, events.MalformedJSON},
		{"endless object in an array", "a.json", `[{"a":1`, `,"a":1`, size, 0, events.RecordTooLong},
		{"endless blanks", "a.json", `[`, " ", size, 0, events.RecordTooLong},
		{"endless NDJSON line", "a.ndjson", `{"person":"`, "x", size, 1, ""},
		{"endless blank lines", "a.csv", "person,flavor\n", "\n", size / 60, 0, ""},
		{"rejected rows", "a.csv", "person,flavor\n", "dan,mint,vanilla\nx\n", size / 60, 2e5, ""},
		{"rejected members", "a.json", "{", "\"dan\": 5,\n", size / 60, 2e5, events.MalformedJSON},
		{"rows of an array", "a.json", "[", "{\"person\":\"dan\",\"flavor\":\"mint\"},\n", size / 60, 1e5,
			events.MalformedJSON},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := &endless{start: []byte(c.start), pattern: []byte(strings.Repeat(c.pattern, 1+1000/len(c.pattern))),
				size: c.size}
			rows, code := exhaust(t, body, c.file)
			if code != c.code || rows < c.rows {
				t.Errorf("got %d rows, code %q, want at least %d and %q", rows, code, c.rows, c.code)
			}
			const bound = 16 << 20
			t.Logf("at most %.1f MiB", float64(body.growth)/(1<<20))
			if body.growth > bound {
				t.Errorf("the heap grew by %d MiB over %d MiB, want at most %d", body.growth>>20, body.read>>20, bound>>20)
			}
		})
	}
}

func exhaust(t *testing.T, body *endless, file string) (rows int64, code events.Code) {
	t.Helper()
	r, err := ingest.Open(body, file, ingest.Options{})
	if err == nil {
		for err == nil {
			_, _, err = r.Next()
		}
		rows = r.Read()
		defer r.Close()
	}
	body.check() // while r is alive
	runtime.KeepAlive(r)
	var bad *ingest.FileError
	switch {
	case errors.As(err, &bad):
		code = bad.Failure.Code
	case !errors.Is(err, io.EOF):
		t.Errorf("reading: %v", err)
	}
	return rows, code
}
