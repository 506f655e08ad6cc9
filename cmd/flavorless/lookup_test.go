package main

import (
	"bytes"
	"testing"

	"github.com/flavorless/flavorless/events"
)

// TestLookupSource checks how lookup names the upload that set the flavor: by its key, or by its id if the record is
// gone.
func TestLookupSource(t *testing.T) {
	t.Parallel()
	const id, since = "5v2kq3z8m1d7xw0rjt4ybn6c9e", "2026-11-23T08:19:00.123Z"
	favorite := map[string]string{"person": "andy", "flavor": "mint", "updated": since, "upload": id}
	earlier := map[string]string{"person": "andy", "flavor": "mint", "updated": since}
	for name, test := range map[string]struct {
		answers map[string]any
		want    string
	}{
		"kept": {
			map[string]any{"/ice-cream/andy": favorite, "/uploads/" + id: events.Upload{ID: id, Key: "uploads/team.csv"}},
			", set by uploads/team.csv (upload " + id + ")",
		},
		"no record":      {map[string]any{"/ice-cream/andy": favorite}, ", set by upload " + id},
		"earlier server": {map[string]any{"/ice-cream/andy": earlier}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			if err := lookup(t.Context(), &terminal{out: &out}, apiOf(t, test.answers), "andy", false); err != nil {
				t.Fatal(err)
			}
			if want := "mint  since " + since + test.want + "\n"; out.String() != want {
				t.Errorf("lookup prints %q, want %q", out.String(), want)
			}
		})
	}
}
