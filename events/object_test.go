package events_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
)

func TestUploadIDIsUnique(t *testing.T) {
	// There are few characters, so that concatenated fields are often equal.
	field := rapid.OneOf(rapid.StringMatching(`[ab]{0,2}`), rapid.StringMatching(`[a:0-3\x00]{0,4}`), rapid.String())
	draw := func(t *rapid.T, name string) events.Object {
		return events.Object{
			Bucket: field.Draw(t, name+" bucket"), Key: field.Draw(t, name+" key"), VersionID: field.Draw(t, name+" version"),
			ETag: field.Draw(t, name+" etag"), Sequencer: field.Draw(t, name+" sequencer"),
		}
	}
	content := func(o events.Object) string {
		if o.VersionID != "" {
			return o.VersionID
		}
		return o.ETag
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw(t, "a"), draw(t, "b")
		same := a.Bucket == b.Bucket && a.Key == b.Key && content(a) == content(b) && a.Sequencer == b.Sequencer
		if (a.UploadID() == b.UploadID()) != same {
			t.Fatalf("%+v\n%+v\nhave ids %s, %s, want the same: %v", a, b, a.UploadID(), b.UploadID(), same)
		}
		if id := a.UploadID(); !events.ValidUploadID(id) || strings.ToLower(id) != id {
			t.Fatalf("UploadID() = %q, want a valid id in lower case", id)
		}
		// Size and time do not contribute to the id.
		b = a
		b.Size, b.Time = 7, time.UnixMilli(8)
		if a.UploadID() != b.UploadID() {
			t.Fatalf("%+v and %+v have different ids, want the same", a, b)
		}
	})
}

func TestUploadIDDependsOnEachField(t *testing.T) {
	whole := events.Object{Bucket: "b", Key: "k", ETag: "e", Sequencer: "5"}
	for name, other := range map[string]events.Object{
		"bucket":              {Bucket: "c", Key: "k", ETag: "e", Sequencer: "5"},
		"key":                 {Bucket: "b", Key: "l", ETag: "e", Sequencer: "5"},
		"etag":                {Bucket: "b", Key: "k", ETag: "f", Sequencer: "5"},
		"version id":          {Bucket: "b", Key: "k", ETag: "e", Sequencer: "5", VersionID: "v"},
		"sequencer":           {Bucket: "b", Key: "k", ETag: "e", Sequencer: "50"},
		"boundary":            {Bucket: "bk", Key: "", ETag: "e", Sequencer: "5"},
		"boundary with NUL":   {Bucket: "b\x00k", Key: "", ETag: "e", Sequencer: "5"},
		"boundary with digit": {Bucket: "b", Key: "k1:e", ETag: "", Sequencer: "5"},
	} {
		t.Run(name, func(t *testing.T) {
			if other.UploadID() == whole.UploadID() {
				t.Errorf("%+v and %+v have the same id, want different ids", whole, other)
			}
		})
	}
	t.Run("etag of a versioned object", func(t *testing.T) {
		a, b := whole, whole
		a.VersionID, b.VersionID, b.ETag = "v", "v", "f"
		if a.UploadID() != b.UploadID() {
			t.Errorf("ids with two etags = %s, %s, want the same", a.UploadID(), b.UploadID())
		}
	})
}

func TestValidUploadID(t *testing.T) {
	const id = "5v2kq3z8m1d7xw0rjt4ybn6c9e"
	for s, want := range map[string]bool{
		id: true, "": false, id[1:]: false, id + "0": false, strings.ToUpper(id): false, id[1:] + "i": false, "u" +
			id[1:]: false,
		id[:25] + "\n": false, "\r\n" + id[2:]: false, id[:25] + "=": false, strings.Repeat("\n", 26): false, id[:24] +
			"é": false,
		"../../../../../../../../..": false,
	} {
		if got := events.ValidUploadID(s); got != want {
			t.Errorf("ValidUploadID(%q) = %v, want %v", s, got, want)
		}
	}
}
