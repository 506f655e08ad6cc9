package events_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

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

func FuzzDecodeSpan(f *testing.F) {
	m, err := events.Continuation{Object: goldenObject(), Offset: 61440, Rows: 1700, Rejected: 3, Batches: 1, RejectsBytes: 900, RejectsOmitted: 1}.Message()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m.Body)
	for _, e := range []struct{ old, new string }{
		{`"offset":61440`, `"offset":0`}, {`"offset":61440`, `"offset":6e9`}, {`"rejected":3`, `"rejected":1701`}, {`"rows":1700`, `"rows":-1`},
		{`"type":"flavorless.span.v1"`, `"type":"flavorless.span.v2"`}, {`"type":"flavorless`, `"type":"` + strings.Repeat("x", 3000)},
		{`"data":{`, `"data":{"offset":1,`}, {`"sequencer":"`, `"sequencer":"x`},
	} {
		f.Add(bytes.Replace(m.Body, []byte(e.old), []byte(e.new), 1))
	}
	for _, s := range goldenContinuations() {
		m, err := s.Message()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(m.Body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := events.DecodeContinuation(body)
		if err != nil {
			if s != (events.Continuation{}) || len(err.Error()) > 2000 {
				t.Errorf("%+v came with an error of %d bytes: %.200s", s, len(err.Error()), err)
			}
			return
		}
		m, err := s.Message()
		if err != nil {
			t.Fatal(err)
		}
		again, err := events.DecodeContinuation(m.Body)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s, again); diff != "" || m.ID != again.ID() {
			t.Errorf("-first +again:\n%s", diff)
		}
	})
}

// What two rows of any names travel as decodes to these rows, and is as long as the writer said.
func FuzzBatchWriter(f *testing.F) {
	f.Add("andy", "cookie dough", "lisa", "", int64(14), int64(1))
	f.Add("a\"b\\", "\u2028", "<&>", "\x7f", int64(0), int64(1<<40))
	f.Add(" René", "🍦🍦", "q\u0301\u0327", "\u0958", int64(9), int64(10))
	f.Fuzz(func(t *testing.T, person, flavor, other, another string, at, after int64) {
		var rows []events.Update
		for i, given := range [][2]string{{person, flavor}, {other, another}} {
			u := events.Update{Offset: at, Remove: given[1] == ""}
			if i > 0 {
				u.Offset += after
			}
			var bad, worse *events.RowError
			u.Person, bad = events.CleanName(given[0], "person", events.MissingPerson)
			if !u.Remove {
				u.Flavor, worse = events.CleanName(given[1], "flavor", events.MissingFlavor)
			}
			if bad != nil || worse != nil || u.Offset < 0 || u.Offset > events.MaxOffset || i > 0 && len(rows) > 0 && u.Offset <= rows[0].Offset {
				continue
			}
			rows = append(rows, u)
		}
		if len(rows) == 0 {
			return
		}
		want := events.Batch{Origin: mustOrigin(t, goldenObject()), First: rows[0].Offset, Rows: rows}
		w := events.NewBatchWriter(want.Origin)
		for _, u := range rows {
			before := w.Size()
			if w.Add(u); w.Size()-before > events.MaxRow && w.Rows() > 1 {
				t.Errorf("%+v took %d bytes", u, w.Size()-before)
			}
		}
		size := w.Size()
		m := w.Message()
		got, err := events.DecodeBatch(m.Body)
		if err != nil {
			t.Fatalf("%v: %s", err, m.Body)
		}
		if diff := cmp.Diff(want, got); diff != "" || len(m.Body) > size {
			t.Errorf("%d bytes, %d were said (-want +got):\n%s", len(m.Body), size, diff)
		}
	})
}

// A change of any names decodes to itself, and its attributes say what its body says.
func FuzzChange(f *testing.F) {
	f.Add("andy", "", "cookie dough")
	f.Add("andy", "\"", "\\")
	f.Add("Zoë\u2028", "🍦", "")
	f.Fuzz(func(t *testing.T, person, had, has string) {
		for _, s := range []*string{&person, &had, &has} {
			clean, bad := events.CleanName(*s, "name", events.MissingPerson)
			if bad != nil && (s == &person || *s != "") {
				return
			}
			*s = clean
		}
		c, changed := events.NewChange(person, had, has, mustOrigin(t, goldenObject()).At(14))
		if changed != (had != has) {
			t.Fatalf("from %q to %q: changed is %v", had, has, changed)
		}
		if !changed {
			return
		}
		m := c.Message()
		again, err := events.DecodeChange(m.Body)
		if err != nil {
			t.Fatalf("%v: %s", err, m.Body)
		}
		if diff := cmp.Diff(c, again); diff != "" {
			t.Errorf("-first +again:\n%s", diff)
		}
		if m.ID != c.ID() || m.Attributes["person"] != person || m.Attributes["flavor"] != has || m.Attributes["previous"] != had || m.Attributes["kind"] != string(c.Kind) {
			t.Errorf("%+v of %+v", m, c)
		}
	})
}

// Whatever S3 calls an object, its upload id and origin are well-formed, and depend on what is different.
func FuzzOrigin(f *testing.F) {
	f.Add("flavors", "uploads/a.csv", "etag", "", "0055AED6DCD90281E5", int64(1795422000123))
	f.Add("b", "k\x00\xff", "", "v", "F", int64(0))
	f.Add("", "", "", "", strings.Repeat("0", 40), int64(253402300799999))
	f.Fuzz(func(t *testing.T, bucket, key, etag, version, sequencer string, ms int64) {
		o := events.Object{Bucket: bucket, Key: key, ETag: etag, VersionID: version, Sequencer: sequencer, Time: time.UnixMilli(ms)}
		id := o.UploadID()
		if !events.ValidUploadID(id) {
			t.Errorf("upload id %q", id)
		}
		moved := o
		moved.Bucket, moved.Key = bucket+"x", strings.TrimPrefix(key, "x")
		if moved.UploadID() == id {
			t.Errorf("%+v and %+v have one id", o, moved)
		}
		origin, err := o.Origin()
		if err != nil {
			if origin != "" || len(err.Error()) > 2000 {
				t.Errorf("%q came with an error of %d bytes", origin, len(err.Error()))
			}
			return
		}
		again, err := events.ParseOrigin(string(origin))
		if err != nil || again != origin || origin.Upload() != id || origin.Time().UnixMilli() != ms {
			t.Errorf("%q of %+v: %v, upload %q, time %s", origin, o, err, origin.Upload(), origin.Time())
		}
		later := o
		later.Time = later.Time.Add(time.Millisecond)
		if next, err := later.Origin(); err == nil && next <= origin {
			t.Errorf("a millisecond later %q, which is not after %q", next, origin)
		}
	})
}
