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
		stored, updated events.Version
		want            events.Outcome
	}{
		"nothing stored": {"", older, events.Applied},
		"older stored":   {older, newer, events.Applied},
		"newer stored":   {newer, older, events.Superseded},
		"itself stored":  {newer, newer, events.Repeated},
	} {
		t.Run(name, func(t *testing.T) {
			if got := events.Decide(tt.stored, tt.updated); got != tt.want {
				t.Errorf("Decide(%q, %q) = %v, want %v", tt.stored, tt.updated, got, tt.want)
			}
		})
	}
}

func TestDecideIsAnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, w := version().Draw(t, "v"), version().Draw(t, "w")
		a, b := events.Decide(v, w), events.Decide(w, v)
		ok := v == w && a == events.Repeated && b == events.Repeated ||
			v != w && a == events.Applied && b == events.Superseded ||
			v != w && a == events.Superseded && b == events.Applied
		if !ok {
			t.Fatalf("Decide(%s, %s) = %v, and with swapped arguments %v, want opposite outcomes", v, w, a, b)
		}
		if got := events.Decide("", v); got != events.Applied {
			t.Fatalf("Decide(\"\", %s) = %v, want %v", v, got, events.Applied)
		}
	})
}

// TestDeliveriesConverge checks with a model of the table that every order and repetition of deliveries ends in the
// same table, whether batches are folded or not, and that the changes with the greatest versions add up to the table.
func TestDeliveriesConverge(t *testing.T) {
	type row struct {
		flavor  string // empty for a tombstone
		version events.Version
	}
	rapid.Check(t, func(t *rapid.T) {
		batches := rapid.SliceOfNDistinct(batch(), 1, 4, events.Batch.UploadID).Draw(t, "batches")

		newest := map[string]row{} // the table at the end
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
				rows = lastRows(rows)
			}
			for _, u := range rows {
				stored, version := table[u.Person], b.Origin.At(u.Offset)
				if events.Decide(stored.version, version) != events.Applied {
					continue
				}
				table[u.Person] = row{u.Flavor, version}
				if c, changed := events.NewChange(u.Person, stored.flavor, u.Flavor, version); changed {
					changes = append(changes, c)
				}
			}
		}
		if !maps.Equal(table, newest) {
			t.Fatalf("table =\n%v, want\n%v", table, newest)
		}

		received := map[string]events.Change{} // by a subscriber, in any order
		for _, c := range rapid.Permutation(slices.Concat(changes, changes)).Draw(t, "changes") {
			if received[c.Person].Version < c.Version {
				received[c.Person] = c
			}
		}
		for person, r := range table {
			if received[person].Flavor != r.flavor {
				t.Fatalf("flavor of %q is %q, but subscribers have %q", person, r.flavor, received[person].Flavor)
			}
		}
	})
}

// lastRows returns the last row of each person, as tables write them.
func lastRows(rows []events.Update) []events.Update {
	last := map[string]events.Update{}
	for _, u := range rows { // in file order
		last[u.Person] = u
	}
	return slices.Collect(maps.Values(last))
}
