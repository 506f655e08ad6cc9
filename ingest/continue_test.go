package ingest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
)

// TestContinueSpansOfEarlierReleases has 20 spans without the reader's state, whose readings begin at 0, and then, in the middle
// of the file, the next release. The messages are the same as those of one reading.
func TestContinueSpansOfEarlierReleases(t *testing.T) {
	for name, text := range resumeFiles() {
		whole, pieces := newBench(name, []byte(text)), newBench(name, []byte(text))
		whole.run(t, nil)
		pieces.earlier = true
		pieces.run(t, func(context.Context) bool { pieces.earlier = len(pieces.opened) < 40; return true }) // each is read twice
		if diff := cmp.Diff(whole.messages, pieces.messages); diff != "" {
			t.Errorf("%s: messages (-whole +pieces):\n%s", name, diff)
		}
		if whole.report() != pieces.report() {
			t.Errorf("%s: the reports differ", name)
		}
		if diff := cmp.Diff(whole.sealed, pieces.sealed, cmpopts.IgnoreFields(events.ReadSummary{}, "At")); diff != "" {
			t.Errorf("%s: reading (-whole +pieces):\n%s", name, diff)
		}
		for i, at := range pieces.opened {
			if started := at > 0; started != (i > 40) {
				t.Errorf("%s: reading %d began at %d", name, i, at)
			}
		}
	}
}

// TestContinuationsAreCounted lets a file be continued up to the maximum, and not once more.
func TestContinuationsAreCounted(t *testing.T) {
	stop := func(context.Context) bool { return true }
	b := newBench("a.csv", []byte(resumeFiles()["a.csv"]))
	if err := b.ingester(stop).Ingest(t.Context(), b.object); err != nil {
		t.Fatal(err)
	}
	for want := int64(1); want <= 5; want++ {
		span := b.spans[0]
		if b.spans = b.spans[1:]; span.Count != want {
			t.Fatalf("continuation %d says that it is number %d", want, span.Count)
		}
		if err := b.ingester(stop).Resume(t.Context(), span); err != nil {
			t.Fatal(err)
		}
	}
	span := b.spans[0]
	b.spans = nil
	span.Count = ingest.MaxContinuations
	if err := b.ingester(stop).Resume(t.Context(), span); err != nil {
		t.Fatal(err)
	}
	if len(b.spans) != 1 || b.spans[0].Count != ingest.MaxContinuations+1 || !b.sealed.At.IsZero() {
		t.Fatalf("after the last continuation: %+v, sealed %+v", b.spans, b.sealed)
	}
	last, opened := b.spans[0], len(b.opened)
	if err := b.ingester(stop).Resume(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	want := events.ReadSummary{
		Rows: last.Rows, Rejected: last.Rejected, Batches: last.Batches, Failure: &events.Failure{Code: events.Endless, Offset: last.Offset},
	}
	if diff := cmp.Diff(want, b.sealed, cmpopts.IgnoreFields(events.ReadSummary{}, "At", "Rejects", "RejectsAt"),
		cmpopts.IgnoreFields(events.Failure{}, "Reason")); diff != "" {
		t.Errorf("the upload ends as (-want +got):\n%s", diff)
	}
	if len(b.sealed.Rejects) == 0 || b.report() == "" {
		t.Error("the rejected rows so far are lost")
	}
	if len(b.spans) != 1 || len(b.opened) != opened {
		t.Error("it was read on nevertheless")
	}
}

// TestContinueVanished loses the object between two readings.
func TestContinueVanished(t *testing.T) {
	b := newBench("a.ndjson", []byte(resumeFiles()["a.ndjson"]))
	if err := b.ingester(func(context.Context) bool { return true }).Ingest(t.Context(), b.object); err != nil {
		t.Fatal(err)
	}
	b.body = nil
	span := b.spans[0]
	if err := b.ingester(nil).Resume(t.Context(), span); err != nil {
		t.Fatal(err)
	}
	r := b.sealed
	if r.Failure == nil || r.Failure.Code != events.ObjectVanished || r.Rows != span.Rows || r.Batches != 1 {
		t.Errorf("the upload ends as %+v", r)
	}
}

// TestContinueAtTheEnd has spans whose offset is that of the end of the file: nothing is left to read.
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
		b := newBench(name, []byte(tt.text))
		span := events.Continuation{Object: b.object, Offset: int64(len(tt.text)), Rows: 1, Batches: 1, Reader: &tt.state}
		if err := b.ingester(nil).Resume(t.Context(), span); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var code events.Code
		if b.sealed.Failure != nil {
			code = b.sealed.Failure.Code
		}
		if b.sealed.Rows != 1 || b.sealed.Batches != 1 || len(b.messages) != 0 || code != tt.failed {
			t.Errorf("%s ends as %+v with %d messages", name, b.sealed, len(b.messages))
		}
	}
}

// TestContinueRefusesOtherStates has states that don't belong to the format: reading on would give wrong rows.
func TestContinueRefusesOtherStates(t *testing.T) {
	csv := events.ReaderState{Line: 2, Column: 1, CSV: &events.CSVState{Separator: ",", Width: 2, Flavor: 1, Action: -1}}
	object, lines := events.ReaderState{Line: 2, Column: 1, Open: "{"}, events.ReaderState{Line: 2, Column: 1}
	for name, states := range map[string][]events.ReaderState{
		"a.csv": {object, lines}, "a.tsv": {object, lines}, "a.json": {csv, lines}, "a.ndjson": {csv, object},
		"a.csv.gz": {csv}, "a.json.zst": {object}, "a.ndjson.gz": {lines},
	} {
		for _, state := range states {
			b := newBench(name, pack(t, strings.Repeat("x,y\n", 100), name[strings.LastIndexByte(name, '.'):]))
			err := b.ingester(nil).Resume(t.Context(), events.Continuation{Object: b.object, Offset: 4, Rows: 1, Reader: &state})
			if err == nil && b.sealed.Failure == nil || len(b.messages) > 0 {
				t.Errorf("%s with %+v: %v, %d messages", name, state, err, len(b.messages))
			}
			if !strings.Contains(name, ".gz") && !strings.Contains(name, ".zst") && !errors.Is(err, events.ErrPermanent) {
				t.Errorf("%s with %+v: the error is %v, want events.ErrPermanent", name, state, err)
			}
		}
	}
}

// generated is an object whose content is made where it is read: a start, rows of one length, and an end.
type generated struct {
	start, end string
	row        func(i int64) string
	length     int64 // of a row
	rows       int64

	from, read int64 // offset at which it was opened; bytes read
}

func (g *generated) size() int64 { return int64(len(g.start)) + g.rows*g.length + int64(len(g.end)) }

// at is the offset of a row.
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

// TestContinueFarInAFile continues files of 30 GB near their ends. What precedes the offset is not read, and the rows, their
// versions and the lines of rejected rows are what one reading would have given.
func TestContinueFarInAFile(t *testing.T) {
	const size, left = 30_000_000_000, 20_000
	// Every row is good but each tenth, which has no flavor.
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
			rehearsal, err := io.ReadAll(g)
			if err != nil {
				t.Fatal(err)
			}
			// The state at the first row, as a reader gives it, is moved on by as many rows as are passed over.
			first, err := ingest.Open(bytes.NewReader(rehearsal), name, ingest.Options{})
			if err != nil {
				t.Fatal(err)
			}
			_, bad, err := first.Next()
			if err != nil || bad == nil {
				t.Fatalf("the first row is not rejected: %+v, %v", bad, err)
			}
			lead := bad.Offset - int64(len(g.start)) // white space before the row
			state := *first.State(bad.Offset)
			g.rows = size / g.length
			passed := g.rows/10*10 - left
			linesOfRow := int64(strings.Count(g.row(0), "\n"))
			firstLine := state.Line
			state.Line += passed * linesOfRow
			if strings.HasPrefix(g.row(0), "{") { // the first row stands on the line of the bracket
				state.Column -= int64(len(g.start))
			}

			b := newBench(name, nil)
			b.object.Size = g.size()
			from := events.Continuation{Object: b.object, Offset: g.at(passed) + lead, Rows: passed, Batches: 1, Reader: &state}
			g.read = 0
			in := ingest.New(ingest.Config{
				Objects: g, Updates: b, Ledger: b, Reports: benchReports{b}, Clock: time.Now, Log: slog.New(slog.DiscardHandler),
			})
			if err := in.Resume(t.Context(), from); err != nil {
				t.Fatal(err)
			}
			if want := g.size() - from.Offset; g.from != from.Offset || g.read != want {
				t.Errorf("read %d bytes from %d on, want %d from %d on", g.read, g.from, want, from.Offset)
			}
			rest := g.rows - passed
			if len(g.end) > 0 {
				rest++
			}
			if b.sealed.Failure != nil || b.sealed.Rows != passed+rest || b.sealed.Rejected != (g.rows-passed+9)/10 {
				t.Errorf("ended as %+v, want %d rows", b.sealed, passed+rest)
			}
			lines := strings.Split(b.report(), "\n")
			for i, line := range lines[:100] {
				row := passed + int64(i)*10
				if want := fmt.Sprintf(`{"line":%d,`, firstLine+row*linesOfRow); !strings.HasPrefix(line, want) {
					t.Fatalf("reject %d is %s, want %s", i, line, want)
				}
				if want := fmt.Sprintf(`"offset":%d,`, g.at(row)+lead); !strings.Contains(line, want) {
					t.Fatalf("reject %d is %s, want %s", i, line, want)
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
					t.Fatalf("message %s: %v", id, err)
				}
				for _, u := range batch.Rows {
					if u.Person == "x" {
						continue
					}
					var i int64
					if _, err := fmt.Sscanf(u.Person, "%d", &i); err != nil || u.Offset != g.at(i)+lead || u.Flavor != "mint" {
						t.Fatalf("%+v is not row %d", u, i)
					}
					seen++
				}
			}
			if want := (g.rows - passed) * 9 / 10; seen < want-1 || seen > want+1 {
				t.Errorf("%d rows, want %d", seen, want)
			}
		})
	}
}
