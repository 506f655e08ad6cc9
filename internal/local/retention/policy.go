// Package retention removes what the server on one machine no longer has to keep: old uploads, reports, records of
// removed people and unfinished uploads. It also restarts uploads that the queues have lost.
package retention

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// Policy says how long data is kept. Zero values stand for those of [DefaultPolicy].
type Policy struct {
	// Uploads is how long an uploaded file and its record in the ledger are kept after the upload was settled; 0 keeps
	// them forever.
	Uploads time.Duration
	Newest  int // number of uploads that are kept regardless of their age

	// Reports is how long lists of all rejected rows are kept, and sorted copies of large files. While any message of an
	// upload is queued, in flight or dead, no sorted copy is deleted, however old it is: the batches of an older upload
	// that arrive late are repaired from the copies of newer ones.
	Reports time.Duration

	Removed      time.Duration // records of removed people, which keep late updates from bringing them back
	Changes      time.Duration // announced changes, for subscribers who connect later
	ChangesBytes int64         // maximum size of the announced changes
	Unfinished   time.Duration // multipart uploads, since their last part
}

const day = 24 * time.Hour

// DefaultPolicy returns the policy of a server that is not configured. It keeps uploads forever, because everything
// else can be rebuilt from them.
func DefaultPolicy() Policy {
	return Policy{
		Newest: 100, Reports: 90 * day, Removed: 30 * day, Changes: 7 * day, ChangesBytes: 10 << 30, Unfinished: 7 * day,
	}
}

// WithDefaults returns the policy with defaults for zero values.
func (p Policy) WithDefaults() Policy {
	d := DefaultPolicy()
	p.Newest = cmp.Or(p.Newest, d.Newest)
	p.Reports = cmp.Or(p.Reports, d.Reports)
	p.Removed = cmp.Or(p.Removed, d.Removed)
	p.Changes = cmp.Or(p.Changes, d.Changes)
	p.ChangesBytes = cmp.Or(p.ChangesBytes, d.ChangesBytes)
	p.Unfinished = cmp.Or(p.Unfinished, d.Unfinished)
	return p
}

// Check returns an error if the policy would lose data that is still needed.
func (p Policy) Check() error {
	switch {
	case p.Newest < 0:
		return fmt.Errorf("the number of uploads to keep is %d; it can't be negative", p.Newest)
	case p.ChangesBytes < 1<<20:
		return errors.New("--max-changes-size must be at least 1MiB")
	case p.Uploads != 0 && p.Uploads < day:
		return errors.New("--keep-uploads must be at least 1d, or 0 to keep uploads forever")
	case p.Reports < time.Hour:
		return errors.New("--keep-reports must be at least 1h")
	case p.Changes < time.Hour:
		return errors.New("--keep-changes must be at least 1h")
	case p.Unfinished < time.Hour:
		return errors.New("--keep-unfinished must be at least 1h")
	case p.Removed < day:
		return errors.New("--keep-removed must be at least 1d: an update that arrives later would bring people back")
	case p.Removed < p.Changes:
		return fmt.Errorf("--keep-removed (%.0fh) must be at least as long as --keep-changes (%.0fh): "+
			"subscribers would read changes of people whose removal is no longer known",
			p.Removed.Hours(), p.Changes.Hours())
	}
	return nil
}
