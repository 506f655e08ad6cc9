package ingest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/zstd"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
)

// TestResume stops after every batch and goes on with the span that was handed on, for every format and compression: the
// messages, the report of rejected rows and what the ledger is told are, byte by byte, those of one reading.
func TestResume(t *testing.T) {
	for name, text := range resumeFiles() {
		for _, compression := range []string{"", ".gz", ".zst"} {
			t.Run(name+compression, func(t *testing.T) {
				whole := newBench(name+compression, pack(t, text, compression))
				if spans := whole.run(t, nil); spans != 0 {
					t.Fatalf("%d spans without a reason to stop", spans)
				}
				pieces := newBench(name+compression, pack(t, text, compression))
				if spans := pieces.run(t, func(context.Context) bool { return true }); spans < 100 {
					t.Fatalf("only %d spans", spans)
				}
				for i, at := range pieces.opened {
					if started := at > 0; started != (i > 0 && compression == "") {
						t.Fatalf("reading %d began at %d", i, at)
					}
				}
				if len(whole.messages) < 10 || whole.sealed.Rejected == 0 || (whole.sealed.Failure == nil) != strings.HasPrefix(name, "a.ndjson") {
					t.Fatalf("this file proves nothing: %+v", whole.sealed)
				}
				if diff := cmp.Diff(whole.messages, pieces.messages); diff != "" {
					t.Errorf("messages (-whole +pieces):\n%s", diff)
				}
				if diff := cmp.Diff(whole.report(), pieces.report()); diff != "" {
					t.Errorf("reports (-whole +pieces):\n%s", diff)
				}
				if diff := cmp.Diff(whole.sealed, pieces.sealed, cmpopts.IgnoreFields(events.ReadSummary{}, "At")); diff != "" {
					t.Errorf("reading (-whole +pieces):\n%s", diff)
				}
			})
		}
	}
}

// TestLongReport is of a report that is kept in several parts.
func TestLongReport(t *testing.T) {
	text := []byte("person,flavor,note\n")
	for i := range 8000 {
		text = fmt.Appendf(text, "person %d,,%s\n", i, strings.Repeat("é", 200))
		if i%20 == 0 {
			text = fmt.Appendf(text, "person %d,vanilla,\n", i)
		}
	}
	whole, pieces := newBench("a.csv", text), newBench("a.csv", text)
	whole.run(t, nil)
	if n := 0; pieces.run(t, func(context.Context) bool { n++; return n%2 == 0 }) < 2 {
		t.Fatal("it never stopped in between")
	}
	if n := strings.Count(whole.report(), "\n"); n != 8000 || len(whole.report()) < 4<<20 {
		t.Errorf("%d rows in %d bytes", n, len(whole.report()))
	}
	if whole.report() != pieces.report() {
		t.Error("the reports differ")
	}
	if diff := cmp.Diff(whole.sealed, pieces.sealed, cmpopts.IgnoreFields(events.ReadSummary{}, "At")); diff != "" {
		t.Errorf("reading (-whole +pieces):\n%s", diff)
	}
}

// TestRepeatedReadingKeepsTheReport: a delivery that is repeated while the first one is under way, and that stops before its
// end when the other has sealed the upload, takes nothing from the report, nor from one that is still being written.
func TestRepeatedReadingKeepsTheReport(t *testing.T) {
	b := newBench("a.csv", []byte(resumeFiles()["a.csv"]))
	b.run(t, func(context.Context) bool { return true })
	report := b.report()
	if strings.Count(report, "\n") < 10 {
		t.Fatal("this file proves nothing")
	}
	b.sealed = events.ReadSummary{} // as it was when the other delivery began
	if err := b.ingester(func(context.Context) bool { return true }).Ingest(t.Context(), b.object); err != nil {
		t.Fatal(err)
	}
	if len(b.spans) != 1 {
		t.Fatalf("%d spans; it was to stop", len(b.spans))
	}
	if b.report() != report {
		t.Errorf("the report has %d bytes now, of %d", len(b.report()), len(report))
	}
}

// resumeFiles have good rows and bad ones, all sorts of white space between them, more than fits into a buffer, and a break
// at the end.
func resumeFiles() map[string]string {
	csv, tsv, ndjson := []byte("\ufeffflavor,person,action\r\n"), []byte("person\tflavor\n"), []byte(nil)
	object, array := []byte(strings.Repeat("\n ", 3000)+"{"), []byte("\ufeff[ ")
	for i := range 2000 {
		person, flavor := fmt.Sprintf("person %d, \"of\" many", i), "crème brûlée"
		if i%7 == 0 {
			flavor = ""
		}
		csv = fmt.Appendf(csv, "%s,\"%s\",\r\n%s", flavor, strings.ReplaceAll(person, `"`, `""`), strings.Repeat("\n", i%3))
		tsv = fmt.Appendf(tsv, "person %d\t%s\n", i, flavor)
		ndjson = fmt.Appendf(ndjson, "%s{\"person\":%q, \"flavor\":%q}\n%s", strings.Repeat(" ", i%4), person, flavor, strings.Repeat("\n", i%2))
		object = fmt.Appendf(object, "%q :%q,%s", person, flavor, strings.Repeat("\n  ", i%3))
		array = fmt.Appendf(array, "{\"person\":%q,\"flavor\":%q}%s,", person, flavor, strings.Repeat("\n", i%3))
	}
	return map[string]string{
		"a.csv": string(csv) + "x,\"open", "a.tsv": string(tsv) + "\"open\tx", "a.ndjson": string(ndjson),
		"object.json": string(object) + `"x": nul`, "array.json": string(array) + `{"person"`,
	}
}

func pack(t *testing.T, text, compression string) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch compression {
	case ".gz":
		w = gzip.NewWriter(&b)
	case ".zst":
		var err error
		if w, err = zstd.NewWriter(&b); err != nil {
			t.Fatal(err)
		}
	default:
		return []byte(text)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// bench is all that an Ingester needs, for one object.
type bench struct {
	object   events.Object
	body     []byte
	mu       sync.Mutex
	messages map[string]string // bodies by id
	spans    []events.Continuation
	stored   map[string]string
	peak     int // most bytes in stored at any time
	metadata map[string]string
	sealed   events.ReadSummary
	opened   []int64 // offsets
	earlier  bool    // spans are those of earlier releases

	sealFails, removeFails error // if non-nil, the next call fails with it
}

func newBench(name string, body []byte) *bench {
	return &bench{
		object: events.Object{Bucket: "b", Key: "uploads/" + name, ETag: "e", Sequencer: "0a", Size: int64(len(body)), Time: time.UnixMilli(1)},
		body:   body, messages: map[string]string{}, stored: map[string]string{},
	}
}

// run ingests the object, and each span that is handed on, until the upload is sealed. It returns how many spans there were.
func (b *bench) run(t *testing.T, pause func(context.Context) bool) (spans int) {
	t.Helper()
	in := b.ingester(pause)
	if err := in.Ingest(t.Context(), b.object); err != nil {
		t.Fatal(err)
	}
	for ; len(b.spans) > 0; spans++ {
		next := b.spans[0]
		b.spans = b.spans[1:]
		before := maps.Clone(b.messages)
		for range 2 { // the second time it is a repeated delivery, which may change nothing
			if err := in.Resume(t.Context(), next); err != nil {
				t.Fatal(err)
			}
		}
		for id, body := range before {
			if b.messages[id] != body {
				t.Fatalf("message %s changed", id)
			}
		}
		if len(b.spans) == 2 {
			if diff := cmp.Diff(b.spans[0], b.spans[1]); diff != "" {
				t.Fatalf("spans (-first +repeated):\n%s", diff)
			}
			b.spans = b.spans[:1]
		}
	}
	if b.sealed.At.IsZero() {
		t.Fatal("it was never sealed")
	}
	return spans
}

func (b *bench) ingester(pause func(context.Context) bool) *ingest.Ingester {
	return ingest.New(ingest.Config{
		Objects: b, Updates: b, Ledger: b, Reports: benchReports{b}, Clock: time.Now, Log: slog.New(slog.DiscardHandler), BatchBytes: 1000,
		Pause: pause, Continuations: benchContinuations{b},
	})
}

// report is the one of rejected rows.
func (b *bench) report() string { return b.stored[b.object.UploadID()+"/rejects.ndjson"] }

func (b *bench) Open(_ context.Context, _ events.Object, offset int64) (io.ReadCloser, map[string]string, error) {
	b.opened = append(b.opened, offset)
	if b.body == nil {
		return nil, nil, events.ErrObjectGone
	}
	return io.NopCloser(bytes.NewReader(b.body[offset:])), b.metadata, nil
}

func (b *bench) Publish(_ context.Context, messages []events.Message) []error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range messages {
		b.messages[m.ID] = string(m.Body)
	}
	return make([]error, len(messages))
}

type benchContinuations struct{ *bench }

func (b benchContinuations) Publish(_ context.Context, messages []events.Message) []error {
	errs := make([]error, len(messages))
	for i, m := range messages {
		span, err := events.DecodeContinuation(m.Body)
		errs[i] = err
		if b.earlier {
			span.Count, span.Reader = 0, nil
		}
		b.spans = append(b.spans, span)
	}
	return errs
}

func (b *bench) Begin(context.Context, events.Object) (events.Upload, error) {
	if !b.sealed.At.IsZero() {
		return events.Upload{Status: events.Live}, nil
	}
	return events.Upload{Status: events.Publishing}, nil
}

func (b *bench) Seal(_ context.Context, _ string, r events.ReadSummary) (*events.Upload, error) {
	if err := b.sealFails; err != nil {
		b.sealFails = nil
		return nil, err
	}
	b.sealed = r
	return nil, nil //nolint:nilnil // as the port has it: not settled by this
}

type benchReports struct{ *bench }

func (r benchReports) Put(_ context.Context, key string, body io.Reader) (string, error) {
	text, err := io.ReadAll(body)
	if err == nil {
		r.stored[key] = string(text)
		sum := 0
		for _, object := range r.stored {
			sum += len(object)
		}
		r.peak = max(r.peak, sum)
	}
	return "s3://reports/" + key, err
}

func (r benchReports) Get(_ context.Context, key string) (io.ReadCloser, error) {
	text, found := r.stored[key]
	if !found {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(strings.NewReader(text)), nil
}

func (r benchReports) Remove(_ context.Context, prefix string) error {
	if err := r.removeFails; err != nil {
		r.removeFails = nil
		return err
	}
	maps.DeleteFunc(r.stored, func(key, _ string) bool { return strings.HasPrefix(key, prefix) })
	return nil
}
