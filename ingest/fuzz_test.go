package ingest_test

import (
	"bytes"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
)

// fuzzRead feeds a format with anything. Beyond what readAll checks: names are clean, a row is found at its offset's
// line, and the outcome is the same if the bytes come one by one.
func fuzzRead(f *testing.F, file string, seeds ...string) {
	for _, g := range grammars {
		if g.file == file {
			f.Add([]byte(g.start + strings.Join(g.rows, g.between[0]) + g.end))
		}
	}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		got := readAll(t, bytes.NewReader(content), file)
		for _, u := range got.Rows {
			clean(t, u.Person)
			if !u.Remove {
				clean(t, u.Flavor)
			} else if u.Flavor != "" {
				t.Errorf("%+v removes and sets", u)
			}
			if u.Offset >= int64(len(content)) || strings.IndexByte(" \n,", content[u.Offset]) >= 0 && !strings.HasPrefix(file, "a.csv") && !strings.HasPrefix(file, "a.tsv") {
				t.Errorf("%+v does not begin there", u)
			}
		}
		for _, r := range got.Rejects {
			if line := int64(bytes.Count(content[:r.Offset], []byte("\n"))) + 1; r.Line != line {
				t.Errorf("%+v is on line %d", r, line)
			}
		}
		if b := got.Failure; b != nil && (b.Code == "" || b.Reason == "" || b.Offset > int64(len(content)) || b.Line < 0) {
			t.Errorf("failure %+v is incomplete", b)
		}
		if len(content) > 10_000 {
			return
		}
		bytewise := readAll(t, iotest.OneByteReader(bytes.NewReader(content)), file)
		if diff := cmp.Diff(got, bytewise); diff != "" {
			t.Errorf("byte by byte (-whole +bytewise):\n%s", diff)
		}
	})
}

func clean(t *testing.T, name string) {
	t.Helper()
	if again, bad := events.CleanName(name, "name", "missing"); bad != nil || again != name {
		t.Errorf("%q is not clean: %q, %v", name, again, bad)
	}
}

func FuzzReadCSV(f *testing.F) {
	fuzzRead(f, "a.csv", header, header+"andy,\"vanilla", "person;flavor\na;b\n", "flavor,action,person\n,remove,x")
}

func FuzzReadTSV(f *testing.F) { fuzzRead(f, "a.tsv", "person\tflavor\nandy\t\"") }

func FuzzReadJSON(f *testing.F) {
	fuzzRead(f, "a.json", `{"andy":"vanilla",`, `{"andy"`, "[\n{}\n", `[{"p\u0065rson":"\ud83c\udf66","flavor":null}]`, `{"a":"b"}{"c":"d"}`, `{} x`)
}

func FuzzReadNDJSON(f *testing.F) {
	fuzzRead(f, "a.ndjson", "{\"person\":\"a\",\"flavor\":\"b\"}\r\n{\"person\":\"a\",\n\n", `{"person":"\u00e4","action":"remove"}`)
}

// FuzzReadCompressed only looks for panics and endless loops: offsets are those of the decompressed file.
func FuzzReadCompressed(f *testing.F) {
	for i, suffix := range []string{".gz", ".zst"} {
		f.Add(compress(f, suffix, []byte(header+"andy,vanilla\n")), i == 0)
	}
	f.Fuzz(func(t *testing.T, content []byte, gzip bool) {
		name := "a.csv.zst"
		if gzip {
			name = "a.csv.gz"
		}
		readAll(t, bytes.NewReader(content), name)
	})
}
