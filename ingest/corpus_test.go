package ingest_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
)

var update = flag.Bool("update", false,
	"write the outcomes of the corpus; review the differences before you commit them")

const corpus = "testdata/corpus"

// TestCorpus reads files like those that people upload. The directory corpus.want has the exact outcome of each file in
// corpus. Lines that begin with a number begin with an offset.
func TestCorpus(t *testing.T) {
	files := corpusFiles(t)
	if len(files) < 250 {
		t.Fatalf("got %d files, want at least 250", len(files))
	}
	for _, name := range files {
		t.Run(name, func(t *testing.T) {
			content, err := os.ReadFile(filepath.Join(corpus, name))
			if err != nil {
				t.Fatal(err)
			}
			got := describe(t, content, name)
			golden := filepath.Join(corpus+".want", name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
		})
	}
}

func corpusFiles(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir(corpus)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// describe returns the outcome of reading a file: its status, its counts, and its rows in order. It cuts long lists and
// names.
func describe(t *testing.T, content []byte, name string) string {
	var rows []string
	row := func(offset int64, format string, args ...any) {
		rows = append(rows, fmt.Sprintf("%d ", offset)+fmt.Sprintf(format, args...))
	}
	var accepted int64
	summary, err := ingest.Read(bytes.NewReader(content), name, ingest.Options{}, func(u events.Update) error {
		accepted++
		if u.Remove {
			row(u.Offset, "remove %s", short(u.Person))
		} else {
			row(u.Offset, "%s = %s", short(u.Person), short(u.Flavor))
		}
		return nil
	}, func(r *events.Reject) error {
		row(r.Offset, "rejected at %d:%d: %s: %s\n  %s", r.Line, r.Column, r.Code, r.Reason, short(r.Raw))
		return nil
	})
	if err != nil {
		t.Fatalf("Read(%s): %v", name, err)
	}
	if summary.Rows != accepted+summary.Rejected {
		t.Errorf("got %d rows, want the sum of %d accepted and %d rejected ones", summary.Rows, accepted, summary.Rejected)
	}
	var b strings.Builder
	status := "live"
	if summary.Failure != nil {
		status = "failed"
	}
	fmt.Fprintf(&b, "%s, format %q, rows %d, rejected %d\n", status, summary.Format, summary.Rows, summary.Rejected)
	if f := summary.Failure; f != nil {
		fmt.Fprintf(&b, "%d failed at %d:%d: %s: %s\n", f.Offset, f.Line, f.Column, f.Code, f.Reason)
	}
	const maxRows = 20
	for _, r := range rows[:min(maxRows, len(rows))] {
		fmt.Fprintln(&b, r)
	}
	if len(rows) > maxRows {
		fmt.Fprintf(&b, "and %d more\n", len(rows)-maxRows)
	}
	return b.String()
}

func short(s string) string {
	const maxBytes = 60
	if len(s) > maxBytes {
		return fmt.Sprintf("%+q… (%d bytes)", s[:maxBytes], len(s))
	}
	return fmt.Sprintf("%+q", s)
}
