package events_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
)

// seed adds the golden files and what the tests of refusals make of them. Cases that fuzzing found are under
// testdata/fuzz.
func seed(f *testing.F, golden string, edits map[string]edit) {
	body := readGolden(f, golden)
	f.Add(body)
	for _, e := range edits {
		f.Add(bytes.Replace(body, []byte(e.old), []byte(e.new), 1))
	}
}

// What decodes has an encoding, which decodes to the same.
func FuzzDecodeBatch(f *testing.F) {
	seed(f, "batch.json", badBatches())
	f.Add(readGolden(f, "batch-removal.json"))
	f.Fuzz(func(t *testing.T, body []byte) {
		b, err := events.DecodeBatch(body)
		if err != nil {
			if len(b.Rows) > 0 || len(err.Error()) > 2000 {
				t.Errorf("%d rows came with an error of %d bytes: %.200s", len(b.Rows), len(err.Error()), err)
			}
			return
		}
		for _, u := range b.Rows {
			checkClean(t, u.Person)
			if u.Remove != (u.Flavor == "") {
				t.Errorf("%+v: a row has a flavor or is a removal", u)
			}
		}
		m := encode(b)
		again, err := events.DecodeBatch(m.Body)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(b, again); diff != "" {
			t.Errorf("-first +again:\n%s", diff)
		}
		if m.ID != b.ID() {
			t.Errorf("id %s, want %s", m.ID, b.ID())
		}
	})
}

func FuzzDecodeChange(f *testing.F) {
	seed(f, "change-changed.json", badChanges())
	f.Add(readGolden(f, "change-created.json"))
	f.Add(readGolden(f, "change-removed.json"))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := events.DecodeChange(body)
		if err != nil {
			if c != (events.Change{}) || len(err.Error()) > 2000 {
				t.Errorf("%+v came with an error of %d bytes: %.200s", c, len(err.Error()), err)
			}
			return
		}
		again, err := events.DecodeChange(c.Message().Body)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, again); diff != "" {
			t.Errorf("-first +again:\n%s", diff)
		}
	})
}

func FuzzParseVersion(f *testing.F) {
	v := string(mustOrigin(f, goldenObject()).At(42))
	for _, s := range []string{v, v[:72], v + "0", strings.ToUpper(v), v[:71] + "\n" + v[72:], "f" + v[1:], ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := events.ParseVersion(s)
		if err != nil {
			if v != "" {
				t.Errorf("%q came with %v", v, err)
			}
			return
		}
		if string(v) != s || v.Origin().At(v.Offset()) != v {
			t.Errorf("ParseVersion(%q) = %q, of origin %q and offset %d", s, v, v.Origin(), v.Offset())
		}
		if _, err := events.ParseOrigin(string(v.Origin())); err != nil || !events.ValidUploadID(v.Upload()) || v.Offset() > events.MaxOffset {
			t.Errorf("%q has origin %q (%v), upload %q, offset %d", v, v.Origin(), err, v.Upload(), v.Offset())
		}
		if at, err := v.Time().MarshalText(); err != nil {
			t.Errorf("%q has time %s: %v", v, at, err)
		}
	})
}

func FuzzCleanName(f *testing.F) {
	for _, b := range goldenBatches(f) {
		for _, u := range b.Rows {
			f.Add(u.Person)
			f.Add(" " + u.Flavor + "\u00a0")
		}
	}
	for _, s := range []string{"e\u0301", "\u2000a\u2001", "\ufeff", "\xff", "a\x00", "\u202e", "q" + strings.Repeat("\u0301\u0327", 20), strings.Repeat("\u0958", 90)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checkClean(t, s) })
}
