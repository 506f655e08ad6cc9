package ingest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
)

// TestPlainRows compares the decoder of plain rows with the general one.
func TestPlainRows(t *testing.T) {
	tokens := rapid.SampledFrom([]string{
		`{`, `}`, `"person"`, `"flavor"`, `"action"`, `"Person"`, `"other"`, `:`, `,`, ` `, `"andy"`, `"cookie dough"`, `""`,
		`"remove"`, `"a\"b"`, `"é"`, "\"\x7f\"", `null`, `1`, `"`, `{"person":"andy","flavor":"mint"}`,
	})
	rapid.Check(t, func(t *rapid.T) {
		row := strings.TrimSpace(strings.Join(rapid.SliceOfN(tokens, 1, 12).Draw(t, "tokens"), ""))
		if rapid.Bool().Draw(t, "whole") {
			row = strings.TrimSpace(`{"person":` + tokens.Draw(t, "person") + `,"flavor":` + tokens.Draw(t, "flavor") +
				tokens.Draw(t, "end") + `}`)
		}
		if row == "" {
			return
		}
		plain := newObjectDecoder(&source{}, defaultColumns())
		var fields [3]field
		if !plain.plain([]byte(row), &fields) {
			return
		}
		var got, want events.Update
		column, bad := plain.decode([]byte(row), &got)
		general := newObjectDecoder(&source{}, defaultColumns())
		general.general = true
		wantColumn, wantBad := general.decode([]byte(row), &want)
		if diff := cmp.Diff([]any{want, wantColumn, wantBad}, []any{got, column, bad}); diff != "" {
			t.Errorf("row %s (-general +plain):\n%s", row, diff)
		}
		if plain.found != general.found {
			t.Errorf("row %s: found = %v, want %v", row, plain.found, general.found)
		}
	})
}
