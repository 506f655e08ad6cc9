package events

import "errors"

// What the parts of the house tell one another by. Adapters wrap these; callers use errors.Is.
var (
	// ErrNotFound: there is no such person or upload. Answer so; do not retry.
	ErrNotFound = errors.New("not found")

	// ErrObjectGone: the object that an event announced is not there any more as it was announced. The upload has
	// failed; do not retry.
	ErrObjectGone = errors.New("the object was deleted or overwritten before it was read")

	// ErrOutOfRetention: the log of changes does not reach back to the place that was asked for, or never came so far. Read the
	// table, and follow from now on.
	ErrOutOfRetention = errors.New("the changes since then are not kept")

	// ErrPermanent: the request itself is at fault (too large, malformed, forbidden). Do not retry: what it carried
	// belongs in the dead letters.
	ErrPermanent = errors.New("permanent failure")

	// ErrUnavailable: what is asked for is fine, but what it takes is out of order for now, and for all alike: the disk
	// is full, the table is locked. Wait, and try the same again for as long as it takes; that is no failed try.
	ErrUnavailable = errors.New("unavailable for now")
)
