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
		had, has string
		want     events.Kind // empty: nothing to announce
	}{
		"first flavor":       {"", "vanilla", events.Created},
		"another flavor":     {"vanilla", "pistachio", events.Changed},
		"no flavor any more": {"vanilla", "", events.Removed},
		"the same flavor":    {"vanilla", "vanilla", ""},
		"still nothing":      {"", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, changed := events.NewChange("andy", tt.had, tt.has, "v")
			want := events.Change{}
			if tt.want != "" {
				want = events.Change{Kind: tt.want, Person: "andy", Flavor: tt.has, Previous: tt.had, Version: "v"}
			}
			if diff := cmp.Diff(want, got); diff != "" || changed != (tt.want != "") {
				t.Errorf("changed %v, -want +got:\n%s", changed, diff)
			}
		})
	}
}

func TestNewChangeLaws(t *testing.T) {
	flavor := rapid.OneOf(rapid.SampledFrom([]string{"", "vanilla", "pistachio"}), name())
	mirror := map[events.Kind]events.Kind{events.Created: events.Removed, events.Changed: events.Changed, events.Removed: events.Created}
	rapid.Check(t, func(t *rapid.T) {
		person, had, has, v := name().Draw(t, "person"), flavor.Draw(t, "had"), flavor.Draw(t, "has"), version().Draw(t, "version")
		c, changed := events.NewChange(person, had, has, v)
		if changed != (had != has) {
			t.Fatalf("from %q to %q: changed %v", had, has, changed)
		}
		back, changedBack := events.NewChange(person, has, had, v)
		if changedBack != changed || back.Kind != mirror[c.Kind] {
			t.Fatalf("from %q to %q is %q, back it is %q", had, has, c.Kind, back.Kind)
		}
		if changed && ((c.Previous == "") != (c.Kind == events.Created) || (c.Flavor == "") != (c.Kind == events.Removed)) {
			t.Fatalf("%+v does not fit its kind", c)
		}
	})
}

func TestChangeComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := change().Draw(t, "change")
		m := want.Message()
		got, err := events.DecodeChange(m.Body)
		if err != nil {
			t.Fatalf("%v\n%s", err, m.Body)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("-want +got:\n%s", diff)
		}
		if !json.Valid(m.Body) {
			t.Fatalf("not JSON: %s", m.Body)
		}
		attributes := map[string]string{
			"type": events.ChangeType, "kind": string(want.Kind), "person": want.Person, "upload": want.Upload(),
		}
		if want.Flavor != "" {
			attributes["flavor"] = want.Flavor
		}
		if want.Previous != "" {
			attributes["previous"] = want.Previous
		}
		wantAbout := events.Message{
			ID: want.Person + "@" + string(want.Version), Subject: events.ChangeType + "." + string(want.Kind), Body: m.Body,
			Attributes: attributes,
		}
		if diff := cmp.Diff(wantAbout, m); diff != "" || want.ID() != m.ID {
			t.Fatalf("id %s, -want +got:\n%s", want.ID(), diff)
		}
	})
}

// Person and version are told apart, although a person may have an @ in the name: the version has a fixed width.
func TestChangeIDs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		person := rapid.OneOf(rapid.SampledFrom([]string{"a", "a@", "@a", "a@a"}), name())
		a := events.Change{Person: person.Draw(t, "a"), Version: version().Draw(t, "va")}
		b := events.Change{Person: person.Draw(t, "b"), Version: version().Draw(t, "vb")}
		if same := a == b; same != (a.ID() == b.ID()) {
			t.Fatalf("%q, %q", a.ID(), b.ID())
		}
	})
}

// badChanges are edits of testdata/change-changed.json.
func badChanges() map[string]edit {
	const flavor, previous = `"flavor":"crème brûlée"`, `"previous":"🍦"`
	return map[string]edit{
		"nothing":             {"", "", "EOF", false},
		"no JSON":             {"", "hello", "invalid character", false},
		"null":                {"", "null", `its type is "", not "flavorless.change.v1"`, true},
		"an array":            {"", "[]", "array", true},
		"an empty object":     {"", "{}", `its type is ""`, true},
		"not UTF-8":           {"zoë", "zo\xeb", "invalid UTF-8", false},
		"cut off":             {`"}}`, `"}`, "unexpected EOF", false},
		"trailing data":       {`"}}`, `"}}{}`, "after top-level value", false},
		"another type":        {`"type":"flavorless.change.v1"`, `"type":"flavorless.updates.v1"`, `its type is "flavorless.updates.v1", not "flavorless.change.v1"`, true},
		"type a number":       {`"type":"flavorless.change.v1"`, `"type":1`, "/type", true},
		"type twice":          {`"type":"flavorless.change.v1"`, `"type":"x","type":"flavorless.change.v1"`, "duplicate", false},
		"no data":             {`"data":{`, `"date":{`, `"" is not a version`, true},
		"data a string":       {`"data":{`, `"data":"","x":{`, "/data", true},
		"no version":          {`"version":"`, `"x":"`, `"" is not a version`, true},
		"a version too short": {`-000000000020","upload"`, `-00000000020","upload"`, "is not a version", true},
		"a version too long":  {`-000000000020","upload"`, `-000000000020` + strings.Repeat("0", 10000) + `","upload"`, "is not a version", true},
		"version a number":    {`"version":"`, `"version":1,"x":"`, "/data/version", true},
		"another member case": {`"version":"`, `"Version":"`, `"" is not a version`, true},
		"no person":           {`"person":"zoë",`, ``, "person is empty", true},
		"person empty":        {`"person":"zoë"`, `"person":""`, "person is empty", true},
		"person a number":     {`"person":"zoë"`, `"person":7`, "/data/person", true},
		"person decomposed":   {`"person":"zoë"`, `"person":"zoe\u0308"`, "is not normalised", false},
		"person with spaces":  {`"person":"zoë"`, `"person":"zoë "`, `person "zo\u00eb " is not normalised`, true},
		"person too long":     {`"person":"zoë"`, `"person":"` + strings.Repeat("a", 257) + `"`, "person has 257 bytes", true},
		"flavor empty":        {flavor, `"flavor":""`, "flavor is empty", true},
		"flavor a number":     {flavor, `"flavor":7`, "/data/flavor", true},
		"flavor null":         {flavor, `"flavor":null`, `from "🍦" to "" is not "changed"`, true},
		"previous empty":      {previous, `"previous":""`, "previous is empty", true},
		"previous null":       {previous, `"previous":null`, `from "" to "crème brûlée" is not "changed"`, true},
		"previous not clean":  {previous, `"previous":"a\u0000b"`, "previous has the control character U+0000", true},
		"no change":           {previous, `"previous":"crème brûlée"`, `from "crème brûlée" to "crème brûlée" is not "changed"`, false},
		"no kind":             {`"kind":"changed",`, ``, `is not ""`, true},
		"an unknown kind":     {`"kind":"changed"`, `"kind":"melted"`, `is not "melted"`, true},
		"the wrong kind":      {`"kind":"changed"`, `"kind":"created"`, `from "🍦" to "crème brûlée" is not "created"`, true},
	}
}

func TestDecodeChangeRefuses(t *testing.T) {
	good := readGolden(t, "change-changed.json")
	for name, e := range badChanges() {
		t.Run(name, func(t *testing.T) {
			body := e.apply(t, good)
			c, err := events.DecodeChange(body)
			e.check(t, body, err)
			if diff := cmp.Diff(events.Change{}, c); diff != "" {
				t.Errorf("with the error came a change, -want +got:\n%s", diff)
			}
		})
	}
}

func TestDecodeChangeSkips(t *testing.T) {
	v := mustOrigin(t, goldenObject()).At(3)
	body := `{"data":{"new":1,"version":"` + string(v) + `","flavor":"vanilla","person":"andy","kind":"created"},"new":{},"type":"flavorless.change.v1"}`
	got, err := events.DecodeChange([]byte(body))
	want := events.Change{Kind: events.Created, Person: "andy", Flavor: "vanilla", Version: v}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("error %v, -want +got:\n%s", err, diff)
	}
}
