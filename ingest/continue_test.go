package ingest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
)

// TestContinueEarlierReleases resumes with 20 continuations of an earlier release, which have no reader's state, and
// then with current ones. The messages must be the same as those of one reading.
func TestContinueEarlierReleases(t *testing.T) {
	for name, text := range resumeFiles() {
		whole, pieces := newFakePorts(name, []byte(text)), newFakePorts(name, []byte(text))
		whole.run(t, nil)
		pieces.earlier = true
		pieces.run(t, func(context.Context) bool {
			pieces.earlier = len(pieces.opened) < 40 // each continuation is read twice
			return true
		})
		pieces.compare(t, whole)
		for i, at := range pieces.opened {
			if got, want := at > 0, i > 40; got != want {
				t.Errorf("%s: reading %d began at offset %d, want an offset above 0: %v", name, i, at, want)
			}
		}
	}
}

// TestMaxContinuations continues a file up to the maximum number of continuations. The next one must fail the upload.
func TestMaxContinuations(t *testing.T) {
	b := newFakePorts("a.csv", []byte(resumeFiles()["a.csv"]))
	if err := b.ingester(always).Ingest(t.Context(), b.object); err != nil {
		t.Fatal(err)
	}
	for want := int64(1); want <= 5; want++ {
		next := b.continuations[0]
		if b.continuations = b.continuations[1:]; next.Count != want {
			t.Fatalf("count of continuation %d = %d", want, next.Count)
		}
		if err := b.ingester(always).Resume(t.Context(), next); err != nil {
			t.Fatal(err)
		}
	}
	next := b.continuations[0]
	b.continuations = nil
	next.Count = ingest.MaxContinuations
	if err := b.ingester(always).Resume(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if len(b.continuations) != 1 || b.continuations[0].Count != ingest.MaxContinuations+1 || !b.sealed.At.IsZero() {
		t.Fatalf("at the maximum: continuations %+v, sealed %+v; want one and no summary", b.continuations, b.sealed)
	}
	last, opened := b.continuations[0], len(b.opened)
	if err := b.ingester(always).Resume(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	want := events.ReadSummary{
		Rows: last.Rows, Rejected: last.Rejected, Batches: last.Batches,
		Failure: &events.Failure{Code: events.Endless, Offset: last.Offset},
	}
	if diff := cmp.Diff(want, b.sealed, cmpopts.IgnoreFields(events.ReadSummary{}, "At", "Rejects", "RejectsAt"),
		cmpopts.IgnoreFields(events.Failure{}, "Reason")); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
	if len(b.sealed.Rejects) == 0 || b.report() == "" {
		t.Errorf("got %d rejects and report %q, want the rejected rows so far", len(b.sealed.Rejects), b.report())
	}
	if len(b.continuations) != 1 || len(b.opened) != opened {
		t.Errorf("the object was opened %d times, want %d", len(b.opened), opened)
	}
}

// TestContinueObjectGone deletes the object between two readings.
func TestContinueObjectGone(t *testing.T) {
	b := newFakePorts("a.ndjson", []byte(resumeFiles()["a.ndjson"]))
	if err := b.ingester(always).Ingest(t.Context(), b.object); err != nil {
		t.Fatal(err)
	}
	b.body = nil
	next := b.continuations[0]
	if err := b.ingester(nil).Resume(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	r := b.sealed
	if r.Failure == nil || r.Failure.Code != events.ObjectVanished || r.Rows != next.Rows || r.Batches != 1 {
		t.Errorf("summary = %+v, want %d rows in 1 batch and %s", r, next.Rows, events.ObjectVanished)
	}
}

// TestContinueAtTheEnd continues at the end of the file, where nothing is left to read.
func TestContinueAtTheEnd(t *testing.T) {
	columns := &events.CSVState{Separator: ",", Width: 2, Person: 0, Flavor: 1, Action: -1}
	for name, tt := range map[string]struct {
		text   string
		state  events.ReaderState
		failed events.Code
	}{
		"a.csv":    {"person,flavor\nandy,mint\n", events.ReaderState{Line: 3, Column: 1, CSV: columns}, ""},
		"b.csv":    {"person,flavor\nandy,mint", events.ReaderState{Line: 2, Column: 10, CSV: columns}, ""},
		"a.tsv":    {"person\tflavor\nandy\tmint\n", events.ReaderState{Line: 3, Column: 1, CSV: columns}, ""},
		"a.ndjson": {`{"person":"andy","flavor":"mint"}` + "\n", events.ReaderState{Line: 2, Column: 1}, ""},
		"a.json":   {`{"andy":"mint",`, events.ReaderState{Line: 1, Column: 16, Open: "{"}, events.MalformedJSON},
	} {
		b := newFakePorts(name, []byte(tt.text))
		next := events.Continuation{Object: b.object, Offset: int64(len(tt.text)), Rows: 1, Batches: 1, Reader: &tt.state}
		if err := b.ingester(nil).Resume(t.Context(), next); err != nil {
			t.Fatalf("resuming %s: %v", name, err)
		}
		var code events.Code
		if b.sealed.Failure != nil {
			code = b.sealed.Failure.Code
		}
		if b.sealed.Rows != 1 || b.sealed.Batches != 1 || len(b.messages) != 0 || code != tt.failed {
			t.Errorf("%s: summary %+v and %d messages, want 1 row, code %q and no messages", name, b.sealed, len(b.messages),
				tt.failed)
		}
	}
}

// TestContinueRefusesOtherStates continues with states for other formats, which would yield wrong rows.
func TestContinueRefusesOtherStates(t *testing.T) {
	csv := events.ReaderState{Line: 2, Column: 1, CSV: &events.CSVState{Separator: ",", Width: 2, Flavor: 1, Action: -1}}
	object, lines := events.ReaderState{Line: 2, Column: 1, Open: "{"}, events.ReaderState{Line: 2, Column: 1}
	for name, states := range map[string][]events.ReaderState{
		"a.csv": {object, lines}, "a.tsv": {object, lines}, "a.json": {csv, lines}, "a.ndjson": {csv, object},
		"a.csv.gz": {csv}, "a.json.zst": {object}, "a.ndjson.gz": {lines},
	} {
		for _, state := range states {
			b := newFakePorts(name, compress(t, path.Ext(name), []byte(strings.Repeat("x,y\n", 100))))
			err := b.ingester(nil).Resume(t.Context(), events.Continuation{Object: b.object, Offset: 4, Rows: 1, Reader: &state})
			if err == nil && b.sealed.Failure == nil || len(b.messages) > 0 {
				t.Errorf("%s with %+v: error %v after %d messages, want an error or a failure and no messages", name, state, err,
					len(b.messages))
			}
			if !strings.Contains(name, ".gz") && !strings.Contains(name, ".zst") && !errors.Is(err, events.ErrPermanent) {
				t.Errorf("%s with %+v: error %v, want events.ErrPermanent", name, state, err)
			}
		}
	}
}

// generated is an object whose content is generated when it is read: a start, rows of the same length, and an end.
type generated struct {
	start, end string
	row        func(i int64) string
	length     int64 // of a row
	rows       int64

	from, read int64 // offset at which it was opened; bytes read
}

func (g *generated) size() int64 { return int64(len(g.start)) + g.rows*g.length + int64(len(g.end)) }

// at returns the offset of a row.
func (g *generated) at(row int64) int64 { return int64(len(g.start)) + row*g.length }

func (g *generated) Open(_ context.Context, _ events.Object, offset int64) (io.ReadCloser, map[string]string, error) {
	g.from = offset
	return io.NopCloser(g), nil, nil
}

func (g *generated) Read(p []byte) (n int, err error) {
	for n < len(p) {
		var piece string
		switch offset := g.from + g.read; {
		case offset >= g.size():
			return n, io.EOF
		case offset < int64(len(g.start)):
			piece = g.start[offset:]
		case offset >= g.at(g.rows):
			piece = g.end[offset-g.at(g.rows):]
		default:
			i := (offset - int64(len(g.start))) / g.length
			piece = g.row(i)[offset-g.at(i):]
		}
		c := copy(p[n:], piece)
		n, g.read = n+c, g.read+int64(c)
	}
	return n, nil
}

// TestContinueFarInAFile continues files of 30 GB near their ends. It checks that nothing before the offset is read,
// and that offsets and lines are the same as those of one reading.
func TestContinueFarInAFile(t *testing.T) {
	const size, left = 30_000_000_000, 20_000
	// Every tenth row has no flavor.
	flavor := func(i int64) string {
		if i%10 == 0 {
			return "    "
		}
		return "mint"
	}
	for name, g := range map[string]*generated{
		"a.csv": {start: "\ufeffnote;flavor;Person\r\n", row: func(i int64) string {
			return fmt.Sprintf("\"a;\n%09d\";%s;%012d\r\n", i, flavor(i), i)
		}},
		"a.tsv": {start: "person\tx\tflavor\n", row: func(i int64) string {
			return fmt.Sprintf("%012d\t\"\t\t\"\t%s\n", i, flavor(i))
		}},
		"a.ndjson": {row: func(i int64) string {
			return fmt.Sprintf("  {\"person\":\"%012d\", \"flavor\": \"%s\"}\n\n", i, flavor(i))
		}},
		"object.json": {start: "\n{\n", row: func(i int64) string {
			return fmt.Sprintf("  \"%012d\"\n:\"%s\",\n", i, flavor(i))
		}, end: `"x": "vanilla"}`},
		"array.json": {start: "[", row: func(i int64) string {
			return fmt.Sprintf("{\"flavor\":\"%s\",\n\"person\":\"%012d\"},\n", flavor(i), i)
		}, end: `{"person": "x", "flavor": "vanilla"}]`},
	} {
		t.Run(name, func(t *testing.T) {
			g.length = int64(len(g.row(0)))
			g.rows = 100
			short, err := io.ReadAll(g)
			if err != nil {
				t.Fatal(err)
			}
			// Compute the state at the offset from the state at the first row.
			first, err := ingest.Open(bytes.NewReader(short), name, ingest.Options{})
			if err != nil {
				t.Fatal(err)
			}
			_, bad, err := first.Next()
			if err != nil || bad == nil {
				t.Fatalf("first row: reject %+v, error %v, want a reject", bad, err)
			}
			lead := bad.Offset - int64(len(g.start)) // white space before the row
			state := *first.State(bad.Offset)
			g.rows = size / g.length
			passed := g.rows/10*10 - left
			linesOfRow := int64(strings.Count(g.row(0), "\n"))
			firstLine := state.Line
			state.Line += passed * linesOfRow
			if strings.HasPrefix(g.row(0), "{") { // the first row is on the line of the bracket
				state.Column -= int64(len(g.start))
			}

			b := newFakePorts(name, nil)
			b.object.Size = g.size()
			from := events.Continuation{Object: b.object, Offset: g.at(passed) + lead, Rows: passed, Batches: 1, Reader: &state}
			g.read = 0
			in := ingest.New(ingest.Config{
				Objects: g, Updates: b, Ledger: b, Reports: fakeReports{b}, Clock: time.Now, Log: slog.New(slog.DiscardHandler),
			})
			if err := in.Resume(t.Context(), from); err != nil {
				t.Fatal(err)
			}
			if want := g.size() - from.Offset; g.from != from.Offset || g.read != want {
				t.Errorf("read %d bytes from offset %d, want %d from %d", g.read, g.from, want, from.Offset)
			}
			rest := g.rows - passed
			if len(g.end) > 0 {
				rest++
			}
			if b.sealed.Failure != nil || b.sealed.Rows != passed+rest || b.sealed.Rejected != (g.rows-passed+9)/10 {
				t.Errorf("summary = %+v, want %d rows", b.sealed, passed+rest)
			}
			lines := strings.Split(b.report(), "\n")
			for i, line := range lines[:100] {
				row := passed + int64(i)*10
				if want := fmt.Sprintf(`{"line":%d,`, firstLine+row*linesOfRow); !strings.HasPrefix(line, want) {
					t.Fatalf("reject %d = %s, want it to have %s", i, line, want)
				}
				if want := fmt.Sprintf(`"offset":%d,`, g.at(row)+lead); !strings.Contains(line, want) {
					t.Fatalf("reject %d = %s, want it to have %s", i, line, want)
				}
			}
			origin, err := b.object.Origin()
			if err != nil {
				t.Fatal(err)
			}
			var seen int64
			for id, body := range b.messages {
				batch, err := events.DecodeBatch([]byte(body))
				if err != nil || batch.Origin != origin {
					t.Fatalf("message %s: origin %q, %v, want %q", id, batch.Origin, err, origin)
				}
				for _, u := range batch.Rows {
					if u.Person == "x" {
						continue
					}
					var i int64
					if _, err := fmt.Sscanf(u.Person, "%d", &i); err != nil || u.Offset != g.at(i)+lead || u.Flavor != "mint" {
						t.Fatalf("got %+v, want row %d", u, i)
					}
					seen++
				}
			}
			if want := (g.rows - passed) * 9 / 10; seen < want-1 || seen > want+1 {
				t.Errorf("got %d rows, want about %d", seen, want)
			}
		})
	}
}
