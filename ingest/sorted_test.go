package ingest_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/testutil"
)

// sortAll returns options that sort every file, into groups by the length of the person.
func sortAll(t *testing.T) ingest.Sorting {
	return ingest.Sorting{
		From: 1, Dir: t.TempDir(), MaxDisk: func() int64 { return 1 << 30 }, Group: byLength,
	}
}

func byLength(person string) int { return min(len(person), 30) / 10 }

// rows returns the rows of all published batches, in the order of their batches' first rows.
func (b *fakePorts) rows(t *testing.T) (rows []events.Update) {
	t.Helper()
	for id, body := range b.messages {
		batch, err := events.DecodeBatch([]byte(body))
		if err != nil {
			t.Fatalf("message %s: %v", id, err)
		}
		if want := b.sorting.From > 0 && b.comparing; batch.Compare != want {
			t.Errorf("batch %s compares: %t, want %t", id, batch.Compare, want)
		}
		if !slices.IsSortedFunc(batch.Rows, inCopy) && batch.Compare {
			t.Errorf("the rows of batch %s are not sorted", id)
		}
		if batch.Compare && byLength(batch.Rows[0].Person) != byLength(batch.Rows[len(batch.Rows)-1].Person) {
			t.Errorf("batch %s has rows of two groups", id)
		}
		rows = append(rows, batch.Rows...)
	}
	return rows
}

// inCopy compares rows by their order in the sorted copy.
func inCopy(a, b events.Update) int {
	return cmp.Or(cmp.Compare(byLength(a.Person), byLength(b.Person)), cmp.Compare(a.Person, b.Person))
}

// newest returns the last row of each person, in the order of the sorted copy.
func newest(rows []events.Update) []events.Update {
	slices.SortFunc(rows, func(a, b events.Update) int { return cmp.Or(inCopy(a, b), cmp.Compare(b.Offset, a.Offset)) })
	return slices.CompactFunc(rows, func(a, b events.Update) bool { return a.Person == b.Person })
}

// diffSummary compares summaries, but not when they were made.
func diffSummary(want, got events.ReadSummary) string {
	return gocmp.Diff(want, got, cmpopts.IgnoreFields(want, "At"), cmpopts.EquateEmpty())
}

// checkSorted checks that sorting publishes the newest row of each person in a file, once, and that the summary and the
// report are the same as without sorting.
func checkSorted(t *testing.T, name string, body []byte, pause func(context.Context) bool) {
	t.Helper()
	plain, sorted := newFakePorts(name, body), newFakePorts(name, body)
	sorted.sorting = sortAll(t)
	plain.run(t, nil)
	sorted.run(t, pause)
	all := plain.rows(t)
	count := int64(len(all))
	want, got := newest(all), sorted.rows(t)
	slices.SortFunc(got, inCopy)
	if diff := gocmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("rows (-newest +sorted):\n%s", diff)
	}
	summary := plain.sealed
	summary.Superseded, summary.Batches = count-int64(len(want)), int64(len(sorted.messages))
	if diff := diffSummary(summary, sorted.sealed); diff != "" {
		t.Errorf("summary (-without sorting +with sorting):\n%s", diff)
	}
	if plain.report() != sorted.report() {
		t.Errorf("the report has %d bytes, want the same %d as without sorting", len(sorted.report()), len(plain.report()))
	}
	if rest, err := os.ReadDir(sorted.sorting.Dir); err != nil || len(rest) > 0 {
		t.Errorf("temporary files remain: %v, %v", rest, err)
	}
	for key := range sorted.stored {
		if strings.Contains(key, "/rejects/") {
			t.Errorf("%s remains", key)
		}
	}
}

// TestSortedCorpus reads every file of the corpus with and without sorting.
func TestSortedCorpus(t *testing.T) {
	for _, name := range corpusFiles(t) {
		content, err := os.ReadFile(filepath.Join(corpus, name))
		if err != nil {
			t.Fatal(err)
		}
		if len(content) == 0 {
			continue // smaller than every threshold
		}
		t.Run(name, func(t *testing.T) { checkSorted(t, name, content, nil) })
	}
}

// TestSortedResume pauses after every batch, and repeats each continuation.
func TestSortedResume(t *testing.T) {
	testutil.SkipUnderRace(t)
	for name, text := range resumeFiles() {
		for _, compression := range []string{"", ".gz", ".zst"} {
			t.Run(name+compression, func(t *testing.T) {
				checkSorted(t, name+compression, compress(t, compression, []byte(text)), always)
			})
		}
	}
}

// TestSortedOnce checks that a repeated event reads the sorted copy and not the file.
func TestSortedOnce(t *testing.T) {
	b := newFakePorts("a.csv", []byte("person,flavor\nandy,mint\nbill,\nandy,nut\n"))
	b.sorting = sortAll(t)
	b.run(t, nil)
	first := b.sealed
	b.body, b.sealed = nil, events.ReadSummary{}
	if err := b.ingester(nil).Ingest(t.Context(), b.object); err != nil {
		t.Fatal(err)
	}
	if diff := diffSummary(first, b.sealed); diff != "" {
		t.Errorf("summary (-first +repeated):\n%s", diff)
	}
	if len(b.messages) != 1 || len(b.opened) != 1 {
		t.Errorf("got %d messages and %d readings, want 1 and 1", len(b.messages), len(b.opened))
	}
}

// TestUnsorted checks that a file which needs too much disk is published in file order, also when there is more disk at
// the next delivery, because the batches would be counted twice.
func TestUnsorted(t *testing.T) {
	text := []byte("person,flavor\n")
	for i := range 200 {
		text = fmt.Appendf(text, "person %d,mint\n", 1000-i)
	}
	b := newFakePorts("a.csv", text)
	b.sorting = sortAll(t)
	b.sorting.MaxDisk = func() int64 { return 10 }
	b.run(t, nil)
	before, first := len(b.messages), b.sealed
	b.sealed, b.sorting = events.ReadSummary{}, sortAll(t)
	if err := b.ingester(nil).Ingest(t.Context(), b.object); err != nil {
		t.Fatal(err)
	}
	if before < 2 || len(b.messages) != before || b.comparing {
		t.Errorf("got %d messages, then %d (comparing: %t); want several, the same, false",
			before, len(b.messages), b.comparing)
	}
	if diff := diffSummary(first, b.sealed); diff != "" {
		t.Errorf("summary (-first +repeated):\n%s", diff)
	}
}

// TestSortFromChanged checks that a repeated event cuts the same batches if Sorting.From has changed since the first
// delivery, because the rows would be counted twice.
func TestSortFromChanged(t *testing.T) {
	text := []byte("person,flavor\n")
	for i := range 200 {
		text = fmt.Appendf(text, "person %d,mint\n", 1000-i)
	}
	size := int64(len(text))
	for name, from := range map[string]struct{ before, after int64 }{
		"enabled": {0, 1}, "disabled": {1, 0}, "decreased": {size + 1, size}, "increased": {size, size + 1},
	} {
		t.Run(name, func(t *testing.T) {
			whole := newFakePorts("a.csv", text)
			whole.sorting = sortAll(t)
			whole.sorting.From = from.before
			whole.run(t, nil)
			b := newFakePorts("a.csv", text)
			b.sorting, b.sealFails = sortAll(t), events.ErrUnavailable
			b.sorting.From = from.before
			if err := b.ingester(nil).Ingest(t.Context(), b.object); !errors.Is(err, events.ErrUnavailable) {
				t.Fatalf("Ingest() = %v, want events.ErrUnavailable", err)
			}
			b.sorting.From = from.after
			b.run(t, nil)
			b.compare(t, whole)
		})
	}
}

// TestSortedAbort checks that on-error=abort publishes nothing if a row is bad.
func TestSortedAbort(t *testing.T) {
	for flavor, want := range map[string]int{"": 0, "nut": 1} {
		b := newFakePorts("a.csv", []byte("person,flavor\nandy,mint\nbill,"+flavor+"\n"))
		b.metadata = map[string]string{ingest.MetadataOnError: "abort"}
		plain := newFakePorts("a.csv", b.body)
		plain.metadata = b.metadata
		b.sorting = sortAll(t)
		b.run(t, nil)
		plain.run(t, nil)
		if len(b.messages) != want {
			t.Errorf("flavor %q: got %d messages, want %d", flavor, len(b.messages), want)
		}
		if diff := diffSummary(plain.sealed, b.sealed); diff != "" {
			t.Errorf("flavor %q: summary (-without sorting +with sorting):\n%s", flavor, diff)
		}
	}
}

// TestSortedColumns checks the names of columns in the metadata.
func TestSortedColumns(t *testing.T) {
	for column, rows := range map[string]int64{"who": 1, "whom": 0} {
		plain := newFakePorts("a.csv", []byte("who,flavor\nandy,mint\n"))
		plain.metadata = map[string]string{ingest.MetadataPersonColumn: column}
		sorted := newFakePorts("a.csv", plain.body)
		sorted.metadata, sorted.sorting = plain.metadata, sortAll(t)
		plain.run(t, nil)
		sorted.run(t, nil)
		if sorted.sealed.Rows != rows {
			t.Errorf("column %s: got %d rows, want %d", column, sorted.sealed.Rows, rows)
		}
		if diff := diffSummary(plain.sealed, sorted.sealed); diff != "" {
			t.Errorf("column %s: summary (-without sorting +with sorting):\n%s", column, diff)
		}
	}
}
