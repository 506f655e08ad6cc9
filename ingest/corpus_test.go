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

var update = flag.Bool("update", false, "write what the corpus gives as what it has to give; read the difference before you commit it")

const corpus = "testdata/corpus"

// TestCorpus reads files as people really upload them. Beside corpus/ lies in corpus.want/, for each, exactly what has to
// come of it. Where a line of it begins with a number, that is the offset.
func TestCorpus(t *testing.T) {
	files := corpusFiles(t)
	if len(files) < 250 {
		t.Fatalf("there are %d files, at least 250 belong there", len(files))
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
				t.Errorf("(-want +got):\n%s", diff)
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

// describe tells what becomes of a file: how it ends, its counts, and its rows in order. Of long files, and of long names,
// only some.
func describe(t *testing.T, content []byte, name string) string {
	var rows []string
	row := func(offset int64, format string, args ...any) {
		rows = append(rows, fmt.Sprintf("%d ", offset)+fmt.Sprintf(format, args...))
	}
	var accepted int64
	reading, err := ingest.Read(bytes.NewReader(content), name, ingest.Options{}, func(u events.Update) error {
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
		t.Fatalf("a file can only fail, not break the reader: %v", err)
	}
	if reading.Rows != accepted+reading.Rejected {
		t.Errorf("%d rows, %d of them accepted and %d rejected", reading.Rows, accepted, reading.Rejected)
	}
	var b strings.Builder
	status := "live"
	if reading.Failure != nil {
		status = "failed"
	}
	fmt.Fprintf(&b, "%s, format %q, rows %d, rejected %d\n", status, reading.Format, reading.Rows, reading.Rejected)
	if f := reading.Failure; f != nil {
		fmt.Fprintf(&b, "%d failed at %d:%d: %s: %s\n", f.Offset, f.Line, f.Column, f.Code, f.Reason)
	}
	const most = 20
	for _, r := range rows[:min(most, len(rows))] {
		fmt.Fprintln(&b, r)
	}
	if len(rows) > most {
		fmt.Fprintf(&b, "and %d more\n", len(rows)-most)
	}
	return b.String()
}

func short(s string) string {
	const most = 60
	if len(s) > most {
		return fmt.Sprintf("%+q… (%d bytes)", s[:most], len(s))
	}
	return fmt.Sprintf("%+q", s)
}
