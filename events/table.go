package events

// Favorite is a row of the table. Tables return no rows of removed persons, so Flavor is never empty.
type Favorite struct {
	Person  string
	Flavor  string
	Version Version
}

// Outcome is the result of applying an accepted row. (Rejected rows are in no batch.)
type Outcome int

// Outcomes of a row in a batch.
const (
	Superseded Outcome = iota // a newer row is stored
	Applied                   // the row has to be written
	Repeated                  // the same row is stored; it counts as applied but is not written again
)

// Decide returns the outcome of applying a row with version v. Stored is the version of the person's row in the table,
// or empty if there is none. A row is written only if no newer one is stored.
func Decide(stored, v Version) Outcome {
	switch {
	case stored < v:
		return Applied
	case stored == v:
		return Repeated
	}
	return Superseded
}

// BatchResult is the result of applying a batch, as recorded in the ledger.
type BatchResult struct {
	Applied    int64
	Superseded int64
	Duplicate  bool    // the batch was counted before; Applied and Superseded are those of the first time, or 0
	Settled    *Upload // if non-nil, the upload that became live or failed with this batch
}
