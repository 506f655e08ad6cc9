package events

import (
	"slices"
	"time"
)

// LoggedChange is the message of a [Change] in the log of published changes.
type LoggedChange struct {
	Sequence uint64 // position in the log, from 1; it grows with every change
	Message
}

// Start states where to begin reading the log of changes. The zero Start begins with the next change that is published.
type Start struct {
	After     uint64    // begin after this position, if it is not 0
	Beginning bool      // begin with the first change ever published; After is then 0
	Since     time.Time // begin with the changes that were published at this time or later
}

// HasPosition reports whether s names a position in the log.
func (s Start) HasPosition() bool { return s.After > 0 || s.Beginning }

// Filter selects changes. A change matches if each list contains its value; an empty list contains every value. Names
// are in the form that [CleanName] returns.
type Filter struct {
	Persons []string
	Flavors []string // the new flavors
	Kinds   []Kind
}

// Matches reports whether f selects c.
func (f Filter) Matches(c Change) bool { return f.matches(c.Person, c.Flavor, c.Kind) }

// MatchesMessage reports whether f selects the change in m. It reads only the attributes of m.
func (f Filter) MatchesMessage(m Message) bool {
	return f.matches(m.Attributes["person"], m.Attributes["flavor"], Kind(m.Attributes["kind"]))
}

func (f Filter) matches(person, flavor string, kind Kind) bool {
	return emptyOrHas(f.Persons, person) && emptyOrHas(f.Flavors, flavor) && emptyOrHas(f.Kinds, kind)
}

func emptyOrHas[T comparable](list []T, value T) bool {
	return len(list) == 0 || slices.Contains(list, value)
}
