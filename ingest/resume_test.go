package ingest_test

import (
	"bytes"
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

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/testutil"
)

// TestResume pauses after every batch and resumes with the published continuation, for every format and compression.
// The messages, the report and the sealed summary must be the same, byte by byte, as those of one reading.
func TestResume(t *testing.T) {
	testutil.SkipIfShort(t)
	testutil.SkipUnderRace(t)
	for name, text := range resumeFiles() {
		for _, compression := range []string{"", ".gz", ".zst"} {
			t.Run(name+compression, func(t *testing.T) {
				stored := compress(t, compression, []byte(text))
				whole := newFakePorts(name+compression, stored)
				if n := whole.run(t, nil); n != 0 {
					t.Fatalf("got %d continuations without a pause, want 0", n)
				}
				pieces := newFakePorts(name+compression, stored)
				if n := pieces.run(t, always); n < 100 {
					t.Fatalf("got %d continuations, want at least 100", n)
				}
				for i, at := range pieces.opened {
					if got, want := at > 0, i > 0 && compression == ""; got != want {
						t.Fatalf("reading %d began at offset %d, want an offset above 0: %v", i, at, want)
					}
				}
				if len(whole.messages) < 10 || whole.sealed.Rejected == 0 ||
					(whole.sealed.Failure == nil) != strings.HasPrefix(name, "a.ndjson") {
					t.Fatalf("the file does not test enough: %+v", whole.sealed)
				}
				pieces.compare(t, whole)
			})
		}
	}
}

// TestLongReport writes a report that has several parts.
func TestLongReport(t *testing.T) {
	testutil.SkipUnderRace(t)
	text := []byte("person,flavor,note\n")
	for i := range 8000 {
		text = fmt.Appendf(text, "person %d,,%s\n", i, strings.Repeat("é", 200))
		if i%20 == 0 {
			text = fmt.Appendf(text, "person %d,vanilla,\n", i)
		}
	}
	whole, pieces := newFakePorts("a.csv", text), newFakePorts("a.csv", text)
	whole.run(t, nil)
	calls := 0
	if n := pieces.run(t, func(context.Context) bool { calls++; return calls%2 == 0 }); n < 2 {
		t.Fatalf("got %d continuations, want at least 2", n)
	}
	if n := strings.Count(whole.report(), "\n"); n != 8000 || len(whole.report()) < 4<<20 {
		t.Errorf("the report has %d rows and %d bytes, want 8000 and more than 4 MiB", n, len(whole.report()))
	}
	pieces.compare(t, whole)
}

// TestRepeatedReadingKeepsTheReport repeats a delivery that began before the upload was sealed and pauses after that.
// The report must not change.
func TestRepeatedReadingKeepsTheReport(t *testing.T) {
	b := newFakePorts("a.csv", []byte(resumeFiles()["a.csv"]))
	b.run(t, always)
	report := b.report()
	if strings.Count(report, "\n") < 10 {
		t.Fatalf("the file does not test enough; its report is %q", report)
	}
	b.sealed = events.ReadSummary{} // as when the other delivery began
	if err := b.ingester(always).Ingest(t.Context(), b.object); err != nil {
		t.Fatal(err)
	}
	if len(b.continuations) != 1 {
		t.Fatalf("got %d continuations, want 1", len(b.continuations))
	}
	if b.report() != report {
		t.Errorf("the report has %d bytes, want the same %d", len(b.report()), len(report))
	}
}

// resumeFiles returns files with good and bad rows, different white space between them, more content than fits into a
// buffer, and, except for NDJSON, a failure at the end.
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
		ndjson = fmt.Appendf(ndjson, "%s{\"person\":%q, \"flavor\":%q}\n%s", strings.Repeat(" ", i%4), person, flavor,
			strings.Repeat("\n", i%2))
		object = fmt.Appendf(object, "%q :%q,%s", person, flavor, strings.Repeat("\n  ", i%3))
		array = fmt.Appendf(array, "{\"person\":%q,\"flavor\":%q}%s,", person, flavor, strings.Repeat("\n", i%3))
	}
	return map[string]string{
		"a.csv": string(csv) + "x,\"open", "a.tsv": string(tsv) + "\"open\tx", "a.ndjson": string(ndjson),
		"object.json": string(object) + `"x": nul`, "array.json": string(array) + `{"person"`,
	}
}

// always is a Config.Pause that stops after every batch.
func always(context.Context) bool { return true }

// fakePorts implements the interfaces that an Ingester needs, for one object.
type fakePorts struct {
	object        events.Object
	body          []byte
	metadata      map[string]string
	opened        []int64 // offsets
	mu            sync.Mutex
	messages      map[string]string // bodies by id
	continuations []events.Continuation
	earlier       bool              // publish continuations like those of earlier releases
	stored        map[string]string // reports by key
	peak          int               // maximum number of bytes in stored
	sealed        events.ReadSummary
	sorting       ingest.Sorting
	begun, sorted bool // the record: whether there is one, and its Sorted
	comparing     bool // whether BeginComparing was called

	sealFails, removeFails error // if non-nil, the error of the next call
}

func newFakePorts(name string, body []byte) *fakePorts {
	return &fakePorts{
		object: events.Object{Bucket: "b", Key: "uploads/" + name, ETag: "e", Sequencer: "0a", Size: int64(len(body)),
			Time: time.UnixMilli(1)},
		body: body, messages: map[string]string{}, stored: map[string]string{},
	}
}

// run ingests the object and resumes with each continuation, twice, until the upload is sealed. It returns the number
// of continuations.
func (b *fakePorts) run(t *testing.T, pause func(context.Context) bool) (n int) {
	t.Helper()
	in := b.ingester(pause)
	if err := in.Ingest(t.Context(), b.object); err != nil {
		t.Fatal(err)
	}
	for ; len(b.continuations) > 0; n++ {
		next := b.continuations[0]
		b.continuations = b.continuations[1:]
		before := maps.Clone(b.messages)
		for range 2 { // the repeated delivery must not change anything
			if err := in.Resume(t.Context(), next); err != nil {
				t.Fatal(err)
			}
		}
		for id, body := range before {
			if b.messages[id] != body {
				t.Fatalf("message %s = %s, want %s", id, b.messages[id], body)
			}
		}
		if len(b.continuations) == 2 {
			if diff := cmp.Diff(b.continuations[0], b.continuations[1]); diff != "" {
				t.Fatalf("continuations (-first +repeated):\n%s", diff)
			}
			b.continuations = b.continuations[:1]
		}
	}
	if b.sealed.At.IsZero() {
		t.Fatal("the upload was not sealed")
	}
	return n
}

// compare checks that the messages, the report and the summary are those of another reading.
func (b *fakePorts) compare(t *testing.T, whole *fakePorts) {
	t.Helper()
	if diff := cmp.Diff(whole.messages, b.messages); diff != "" {
		t.Errorf("messages (-whole +pieces):\n%s", diff)
	}
	if whole.report() != b.report() {
		t.Errorf("the report in pieces has %d bytes and differs from the whole one of %d", len(b.report()),
			len(whole.report()))
	}
	if diff := cmp.Diff(whole.sealed, b.sealed, cmpopts.IgnoreFields(events.ReadSummary{}, "At")); diff != "" {
		t.Errorf("summary (-whole +pieces):\n%s", diff)
	}
}

func (b *fakePorts) ingester(pause func(context.Context) bool) *ingest.Ingester {
	return ingest.New(ingest.Config{
		Objects: b, Updates: b, Ledger: b, Reports: fakeReports{b}, Clock: time.Now, Log: slog.New(slog.DiscardHandler),
		BatchBytes: 1000, Sorting: b.sorting,
		Pause: pause, Continuations: fakeContinuations{b},
	})
}

// report returns the stored report of rejected rows.
func (b *fakePorts) report() string { return b.stored[b.object.UploadID()+"/rejects.ndjson"] }

func (b *fakePorts) Open(_ context.Context, _ events.Object, offset int64) (io.ReadCloser, map[string]string, error) {
	b.opened = append(b.opened, offset)
	if b.body == nil {
		return nil, nil, events.ErrObjectGone
	}
	return io.NopCloser(bytes.NewReader(b.body[offset:])), b.metadata, nil
}

func (b *fakePorts) Publish(_ context.Context, messages []events.Message) []error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range messages {
		b.messages[m.ID] = string(m.Body)
	}
	return make([]error, len(messages))
}

type fakeContinuations struct{ *fakePorts }

func (b fakeContinuations) Publish(_ context.Context, messages []events.Message) []error {
	errs := make([]error, len(messages))
	for i, m := range messages {
		c, err := events.DecodeContinuation(m.Body)
		errs[i] = err
		if b.earlier {
			c.Count, c.Reader = 0, nil
		}
		b.continuations = append(b.continuations, c)
	}
	return errs
}

func (b *fakePorts) Begin(_ context.Context, _ events.Object, sort bool) (events.Upload, error) {
	if !b.begun {
		b.begun, b.sorted = true, sort
	}
	if !b.sealed.At.IsZero() {
		return events.Upload{Status: events.Live, Sorted: b.sorted}, nil
	}
	return events.Upload{Status: events.Publishing, Sorted: b.sorted}, nil
}

func (b *fakePorts) BeginComparing(context.Context, string) (bool, error) {
	b.comparing = true
	return true, nil
}

func (b *fakePorts) Seal(_ context.Context, _ string, r events.ReadSummary) (*events.Upload, error) {
	if err := b.sealFails; err != nil {
		b.sealFails = nil
		return nil, err
	}
	b.sealed = r
	return nil, nil //nolint:nilnil // not settled
}

type fakeReports struct{ *fakePorts }

func (r fakeReports) Put(_ context.Context, key string, body io.Reader) (string, error) {
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

func (r fakeReports) Get(_ context.Context, key string) (io.ReadCloser, error) {
	text, found := r.stored[key]
	if !found {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(strings.NewReader(text)), nil
}

func (r fakeReports) OpenAt(_ context.Context, key string) (io.ReaderAt, int64, error) {
	text, found := r.stored[key]
	if !found {
		return nil, 0, events.ErrObjectGone
	}
	return strings.NewReader(text), int64(len(text)), nil
}

func (r fakeReports) Remove(_ context.Context, prefix string) error {
	if err := r.removeFails; err != nil {
		r.removeFails = nil
		return err
	}
	maps.DeleteFunc(r.stored, func(key, _ string) bool { return strings.HasPrefix(key, prefix) })
	return nil
}
