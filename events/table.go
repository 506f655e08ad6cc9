package events

import "context"

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
	Unchanged                 // an older row with the same flavor is stored; see Batch.Compare
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

// Skips reports whether a row that is newer than the stored one need not be written, because the person already has its
// flavor. Removals are always written.
func (b Batch) Skips(row Update, flavor string) bool {
	return b.Compare && !row.Remove && row.Flavor == flavor
}

// Repair returns the rows that newer comparing uploads have for persons in the batches: for each upload in newer, a
// batch of its rows for persons in the batches of older uploads. Tables call it because such an upload may have left
// these persons unchanged, relying on a row that the batches replace. The table writes the rows under their own
// versions, without counting them. See docs/adr/0021-comparing-uploads.md.
type Repair func(ctx context.Context, newer []Origin, batches []Batch) ([]Batch, error)

// BatchResult is the result of applying a batch, as recorded in the ledger.
type BatchResult struct {
	Applied    int64
	Unchanged  int64
	Superseded int64
	Duplicate  bool    // the batch was counted before; the counts are those of the first time, or 0
	Settled    *Upload // if non-nil, the upload that became live or failed with this batch
}
