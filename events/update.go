package events

import (
	"cmp"
	"slices"
)

// Update is an accepted row: it sets the flavor of a person, or removes the person.
type Update struct {
	Offset int64  // byte at which the row starts in the decompressed file
	Person string // in the form that CleanName returns
	Flavor string // in the form that CleanName returns; empty for a removal
	Remove bool
}

// Fold returns the last row of each person, sorted by person. The rows must be of one upload. The other rows, of which
// there are len(rows) - len(result), are superseded. The result reuses the memory of rows.
func Fold(rows []Update) []Update {
	slices.SortFunc(rows, func(a, b Update) int {
		if c := cmp.Compare(a.Person, b.Person); c != 0 {
			return c
		}
		return cmp.Compare(b.Offset, a.Offset)
	})
	return slices.CompactFunc(rows, func(a, b Update) bool { return a.Person == b.Person })
}
