package topic

import (
	"context"

	"golang.org/x/time/rate"
)

// Reconnect cuts the connection that followers share. The client reconnects by itself.
func (l *Log) Reconnect() error { return l.readers.ForceReconnect() }

// Unlimit removes the limit of bytes per second.
func (t *Topic) Unlimit() { t.rate.SetLimit(rate.Inf) }

// ChangesBurst is how many bytes of changes may be published at once.
const ChangesBurst = changesBurst

// StopRefill lets changes be published only as far as the burst goes.
func (l *Log) StopRefill() { l.rate.SetLimit(1e-9) }

// Idle reports whether no message is counted as in flight.
func (t *Topic) Idle() bool { return t.inFlight.TryAcquire(maxInFlightBytes) }

// Miss reports what a follower does whose next message is at that position, and who first finds a later one, twice.
func (l *Log) Miss(ctx context.Context, next, found uint64) (first, second error) {
	f := follower{stream: l.stream, next: next}
	return f.miss(ctx, found), f.miss(ctx, found)
}
