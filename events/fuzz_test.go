package events_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
)

// seed adds a golden file and its edits. testdata/fuzz has the inputs that fuzzing found.
func seed(f *testing.F, golden string, edits map[string]edit) {
	body := readGolden(f, golden)
	f.Add(body)
	for _, e := range edits {
		f.Add(bytes.Replace(body, []byte(e.old), []byte(e.new), 1))
	}
}

// testRoundTrip checks that a decoded value encodes to a message that decodes to the same value. If the body is
// refused, it returns false.
func testRoundTrip[T any](t *testing.T, body []byte, decode func([]byte) (T, error), encode func(T) events.Message) (T,
	bool) {
	t.Helper()
	first, err := decode(body)
	if err != nil {
		var zero T
		if diff := cmp.Diff(zero, first); diff != "" || len(err.Error()) > 2000 {
			t.Errorf("got error of %d bytes %.200s, want at most 2000; value (-want +got):\n%s", len(err.Error()), err, diff)
		}
		return first, false
	}
	again, err := decode(encode(first).Body)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("decoding the encoded value (-first +again):\n%s", diff)
	}
	return first, true
}

func FuzzDecodeBatch(f *testing.F) {
	seed(f, "batch.json", badBatches())
	f.Add(readGolden(f, "batch-removal.json"))
	f.Fuzz(func(t *testing.T, body []byte) {
		b, ok := testRoundTrip(t, body, events.DecodeBatch, encode)
		if !ok {
			return
		}
		for _, u := range b.Rows {
			checkClean(t, u.Person)
			if u.Remove != (u.Flavor == "") {
				t.Errorf("got %+v, want either a flavor or a removal", u)
			}
		}
		if got := encode(b).ID; got != b.ID() {
			t.Errorf("message id = %s, want %s", got, b.ID())
		}
	})
}

func FuzzDecodeChange(f *testing.F) {
	seed(f, "change-changed.json", badChanges())
	f.Add(readGolden(f, "change-created.json"))
	f.Add(readGolden(f, "change-removed.json"))
	f.Fuzz(func(t *testing.T, body []byte) { testRoundTrip(t, body, events.DecodeChange, events.Change.Message) })
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
				t.Errorf("ParseVersion(%q) = %q with error %v, want \"\" with an error", s, v, err)
			}
			return
		}
		if string(v) != s || v.Origin().At(v.Offset()) != v {
			t.Errorf("ParseVersion(%q) = %q with origin %q and offset %d, want its parts", s, v, v.Origin(), v.Offset())
		}
		if _, err := events.ParseOrigin(string(v.Origin())); err != nil || !events.ValidUploadID(v.UploadID()) ||
			v.Offset() > events.MaxOffset {
			t.Errorf("%q has origin %q (%v), upload %q, offset %d", v, v.Origin(), err, v.UploadID(), v.Offset())
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
	for _, s := range []string{"e\u0301", "\u2000a\u2001", "\ufeff", "\xff", "a\x00", "\u202e", "q" +
		strings.Repeat("\u0301\u0327", 20), strings.Repeat("\u0958", 90)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checkClean(t, s) })
}

func FuzzDecodeContinuation(f *testing.F) {
	m, err := events.Continuation{Object: goldenObject(), Offset: 61440, Rows: 1700, Rejected: 3, Batches: 1,
		RejectsBytes: 900, RejectsOmitted: 1}.Message()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m.Body)
	for _, e := range []struct{ old, new string }{
		{`"offset":61440`, `"offset":0`}, {`"offset":61440`, `"offset":6e9`}, {`"rejected":3`, `"rejected":1701`},
		{`"rows":1700`, `"rows":-1`},
		{`"type":"flavorless.span.v1"`, `"type":"flavorless.span.v2"`},
		{`"type":"flavorless`, `"type":"` + strings.Repeat("x", 3000)},
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
		testRoundTrip(t, body, events.DecodeContinuation, func(c events.Continuation) events.Message {
			m, err := c.Message()
			if err != nil || m.ID != c.ID() {
				t.Fatalf("Message() has id %s, error %v, want id %s", m.ID, err, c.ID())
			}
			return m
		})
	})
}

// FuzzBatchWriter checks that a batch of two rows decodes to these rows and has the length that Size returned.
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
			if bad != nil || worse != nil || u.Offset < 0 || u.Offset > events.MaxOffset || i > 0 && len(rows) > 0 &&
				u.Offset <= rows[0].Offset {
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
			if w.Add(u); w.Size()-before > events.MaxEncodedRow && w.Rows() > 1 {
				t.Errorf("%+v added %d bytes, want at most %d", u, w.Size()-before, events.MaxEncodedRow)
			}
		}
		size := w.Size()
		m := w.Message()
		got, err := events.DecodeBatch(m.Body)
		if err != nil {
			t.Fatalf("DecodeBatch(%s): %v", m.Body, err)
		}
		if diff := cmp.Diff(want, got); diff != "" || len(m.Body) > size {
			t.Errorf("body has %d bytes, want at most %d (-want +got):\n%s", len(m.Body), size, diff)
		}
	})
}

// FuzzChange checks that a change decodes to itself, and that its attributes match its body.
func FuzzChange(f *testing.F) {
	f.Add("andy", "", "cookie dough")
	f.Add("andy", "\"", "\\")
	f.Add("Zoë\u2028", "🍦", "")
	f.Fuzz(func(t *testing.T, person, previous, flavor string) {
		for _, s := range []*string{&person, &previous, &flavor} {
			clean, bad := events.CleanName(*s, "name", events.MissingPerson)
			if bad != nil && (s == &person || *s != "") {
				return
			}
			*s = clean
		}
		c, changed := events.NewChange(person, previous, flavor, mustOrigin(t, goldenObject()).At(14))
		if changed != (previous != flavor) {
			t.Fatalf("NewChange(%q, %q): changed %v, want %v", previous, flavor, changed, previous != flavor)
		}
		if !changed {
			return
		}
		m := c.Message()
		again, err := events.DecodeChange(m.Body)
		if err != nil {
			t.Fatalf("DecodeChange(%s): %v", m.Body, err)
		}
		if diff := cmp.Diff(c, again); diff != "" {
			t.Errorf("decoding the encoded change (-first +again):\n%s", diff)
		}
		a := m.Attributes
		if m.ID != c.ID() || a["person"] != person || a["flavor"] != flavor || a["previous"] != previous ||
			a["kind"] != string(c.Kind) {
			t.Errorf("message %+v does not match the change %+v", m, c)
		}
	})
}

// FuzzOrigin checks that the upload id and the origin of any object are valid, and that different objects have
// different ones.
func FuzzOrigin(f *testing.F) {
	f.Add("flavors", "uploads/a.csv", "etag", "", "0055AED6DCD90281E5", int64(1795422000123))
	f.Add("b", "k\x00\xff", "", "v", "F", int64(0))
	f.Add("", "", "", "", strings.Repeat("0", 40), int64(253402300799999))
	f.Fuzz(func(t *testing.T, bucket, key, etag, version, sequencer string, ms int64) {
		o := events.Object{Bucket: bucket, Key: key, ETag: etag, VersionID: version, Sequencer: sequencer,
			Time: time.UnixMilli(ms)}
		id := o.UploadID()
		if !events.ValidUploadID(id) {
			t.Errorf("ValidUploadID(%q) = false, want true", id)
		}
		moved := o
		moved.Bucket, moved.Key = bucket+"x", strings.TrimPrefix(key, "x")
		if moved.UploadID() == id {
			t.Errorf("%+v and %+v have the same id, want different ids", o, moved)
		}
		origin, err := o.Origin()
		if err != nil {
			if origin != "" || len(err.Error()) > 2000 {
				t.Errorf("Origin() = %q with an error of %d bytes, want none and at most 2000", origin, len(err.Error()))
			}
			return
		}
		again, err := events.ParseOrigin(string(origin))
		if err != nil || again != origin || origin.UploadID() != id || origin.Time().UnixMilli() != ms {
			t.Errorf("origin %q of %+v has upload id %q and time %s; ParseOrigin: %v", origin, o, origin.UploadID(),
				origin.Time(), err)
		}
		later := o
		later.Time = later.Time.Add(time.Millisecond)
		if next, err := later.Origin(); err == nil && next <= origin {
			t.Errorf("origin a millisecond later = %q, want more than %q", next, origin)
		}
	})
}
