package events

import (
	"cmp"
	"slices"
)

// Update is one accepted row of an upload: person's favorite is now flavor, or person is removed.
type Update struct {
	Offset int64  // byte at which the row starts in the decompressed file
	Person string // as CleanName gives it
	Flavor string // likewise; empty for a removal
	Remove bool
}

// Fold leaves the last row of each person, sorted by person: within one upload the greater offset is the newer version.
// The rows that are gone are superseded; their number is len(rows) - len(result). The result reuses the memory of rows.
func Fold(rows []Update) []Update {
	slices.SortFunc(rows, func(a, b Update) int {
		if c := cmp.Compare(a.Person, b.Person); c != 0 {
			return c
		}
		return cmp.Compare(b.Offset, a.Offset)
	})
	return slices.CompactFunc(rows, func(a, b Update) bool { return a.Person == b.Person })
}
