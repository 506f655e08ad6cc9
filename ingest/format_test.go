package ingest_test

import (
	"bytes"
	"errors"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
)

func TestFileTypeOf(t *testing.T) {
	for name, want := range map[string]string{
		"team.csv":                    "csv",
		"TEAM.CSV":                    "csv",
		"a/b.json/team.tsv":           "tsv",
		"team.json":                   "json",
		"team.ndjson":                 "ndjson",
		"team.jsonl":                  "ndjson",
		"team.csv.gz":                 "csv+gzip",
		"team.v2.Json.Zst":            "json+zstd",
		"2026/über uns/team.jsonl.gz": "ndjson+gzip",
		".csv":                        "csv",
	} {
		t.Run(name, func(t *testing.T) {
			f, err := ingest.FileTypeOf(name)
			if err != nil {
				t.Fatal(err)
			}
			if got := f.String(); got != want {
				t.Errorf("FileTypeOf(%q) = %s, want %s", name, got, want)
			}
		})
	}
	for _, name := range []string{"", "team", "team.xlsx", "team.csv.bz2", "team.gz", "team.csv.gz.gz", "team.csv ",
		"csv"} {
		t.Run("unknown "+name, func(t *testing.T) {
			f, err := ingest.FileTypeOf(name)
			var bad *ingest.FileError
			if !errors.As(err, &bad) || bad.Failure.Code != events.UnknownFormat {
				t.Errorf("FileTypeOf(%q) = %v, %v, want %s", name, f, err, events.UnknownFormat)
			}
		})
	}
}

// TestUnknownFormat checks that the reason quotes the end of the name, including invisible characters.
func TestUnknownFormat(t *testing.T) {
	for name, want := range map[string]string{
		"uploads/team.csv ": `"team.csv "`, "team.json\u00a0": `"team.json\u00a0"`, " team": `" team"`,
		"team.csv\n": `"team.csv\n"`, "team.c\x1bsv": `".c\x1bsv"`,
		"team.xlsx": `".xlsx"`, "uploads/_SUCCESS": `"_SUCCESS"`, "team.tar.gz": `".gz"`, "team.\xff": "\".\ufffd\"",
	} {
		_, err := ingest.FileTypeOf(name)
		var bad *ingest.FileError
		if !errors.As(err, &bad) || !strings.Contains(bad.Failure.Reason, want) {
			t.Errorf("FileTypeOf(%q): error %v, want %s in it", name, err, want)
			continue
		}
		printable(t, bad.Failure.Reason)
	}
}

// TestTeam reads the same team from every format and compression. The outcomes differ only in offsets.
func TestTeam(t *testing.T) {
	want := []events.Update{
		{Person: "dan", Flavor: "mint chocolate chip"},
		{Person: "bill", Flavor: "mint chocolate chip"},
		{Person: "marija", Flavor: "mint chocolate chip"},
		{Person: "liz", Flavor: "pistachio"},
		{Person: "shane", Flavor: "rocky road"},
		{Person: "andy", Flavor: "cookie dough"},
		{Person: "cedric", Flavor: "cookie dough"},
		{Person: "eileen", Flavor: "cookie dough"},
	}
	for _, rows := range []string{"team.csv", "team.tsv", "team.json", "team.array.json", "team.ndjson"} {
		for _, compression := range []string{"", ".gz", ".zst"} {
			t.Run(rows+compression, func(t *testing.T) {
				f, err := os.Open("testdata/" + rows + compression)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				got := readAll(t, f, f.Name())
				if diff := cmp.Diff(outcome{Rows: want}, got, withoutReasons,
					cmpopts.IgnoreFields(events.Update{}, "Offset")); diff != "" {
					t.Errorf("rows (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestMismatch reads content that does not match the file name.
func TestMismatch(t *testing.T) {
	for _, c := range []struct{ name, file, content, reason string }{
		{"gzip", "a.csv", "\x1f\x8b\x08\x00", ".gz"},
		{"zstd", "a.ndjson", "\x28\xb5\x2f\xfd\x00", ".zst"},
		{"spreadsheet", "a.csv", "PK\x03\x04", "export it as CSV"},
		{"old spreadsheet", "a.csv", "\xd0\xcf\x11\xe0\xa1", "export it as CSV"},
		{"Parquet", "a.json", "PAR1\x15", "Parquet"},
		{"bzip2", "a.csv", "BZh91AY&SY\x89\x00", "bzip2"},
		{"bzip2 of nothing", "a.csv", "BZh9\x17\x72\x45\x38\x50\x90\x00", "bzip2"},
		{"ZIP of nothing", "a.csv", "PK\x05\x06\x00\x00", "ZIP"},
		{"PDF", "a.csv", "%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "PDF"},
		{"PDF of a Mac", "a.tsv", "%PDF-1.4\r%\xe2\xe3\r", "PDF"},
		{"array of objects as CSV", "a.csv", "[\n  {\"person\": \"andy\"}]", ".json"},
		{"quotes of a word processor", "a.json", "“andy”: \"mint\"", "U+201C"},
		{"quotes on a later line", "a.json", "\n ‘andy’", "U+2018"},
		{"no-break space", "a.json", "\u00a0{}", "U+00A0"},
		{"second byte order mark", "a.json", "\ufeff\ufeff{}", "U+FEFF"},
		{"zero-width space", "a.json", "\u200b{}", "U+200B"},
		{"next line", "a.json", "\u0085{}", "U+0085"},
		{"Latin-1", "a.json", "\xa0{}", "0xA0"},
		{"control character", "a.json", "\x1b[31m", "U+001B"},
		{"single quotes", "a.json", "'andy'", "double quotes"},
		{"xz", "a.json", "\xfd7zXZ\x00\x00", "xz"},
		{"UTF-16 little endian", "a.csv", "p\x00e\x00", "charset=utf-16le"},
		{"UTF-16 big endian", "a.json", "\x00{\x00}", "charset=utf-16be"},
		{"JSON as CSV", "a.csv", "\n{\"andy\": \"vanilla\"}", ".json"},
		{"array as TSV", "a.tsv", "[]", "TSV"},
		{"CSV as JSON", "a.json", "person,flavor\n", "one object or one array"},
		{"a JSON string", "a.json", `"andy"`, "one object or one array"},
		{"NDJSON as JSON", "a.json", "{\"person\":\"andy\"}\n{\"person\":\"dan\"}\n", ".ndjson"},
		{"array as NDJSON", "a.ndjson", "[{}]", ".json"},
		{"CR line ends", "a.csv", "person,flavor\randy,vanilla\r", "LF or CRLF"},
		{"not gzip", "a.csv.gz", "person,flavor\n", "not gzip"},
		{"not zstd", "a.csv.zst", "person,flavor\n", "not zstd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := readAll(t, strings.NewReader(c.content), c.file)
			if got.Failure == nil || got.Failure.Code != events.FormatMismatch ||
				!strings.Contains(got.Failure.Reason, c.reason) {
				t.Errorf("failure = %+v, want %s with %q in the reason", got.Failure, events.FormatMismatch, c.reason)
			}
		})
	}
}

// TestHeaderLikeSignature reads CSV files whose header begins like a file of another type.
func TestHeaderLikeSignature(t *testing.T) {
	for _, column := range []string{
		"PAR1", "PAR1 level", "BZh", "BZh9", "BZh91", "BZh91AY", "%PDF-", "%PDF-count", "%PDF-1.7", "PK", "PKID", "[id]",
		"[1]", "{id}", "<id>", "7z", "Rar!",
	} {
		for file, comma := range map[string]string{"a.csv": ",", "b.csv": ";", "a.tsv": "\t", "a.csv.gz": ",",
			"a.tsv.zst": "\t"} {
			content := strings.Join([]string{column, "person", "flavor"},
				comma) + "\n" + strings.Join([]string{"1", "andy", "mint"}, comma) + "\n"
			stored := compress(t, path.Ext(file), []byte(content))
			got := readAll(t, bytes.NewReader(stored), file)
			want := rows(set(int64(strings.Index(content, "\n"))+1, "andy", "mint"))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%q as %s (-want +got):\n%s", content, file, diff)
			}
		}
	}
}

// TestMismatchPosition checks the position of the first character that can't begin JSON.
func TestMismatchPosition(t *testing.T) {
	for content, want := range map[string][2]int64{"“": {1, 1}, "\ufeff\ufeff{}": {1, 4}, "\n\r\n  \u00a0{}": {3, 3},
		"\ufeff\n x": {2, 2}} {
		got := readAll(t, strings.NewReader(content), "a.json").Failure
		if got == nil || [2]int64{got.Line, got.Column} != want {
			t.Errorf("reading %q: failure = %+v, want it at line %d, column %d", content, got, want[0], want[1])
		}
	}
}

// TestNoRows reads valid files without rows.
func TestNoRows(t *testing.T) {
	empty := map[string]string{"gzip": "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"zstd": "\x28\xb5\x2f\xfd\x24\x00\x01\x00\x00\x99\xe9\xd8\x51"}
	for _, c := range []struct{ name, file, content string }{
		{"csv of 0 bytes", "a.csv", ""},
		{"tsv of 0 bytes", "a.tsv", ""},
		{"json of 0 bytes", "a.json", ""},
		{"ndjson of 0 bytes", "a.ndjson", ""},
		{"gz of 0 bytes", "a.csv.gz", ""},
		{"zst of 0 bytes", "a.csv.zst", ""},
		{"empty gzip", "a.json.gz", empty["gzip"]},
		{"empty zstd", "a.ndjson.zst", empty["zstd"]},
		{"csv of a byte order mark", "a.csv", "\ufeff"},
		{"json of a byte order mark", "a.json", "\ufeff"},
		{"csv of blank lines", "a.csv", "\n\r\n\n"},
		{"json of blank lines", "a.json", " \n\r\n\t"},
		{"ndjson of blank lines", "a.ndjson", " \n\r\n\t"},
		{"csv of a CR", "a.csv", "\n\r"},
		{"header", "a.csv", "person,flavor"},
		{"header with newline", "a.tsv", "person\tflavor\r\n"},
		{"header and blank lines", "a.csv", "person,flavor\n\n\r\n"},
		{"empty object", "a.json", "{}"},
		{"empty array", "a.json", " [ ] \n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := readAll(t, strings.NewReader(c.content), c.file)
			if diff := cmp.Diff(outcome{}, got, withoutReasons); diff != "" {
				t.Errorf("reading %q (-want +got):\n%s", c.content, diff)
			}
		})
	}
}
