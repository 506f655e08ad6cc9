package events

// Update is an accepted row: it sets the flavor of a person, or removes the person.
type Update struct {
	Offset int64  // byte at which the row starts in the decompressed file
	Person string // in the form that CleanName returns
	Flavor string // in the form that CleanName returns; empty for a removal
	Remove bool
}
