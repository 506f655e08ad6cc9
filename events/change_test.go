package events_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
)

func TestNewChange(t *testing.T) {
	for name, tt := range map[string]struct {
		previous, flavor string
		want             events.Kind // empty if nothing changed
	}{
		"first flavor":      {"", "vanilla", events.Created},
		"another flavor":    {"vanilla", "pistachio", events.Changed},
		"no flavor anymore": {"vanilla", "", events.Removed},
		"the same flavor":   {"vanilla", "vanilla", ""},
		"still nothing":     {"", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, changed := events.NewChange("andy", tt.previous, tt.flavor, "v")
			want := events.Change{}
			if tt.want != "" {
				want = events.Change{Kind: tt.want, Person: "andy", Flavor: tt.flavor, Previous: tt.previous, Version: "v"}
			}
			if diff := cmp.Diff(want, got); diff != "" || changed != (tt.want != "") {
				t.Errorf("NewChange: changed %v, want %v (-want +got):\n%s", changed, tt.want != "", diff)
			}
		})
	}
}

func TestNewChangeIsSymmetric(t *testing.T) {
	flavor := rapid.OneOf(rapid.SampledFrom([]string{"", "vanilla", "pistachio"}), name())
	mirror := map[events.Kind]events.Kind{events.Created: events.Removed, events.Changed: events.Changed,
		events.Removed: events.Created}
	rapid.Check(t, func(t *rapid.T) {
		person, v := name().Draw(t, "person"), version().Draw(t, "version")
		a, b := flavor.Draw(t, "a"), flavor.Draw(t, "b")
		c, changed := events.NewChange(person, a, b, v)
		if changed != (a != b) {
			t.Fatalf("NewChange(%q, %q): changed %v, want %v", a, b, changed, a != b)
		}
		back, changedBack := events.NewChange(person, b, a, v)
		if changedBack != changed || back.Kind != mirror[c.Kind] {
			t.Fatalf("from %q to %q is %q; the opposite is %q, want %q", a, b, c.Kind, back.Kind, mirror[c.Kind])
		}
		if changed && ((c.Previous == "") != (c.Kind == events.Created) || (c.Flavor == "") != (c.Kind == events.Removed)) {
			t.Fatalf("NewChange = %+v, want a kind that matches the flavors", c)
		}
	})
}

func TestChangeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := change().Draw(t, "change")
		m := want.Message()
		got, err := events.DecodeChange(m.Body)
		if err != nil {
			t.Fatalf("DecodeChange(%s): %v", m.Body, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("DecodeChange(%s) (-want +got):\n%s", m.Body, diff)
		}
		if !json.Valid(m.Body) {
			t.Fatalf("body is not valid JSON: %s", m.Body)
		}
		attributes := map[string]string{
			"type": events.ChangeType, "kind": string(want.Kind), "person": want.Person, "upload": want.UploadID(),
		}
		if want.Flavor != "" {
			attributes["flavor"] = want.Flavor
		}
		if want.Previous != "" {
			attributes["previous"] = want.Previous
		}
		wantMessage := events.Message{
			ID: want.Person + "@" + string(want.Version), Subject: events.ChangeType + "." + string(want.Kind), Body: m.Body,
			Attributes: attributes,
		}
		if diff := cmp.Diff(wantMessage, m); diff != "" || want.ID() != m.ID {
			t.Fatalf("ID() = %s; message (-want +got):\n%s", want.ID(), diff)
		}
	})
}

// TestChangeIDs checks that ids are unique even if names contain an @, because versions have a fixed width.
func TestChangeIDs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		person := rapid.OneOf(rapid.SampledFrom([]string{"a", "a@", "@a", "a@a"}), name())
		a := events.Change{Person: person.Draw(t, "a"), Version: version().Draw(t, "va")}
		b := events.Change{Person: person.Draw(t, "b"), Version: version().Draw(t, "vb")}
		if same := a == b; same != (a.ID() == b.ID()) {
			t.Fatalf("changes are equal: %v, but their ids are %q and %q", same, a.ID(), b.ID())
		}
	})
}

// badChanges are edits of testdata/change-changed.json.
func badChanges() map[string]edit {
	const flavor, previous = `"flavor":"crème brûlée"`, `"previous":"🍦"`
	return map[string]edit{
		"nothing":             {"", "", false},
		"no JSON":             {"", "hello", false},
		"null":                {"", "null", true},
		"an array":            {"", "[]", true},
		"an empty object":     {"", "{}", true},
		"not UTF-8":           {"zoë", "zo\xeb", false},
		"cut off":             {`"}}`, `"}`, false},
		"trailing data":       {`"}}`, `"}}{}`, false},
		"another type":        {`"type":"flavorless.change.v1"`, `"type":"flavorless.updates.v1"`, true},
		"type a number":       {`"type":"flavorless.change.v1"`, `"type":1`, true},
		"type twice":          {`"type":"flavorless.change.v1"`, `"type":"x","type":"flavorless.change.v1"`, false},
		"no data":             {`"data":{`, `"date":{`, true},
		"data a string":       {`"data":{`, `"data":"","x":{`, true},
		"no version":          {`"version":"`, `"x":"`, true},
		"a version too short": {`-000000000020","upload"`, `-00000000020","upload"`, true},
		"a version too long":  {`-000000000020","upload"`, `-000000000020` + strings.Repeat("0", 10000) + `","upload"`, true},
		"version a number":    {`"version":"`, `"version":1,"x":"`, true},
		"another member case": {`"version":"`, `"Version":"`, true},
		"no person":           {`"person":"zoë",`, ``, true},
		"person empty":        {`"person":"zoë"`, `"person":""`, true},
		"person a number":     {`"person":"zoë"`, `"person":7`, true},
		"person decomposed":   {`"person":"zoë"`, `"person":"zoe\u0308"`, false},
		"person with spaces":  {`"person":"zoë"`, `"person":"zoë "`, true},
		"person too long":     {`"person":"zoë"`, `"person":"` + strings.Repeat("a", 257) + `"`, true},
		"flavor empty":        {flavor, `"flavor":""`, true},
		"flavor a number":     {flavor, `"flavor":7`, true},
		"flavor null":         {flavor, `"flavor":null`, true},
		"previous empty":      {previous, `"previous":""`, true},
		"previous null":       {previous, `"previous":null`, true},
		"previous not clean":  {previous, `"previous":"a\u0000b"`, true},
		"no change":           {previous, `"previous":"crème brûlée"`, false},
		"no kind":             {`"kind":"changed",`, ``, true},
		"an unknown kind":     {`"kind":"changed"`, `"kind":"melted"`, true},
		"the wrong kind":      {`"kind":"changed"`, `"kind":"created"`, true},
	}
}

func TestDecodeChangeRefuses(t *testing.T) {
	testRefusals(t, "change-changed.json", badChanges(), events.DecodeChange)
}

func TestDecodeChangeIgnoresUnknownMembersAndOrder(t *testing.T) {
	v := mustOrigin(t, goldenObject()).At(3)
	body := `{"data":{"new":1,"version":"` + string(v) +
		`","flavor":"vanilla","person":"andy","kind":"created"},"new":{},"type":"flavorless.change.v1"}`
	got, err := events.DecodeChange([]byte(body))
	want := events.Change{Kind: events.Created, Person: "andy", Flavor: "vanilla", Version: v}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("DecodeChange(%s): error %v (-want +got):\n%s", body, err, diff)
	}
}
