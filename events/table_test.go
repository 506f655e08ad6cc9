package events_test

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
)

func TestDecide(t *testing.T) {
	const older, newer = events.Version("1"), events.Version("2")
	for name, tt := range map[string]struct {
		stored, mine events.Version
		want         events.Outcome
	}{
		"nothing stored": {"", older, events.Applied},
		"older stored":   {older, newer, events.Applied},
		"newer stored":   {newer, older, events.Superseded},
		"itself stored":  {newer, newer, events.Repeated},
	} {
		t.Run(name, func(t *testing.T) {
			if got := events.Decide(tt.stored, tt.mine); got != tt.want {
				t.Errorf("Decide(%q, %q) = %v, want %v", tt.stored, tt.mine, got, tt.want)
			}
		})
	}
}

func TestDecideIsAnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, w := version().Draw(t, "v"), version().Draw(t, "w")
		there, back := events.Decide(v, w), events.Decide(w, v)
		ok := v == w && there == events.Repeated && back == events.Repeated ||
			v != w && there == events.Applied && back == events.Superseded ||
			v != w && there == events.Superseded && back == events.Applied
		if !ok {
			t.Fatalf("Decide(%s, %s) = %v, the other way round %v", v, w, there, back)
		}
		if got := events.Decide("", v); got != events.Applied {
			t.Fatalf("Decide of nothing and %s = %v", v, got)
		}
	})
}

// TestDeliveriesConverge is the second promise of the house in small: whatever the order and the repetitions, folded or
// not, the table ends the same, and the changes, each kept by the greatest version, add up to the table.
func TestDeliveriesConverge(t *testing.T) {
	type row struct {
		flavor  string // empty: a tombstone
		version events.Version
	}
	rapid.Check(t, func(t *rapid.T) {
		batches := rapid.SliceOfNDistinct(batch(), 1, 4, events.Batch.Upload).Draw(t, "batches")

		newest := map[string]row{} // what a table should hold in the end
		for _, b := range batches {
			for _, u := range b.Rows {
				if v := b.Origin.At(u.Offset); newest[u.Person].version < v {
					newest[u.Person] = row{u.Flavor, v}
				}
			}
		}

		var changes []events.Change
		table := map[string]row{}
		deliveries := slices.Concat(batches, rapid.SliceOfN(rapid.SampledFrom(batches), 0, 3).Draw(t, "again"))
		for _, b := range rapid.Permutation(deliveries).Draw(t, "deliveries") {
			rows := slices.Clone(b.Rows)
			if rapid.Bool().Draw(t, "folded") {
				rows = events.Fold(rows)
			}
			for _, u := range rows {
				stored, mine := table[u.Person], b.Origin.At(u.Offset)
				if events.Decide(stored.version, mine) != events.Applied {
					continue
				}
				table[u.Person] = row{u.Flavor, mine}
				if c, changed := events.NewChange(u.Person, stored.flavor, u.Flavor, mine); changed {
					changes = append(changes, c)
				}
			}
		}
		if !maps.Equal(table, newest) {
			t.Fatalf("the table has\n%v, want\n%v", table, newest)
		}

		told := map[string]events.Change{} // what a subscriber knows, however the changes arrive
		for _, c := range rapid.Permutation(slices.Concat(changes, changes)).Draw(t, "changes") {
			if told[c.Person].Version < c.Version {
				told[c.Person] = c
			}
		}
		for person, r := range table {
			if told[person].Flavor != r.flavor {
				t.Fatalf("%q likes %q, subscribers believe %q", person, r.flavor, told[person].Flavor)
			}
		}
	})
}
