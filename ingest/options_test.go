package ingest_test

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
)

func TestParseOptions(t *testing.T) {
	for _, tt := range []struct {
		metadata map[string]string
		abort    bool
		says     string // in the failure; empty without one
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
		{metadata: map[string]string{"charset": "ebcdic"}, says: `the charset "ebcdic" in the metadata charset is not known; use one of utf-8, `},
		{metadata: map[string]string{"content-type": "text/csv; charset=koi9"}, says: `the charset "koi9" in the Content-Type`},
		{metadata: map[string]string{"content-type": "text/csv"}},
		{metadata: map[string]string{"content-type": "binary/octet-stream"}},
		{metadata: map[string]string{"person-column": " "}, says: "person-column is empty"},
		{metadata: map[string]string{"person-column": "Name", "flavor-column": "name"}, says: `"name" is named for two`},
		{metadata: map[string]string{"action-column": "Flavor"}, says: `"flavor" is named for two`},
		{metadata: map[string]string{"person-column": "flavor", "flavor-column": "person"}},
	} {
		got, err := ingest.ParseOptions(tt.metadata)
		var bad *ingest.FileError
		switch {
		case tt.says == "" && err != nil, got.Abort != tt.abort:
			t.Errorf("ParseOptions(%q) = %+v, %v; want abort %v", tt.metadata, got, err, tt.abort)
		case tt.says != "" && (!errors.As(err, &bad) || bad.Failure.Code != events.BadMetadata || !strings.Contains(bad.Failure.Reason, tt.says)):
			t.Errorf("ParseOptions(%q): %v, want %s that says %q", tt.metadata, err, events.BadMetadata, tt.says)
		}
	}
	for _, name := range ingest.Charsets() {
		if _, err := ingest.ParseOptions(map[string]string{"charset": strings.ToUpper(name)}); err != nil {
			t.Errorf("the charset %s: %v", name, err)
		}
	}
	if names := slices.Sorted(slices.Values(ingest.Charsets())); len(slices.Compact(names)) != len(ingest.Charsets()) {
		t.Errorf("Charsets() = %q has a name twice", ingest.Charsets())
	}
}

// TestIgnoredObjectsAreLeftAlone: an object that is no upload is neither opened nor recorded. The nil ports would panic.
func TestIgnoredObjectsAreLeftAlone(t *testing.T) {
	in := ingest.New(ingest.Config{Ignore: events.DefaultIgnoreList(), Log: slog.New(slog.DiscardHandler)})
	for _, key := range []string{"uploads/2026/", "uploads/run/_SUCCESS", "uploads/.a.csv.crc"} {
		if err := in.Ingest(t.Context(), events.Object{Bucket: "b", Key: key, ETag: "e", Sequencer: "1", Time: time.Now()}); err != nil {
			t.Errorf("Ingest(%q): %v", key, err)
		}
	}
}
