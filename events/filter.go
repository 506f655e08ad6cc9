package events

import (
	"slices"
)

// Filter chooses changes: names of one list add up, the lists narrow each other down. An empty list chooses all. The names
// are as CleanName gives them.
type Filter struct {
	Persons []string
	Flavors []string // that are the favorite now
	Kinds   []Kind
}

// Matches tells whether a change is chosen.
func (f Filter) Matches(c Change) bool { return f.takes(c.Person, c.Flavor, c.Kind) }

// MatchesMessage is Takes for the message of a change. It looks at the attributes alone.
func (f Filter) MatchesMessage(m Message) bool {
	return f.takes(m.Attributes["person"], m.Attributes["flavor"], Kind(m.Attributes["kind"]))
}

func (f Filter) takes(person, flavor string, kind Kind) bool {
	return among(f.Persons, person) && among(f.Flavors, flavor) && among(f.Kinds, kind)
}

func among[T comparable](list []T, value T) bool {
	return len(list) == 0 || slices.Contains(list, value)
}
