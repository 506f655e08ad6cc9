package ingest_test

import (
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/testutil"
)

func TestParseOptions(t *testing.T) {
	for _, tt := range []struct {
		metadata map[string]string
		abort    bool
		says     string // part of the reason; empty if no failure is wanted
	}{
		{metadata: nil},
		{metadata: map[string]string{"on-error": "abort"}, abort: true},
		{metadata: map[string]string{"on-error": "ABORT"}, abort: true},
		{metadata: map[string]string{"on-error": " Abort\t"}, abort: true},
		{metadata: map[string]string{"on-error": "continue"}},
		{metadata: map[string]string{"on-error": ""}},
		{metadata: map[string]string{"mtime": "1764", "s3cmd-attrs": "stop"}},
		{metadata: map[string]string{"on-error": "stop"}, says: `the metadata on-error is "stop"`},
		{metadata: map[string]string{"on-error": "abort;"}, says: `"abort;"`},
		{metadata: map[string]string{"on-error": "a\x1b[2Jb"}, says: `"a\x1b[2Jb"`},
		{metadata: map[string]string{"charset": "ebcdic"},
			says: `the charset "ebcdic" in the metadata charset is unknown; use one of utf-8, `},
		{metadata: map[string]string{"content-type": "text/csv; charset=koi9"},
			says: `the charset "koi9" in the Content-Type`},
		{metadata: map[string]string{"content-type": "text/csv"}},
		{metadata: map[string]string{"content-type": "text/csv;; header=present"}},
		{metadata: map[string]string{"content-type": "text/csv; charset=windows-1252; x"}, says: "has an invalid charset"},
		{metadata: map[string]string{"content-type": "text/csv;; Charset=latin1"}, says: "has an invalid charset"},
		{metadata: map[string]string{"on_error": "abort"},
			says: `the metadata name "on_error" is unknown; did you mean on-error?`},
		{metadata: map[string]string{"onerror": "abort"}, says: "did you mean on-error?"},
		{metadata: map[string]string{"person_column": "name"}, says: "did you mean person-column?"},
		{metadata: map[string]string{"content-type": "binary/octet-stream"}},
		{metadata: map[string]string{"person-column": " "}, says: "person-column is empty"},
		{metadata: map[string]string{"person-column": "Name", "flavor-column": "name"}, says: `from the column "name"`},
		{metadata: map[string]string{"action-column": "Flavor"}, says: `from the column "flavor"`},
		{metadata: map[string]string{"person-column": "flavor", "flavor-column": "person"}},
	} {
		got, err := ingest.ParseOptions(tt.metadata)
		var bad *ingest.FileError
		switch {
		case tt.says == "" && err != nil, got.Abort != tt.abort:
			t.Errorf("ParseOptions(%q) = %+v, %v, want abort %v", tt.metadata, got, err, tt.abort)
		case tt.says != "" &&
			(!errors.As(err, &bad) || bad.Failure.Code != events.BadMetadata || !strings.Contains(bad.Failure.Reason, tt.says)):
			t.Errorf("ParseOptions(%q): error %v, want %s with %q in the reason", tt.metadata, err, events.BadMetadata, tt.says)
		}
	}
	for _, name := range ingest.Charsets() {
		if _, err := ingest.ParseOptions(map[string]string{"charset": strings.ToUpper(name)}); err != nil {
			t.Errorf("ParseOptions with charset %s: %v", name, err)
		}
	}
	if names := slices.Sorted(slices.Values(ingest.Charsets())); len(slices.Compact(names)) != len(ingest.Charsets()) {
		t.Errorf("Charsets() = %q, want no name twice", ingest.Charsets())
	}
}

// TestIgnoredObjects checks that ignored objects are neither opened nor recorded: the nil interfaces would panic.
func TestIgnoredObjects(t *testing.T) {
	in := ingest.New(ingest.Config{Ignore: events.DefaultIgnoreList(), Log: slog.New(slog.DiscardHandler)})
	for _, key := range []string{"uploads/2026/", "uploads/run/_SUCCESS", "uploads/.a.csv.crc"} {
		if err := in.Ingest(t.Context(),
			events.Object{Bucket: "b", Key: key, ETag: "e", Sequencer: "1", Time: time.Now()}); err != nil {
			t.Errorf("Ingest(%q): %v", key, err)
		}
	}
}

// columnFiles have the same two rows, one of which removes a person, with other column names.
var columnFiles = map[string]string{
	"a.csv":  "id,Name,Lieblingseis,Was\n1,Zoë,mint,\n2,andy,,remove\n",
	"a.tsv":  "Was\tName\tLieblingseis\n\tZoë\tmint\nREMOVE\tandy\t\n",
	"b.csv":  "\ufeff\"name \";LIEBLINGSEIS;was\r\nZoë;mint;set\r\nandy;;remove\r\n",
	"a.json": `[{"id": 1, "Name": "Zoë", "Lieblingseis": "mint"}, {"Name": "andy", "Was": "remove"}]`,
	"a.ndjson": `{"name": "Zoë", "lieblingseis": "mint", "person": "nobody", "flavor": 7}` + "\n" +
		`{"NAME": "andy", "WAS": "remove"}`,
}

func TestColumnNames(t *testing.T) {
	metadata := map[string]string{"person-column": "name", "flavor-column": "Lieblingseis", "action-column": " was "}
	for name, text := range columnFiles {
		got := readWith(t, strings.NewReader(text), name, metadata)
		want := outcome{Rows: []events.Update{{Person: "Zoë", Flavor: "mint"}, {Person: "andy", Remove: true}}}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(events.Update{}, "Offset")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	encoded := readWith(t, strings.NewReader("prénom,flavor\nZoë,mint\n"), "a.csv",
		map[string]string{"person-column": "=?utf-8?b?UHLDqW5vbQ==?="})
	if len(encoded.Rows) != 1 || encoded.Rows[0].Person != "Zoë" {
		t.Errorf("name that is not ASCII: got %+v, want Zoë", encoded)
	}
	swapped := readWith(t, strings.NewReader("person,flavor\nmint,andy\n"), "a.csv",
		map[string]string{"person-column": "flavor", "flavor-column": "person"})
	if len(swapped.Rows) != 1 || swapped.Rows[0].Person != "andy" {
		t.Errorf("swapped columns: got %+v, want andy", swapped)
	}
	again := readWith(t, strings.NewReader("name,flavor\nandy,mint\nName,Flavor\nbob,nut\n"), "a.csv",
		map[string]string{"person-column": "name"})
	if len(again.Rows) != 2 || len(again.Rejects) != 1 {
		t.Errorf("header in the middle: got %+v, want 2 rows and 1 reject", again)
	}
	for name, text := range map[string]string{"a.csv": "name,flavor,name\na,b,c\n",
		"a.ndjson": `{"name":"a","Name":"b","flavor":"c"}`} {
		twice := readWith(t, strings.NewReader(text), name, map[string]string{"person-column": "name"})
		if len(twice.Rows) != 0 || twice.Failure == nil && len(twice.Rejects) != 1 {
			t.Errorf("%s with a name twice: got %+v, want a failure or a reject", name, twice)
		}
	}
}

// TestMissingColumns checks that a file fails before anything is published if it does not have a named column.
func TestMissingColumns(t *testing.T) {
	testutil.SkipUnderRace(t)
	long := strings.Repeat(`{"person":"andy","flavor":"mint"}`+"\n", 20_000)
	for _, tt := range []struct {
		file, text string
		metadata   map[string]string
		fails      bool
	}{
		{"a.csv", "person,flavor\nandy,mint\n", map[string]string{"person-column": "name"}, true},
		{"a.csv", "person,flavor\nandy,mint\n", map[string]string{"action-column": "was"}, true},
		{"a.tsv", "person\tflavor\nandy\tmint\n", map[string]string{"flavor-column": "ice"}, true},
		{"a.json", `[{"person":"andy","flavor":"mint"}]`, map[string]string{"person-column": "name"}, true},
		{"a.json", `[{"person":"andy","flavor":"mint"}]`, map[string]string{"action-column": "was"}, true},
		{"a.json", `{"andy":"mint"}`, map[string]string{"person-column": "name"}, true},
		{"a.json", `{"andy":"mint"}`, map[string]string{"flavor-column": "andy"}, true},
		{"a.ndjson", long, map[string]string{"flavor-column": "ice"}, true},
		{"a.ndjson", long, map[string]string{"action-column": "was"}, true},
		{"a.ndjson", long + `{"person":"andy","was":"remove"}`, map[string]string{"action-column": "was"}, false},
		{"a.ndjson", long, map[string]string{"action-column": "action"}, false},
		{"a.ndjson", "\n", map[string]string{"person-column": "name"}, false}, // no rows
		{"a.json", "[]", map[string]string{"person-column": "name"}, false},
	} {
		for _, abort := range []string{"continue", "abort"} {
			b := newFakePorts(tt.file, []byte(tt.text))
			b.metadata = maps.Clone(tt.metadata)
			b.metadata["on-error"] = abort
			if err := b.ingester(nil).Ingest(t.Context(), b.object); err != nil {
				t.Fatal(err)
			}
			failed := b.sealed.Failure != nil
			if failed != tt.fails || failed && len(b.messages) > 0 {
				t.Errorf("%.40q with %q: failure = %+v after %d messages, want one: %v", tt.text, b.metadata, b.sealed.Failure,
					len(b.messages), tt.fails)
			}
			for _, name := range tt.metadata {
				if failed && !strings.Contains(b.sealed.Failure.Reason, name) {
					t.Errorf("%.40q: reason = %q, want %q in it", tt.text, b.sealed.Failure.Reason, name)
				}
			}
			checked := readWith(t, strings.NewReader(tt.text), tt.file, tt.metadata)
			if (checked.Failure != nil) != tt.fails {
				t.Errorf("%.40q with %q: failure of Read = %+v, want one: %v", tt.text, tt.metadata, checked.Failure, tt.fails)
			}
		}
	}
}

// TestUnknownMetadata checks that a file with unknown metadata fails before anything is published.
func TestUnknownMetadata(t *testing.T) {
	for _, metadata := range []map[string]string{
		{"on-error": "stop"}, {"on-error": "abort;"}, {"charset": "ebcdic"}, {"content-type": "text/csv; charset=ebcdic"},
		{"person-column": ""},
	} {
		b := newFakePorts("a.csv", []byte("person,flavor\nandy,mint\n"))
		b.metadata = metadata
		if err := b.ingester(nil).Ingest(t.Context(), b.object); err != nil {
			t.Fatal(err)
		}
		if f := b.sealed.Failure; f == nil || f.Code != events.BadMetadata || len(b.messages) > 0 {
			t.Errorf("%q: failure = %+v after %d messages, want %s after 0", metadata, f, len(b.messages), events.BadMetadata)
		}
	}
}
