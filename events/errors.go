package events

import (
	"errors"
	"time"
)

// Sentinel errors shared by the core and its adapters. Adapters wrap them; callers use [errors.Is].
var (
	// ErrNotFound means that no such person or upload exists. Do not retry.
	ErrNotFound = errors.New("not found")

	// ErrObjectGone means that the bucket no longer holds the object that an event announced. The upload fails; do not
	// retry.
	ErrObjectGone = errors.New("the object was deleted or overwritten before it was read")

	// ErrOutOfRetention means that the log of changes does not hold the requested position: it was pruned, or it is in
	// the future. Read the whole table, then follow new changes.
	ErrOutOfRetention = errors.New("the changes since then are not kept")

	// ErrPermanent means that the request itself is at fault: it is too large, malformed or forbidden. Do not retry;
	// move the message to the dead-letter queue.
	ErrPermanent = errors.New("permanent failure")

	// ErrUnavailable means that a resource which every request needs is out of order: the disk is full, or the table is
	// locked. Retry the same request until it succeeds, and do not count an attempt.
	ErrUnavailable = errors.New("temporarily unavailable")
)

// RetryAfterError is an error of a receiver that states when to retry.
type RetryAfterError interface {
	error
	// RetryAfter returns the shortest time to wait before the next attempt.
	RetryAfter() time.Duration
}
