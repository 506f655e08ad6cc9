package events

// Favorite is what the table holds of one person. The zero Flavor of a removed person never leaves the table's adapter.
type Favorite struct {
	Person  string
	Flavor  string
	Version Version
}

// Outcome is what becomes of an accepted row when its batch is applied. (Rejected rows never reach a batch.)
type Outcome int

// Outcomes of a row in a batch.
const (
	Superseded Outcome = iota // something newer is stored
	Applied                   // to be stored
	Repeated                  // this very row is stored already: counts as applied, and nothing is to be written
)

// Decide is the rule of the table: an update is written only where nothing newer is stored. Stored is empty when nothing
// is.
func Decide(stored, mine Version) Outcome {
	switch {
	case stored < mine:
		return Applied
	case stored == mine:
		return Repeated
	}
	return Superseded
}

// BatchResult is what became of one batch, as the ledger counts it.
type BatchResult struct {
	Applied    int64
	Superseded int64
	Duplicate  bool    // the batch had been applied and counted before; the figures are those of that time, or 0
	Settled    *Upload // set for the one batch with which its upload became live or failed
}
