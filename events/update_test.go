package events_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
)

func TestFold(t *testing.T) {
	got := events.Fold([]events.Update{
		{Offset: 0, Person: "bill", Flavor: "vanilla"},
		{Offset: 10, Person: "andy", Flavor: "pistachio"},
		{Offset: 20, Person: "bill", Remove: true},
		{Offset: 30, Person: "andy", Flavor: "cookie dough"},
		{Offset: 40, Person: "Bill", Flavor: "rocky road"},
	})
	want := []events.Update{
		{Offset: 40, Person: "Bill", Flavor: "rocky road"},
		{Offset: 30, Person: "andy", Flavor: "cookie dough"},
		{Offset: 20, Person: "bill", Remove: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Fold (-want +got):\n%s", diff)
	}
	if got := events.Fold(nil); len(got) != 0 {
		t.Errorf("Fold(nil) = %v, want no rows", got)
	}
}

func TestFoldKeepsTheLastRowOfEachPerson(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rows(0).Draw(t, "rows")
		last := map[string]events.Update{}
		for _, u := range all {
			last[u.Person] = u
		}
		var want []events.Update
		for _, person := range slices.Sorted(maps.Keys(last)) {
			want = append(want, last[person])
		}
		shuffled := rapid.Permutation(all).Draw(t, "shuffled")
		got := events.Fold(slices.Clone(shuffled))
		if !slices.Equal(got, want) {
			t.Fatalf("Fold(%v)\n got %v\nwant %v", shuffled, got, want)
		}
		if again := events.Fold(slices.Clone(got)); !slices.Equal(again, got) {
			t.Fatalf("Fold(%v) = %v, want no difference", got, again)
		}
	})
}
