package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
)

// Objects is an empty bucket of uploads and an empty bucket of reports.
type Objects struct {
	// These are the methods of the adapter.
	Open          func(ctx context.Context, o events.Object, offset int64) (io.ReadCloser, map[string]string, error)
	PutReport     func(ctx context.Context, key string, body io.Reader) (location string, err error)
	GetReport     func(ctx context.Context, key string) (io.ReadCloser, error)
	RemoveReports func(ctx context.Context, prefix string) error

	// Put stores an upload with the Content-Type text/csv; charset=windows-1252, and returns what is announced of it.
	// Delete deletes the object with a key.
	Put    func(t *testing.T, key, body string, metadata map[string]string) events.Object
	Delete func(t *testing.T, key string)

	Versioned bool // whether an overwritten object can still be read
}

// TestObjects runs the suite: exactly the announced object is read, or its reader learns that it is gone; reports are
// stored as a whole or not at all. Open returns new buckets to each test.
func TestObjects(t *testing.T, open func(t *testing.T) Objects) {
	tests := map[string]func(*testing.T, Objects){
		"an object is read with its metadata":           objectRead,
		"an object is read from an offset":              offsetRead,
		"keys may have any characters":                  oddKeys,
		"the announced object is read, not a newer one": overwritten,
		"a deleted object is gone":                      deleted,
		"an object with another ETag is gone":           otherETag,
		"a report is stored":                            reportRead,
		"a report that breaks off is not stored":        reportBreaks,
		"a report that was not stored is an error":      noReport,
		"reports are removed by their prefix":           reportsRemoved,
	}
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		t.Run(name, func(t *testing.T) { tests[name](t, open(t)) })
	}
}

func (b Objects) read(t *testing.T, o events.Object) (string, map[string]string) {
	t.Helper()
	return b.readFrom(t, o, 0)
}

func (b Objects) readFrom(t *testing.T, o events.Object, offset int64) (string, map[string]string) {
	t.Helper()
	body, metadata, err := b.Open(t.Context(), o, offset)
	if err != nil {
		t.Fatalf("opening %s at %d: %v", o.Key, offset, err)
	}
	return readAll(t, body), metadata
}

func readAll(t *testing.T, body io.ReadCloser) string {
	t.Helper()
	defer body.Close()
	all, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

func objectRead(t *testing.T, b Objects) {
	const text = "person,flavor\nandy,crème brûlée\n"
	got, metadata := b.read(t, b.Put(t, "uploads/a.csv", text, map[string]string{"on-error": "abort"}))
	if got != text {
		t.Errorf("read %q, want %q", got, text)
	}
	want := map[string]string{"on-error": "abort", "content-type": "text/csv; charset=windows-1252"}
	if diff := cmp.Diff(want, metadata); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	if got, _ := b.read(t, b.Put(t, "uploads/empty.csv", "", nil)); got != "" {
		t.Errorf("read %q from an empty object", got)
	}
}

// offsetRead reads the rest of an object that is longer than any buffer.
func offsetRead(t *testing.T, b Objects) {
	text := strings.Repeat("0123456789abcdef\n", 100_000)
	o := b.Put(t, "uploads/long.csv", text, map[string]string{"charset": "utf-8"})
	for _, offset := range []int{1, 17, 1_000_003, len(text) - 1} {
		got, metadata := b.readFrom(t, o, int64(offset))
		if got != text[offset:] {
			want := text[offset:]
			t.Errorf("read %d bytes from offset %d, beginning with %.20q; want %d, beginning with %.20q",
				len(got), offset, got, len(want), want)
		}
		want := map[string]string{"charset": "utf-8", "content-type": "text/csv; charset=windows-1252"}
		if diff := cmp.Diff(want, metadata); diff != "" {
			t.Errorf("metadata when read from offset %d (-want +got):\n%s", offset, diff)
		}
	}
	if got, _ := b.readFrom(t, o, int64(len(text))); got != "" {
		t.Errorf("read %q at the end of the object", got)
	}
}

func oddKeys(t *testing.T, b Objects) {
	for _, key := range []string{
		"a b.csv", "a+b.csv", "a%20b.csv", "Zoë/ß.csv", "q?x=1&y=2#z.csv", "it's (new).csv", "=@:,;$!*.csv",
	} {
		key = "uploads/" + key
		if got, _ := b.read(t, b.Put(t, key, key, nil)); got != key {
			t.Errorf("read %q from the object %q, want its key", got, key)
		}
	}
}

func overwritten(t *testing.T, b Objects) {
	old := b.Put(t, "uploads/a.csv", "old", nil)
	b.Put(t, "uploads/a.csv", "new", nil)
	if b.Versioned {
		if got, _ := b.read(t, old); got != "old" {
			t.Errorf("read %q, want %q", got, "old")
		}
		return
	}
	b.wantGone(t, old)
}

func deleted(t *testing.T, b Objects) {
	o := b.Put(t, "uploads/a.csv", "text", nil)
	o.VersionID = "" // in a versioned bucket, the deleted version can still be read
	b.Delete(t, o.Key)
	b.wantGone(t, o)
	b.wantGone(t, events.Object{Bucket: o.Bucket, Key: "uploads/never.csv", ETag: o.ETag})
}

func otherETag(t *testing.T, b Objects) {
	o := b.Put(t, "uploads/a.csv", "text", nil)
	o.VersionID, o.ETag = "", strings.Repeat("0", 32)
	b.wantGone(t, o)
}

func (b Objects) wantGone(t *testing.T, o events.Object) {
	t.Helper()
	for _, offset := range []int64{0, 1, 4} { // 4 is the end of the object
		body, _, err := b.Open(t.Context(), o, offset)
		if err == nil {
			t.Fatalf("read %q from %s at offset %d, want events.ErrObjectGone", readAll(t, body), o.Key, offset)
		}
		if !errors.Is(err, events.ErrObjectGone) {
			t.Errorf("opening %s at offset %d = %v, want events.ErrObjectGone", o.Key, offset, err)
		}
	}
}

// reportRead stores reports of various sizes. The largest takes several parts.
func reportRead(t *testing.T, b Objects) {
	for _, size := range []int{0, 100, 11 << 20} {
		key := fmt.Sprintf("some upload/%d.ndjson", size)
		text := strings.Repeat("{\"line\":1}\n", size/11+1)[:size]
		withoutLen := io.LimitReader(strings.NewReader(text), int64(size))
		location, err := b.PutReport(t.Context(), key, withoutLen)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(location, "s3://") || !strings.HasSuffix(location, "/"+key) {
			t.Errorf("PutReport = %q, want s3://BUCKET/%s", location, key)
		}
		body, err := b.GetReport(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, body); got != text {
			t.Errorf("read a report of %d bytes that differs from the stored one of %d", len(got), size)
		}
	}
}

func reportBreaks(t *testing.T, b Objects) {
	broken := errors.New("injected by the test")
	for _, size := range []int{100, 11 << 20} {
		body := io.MultiReader(bytes.NewReader(make([]byte, size)), failing{broken})
		if location, err := b.PutReport(t.Context(), "broken", body); !errors.Is(err, broken) {
			t.Errorf("PutReport with a reader that fails after %d bytes = %q, %v; want its error", size, location, err)
		}
		if body, err := b.GetReport(t.Context(), "broken"); err == nil {
			t.Errorf("%d bytes of a broken report were stored", len(readAll(t, body)))
		}
	}
}

type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }

func noReport(t *testing.T, b Objects) {
	if body, err := b.GetReport(t.Context(), "never written"); err == nil {
		t.Errorf("read %q from a report that was never stored", readAll(t, body))
	}
}

func reportsRemoved(t *testing.T, b Objects) {
	keys := []string{"a/rejects.ndjson", "ab/rejects/1.part"}
	for i := range 20 {
		keys = append(keys, fmt.Sprintf("a/rejects/%d.part", i))
	}
	for _, key := range keys {
		if _, err := b.PutReport(t.Context(), key, strings.NewReader(key)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second time, nothing is left to remove
		if err := b.RemoveReports(t.Context(), "a/rejects/"); err != nil {
			t.Fatal(err)
		}
	}
	for i, key := range keys {
		body, err := b.GetReport(t.Context(), key)
		if removed := err != nil; removed != (i >= 2) {
			t.Errorf("GetReport of %s = %v, want it removed: %t", key, err, i >= 2)
		}
		if err == nil {
			_ = body.Close()
		}
	}
}
