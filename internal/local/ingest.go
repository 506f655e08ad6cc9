package local

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/queue"
)

// DefaultReadFor is the default of [Config.ReadFor].
const DefaultReadFor = 10 * time.Second

// readEach returns a handler that reads the objects of a group of messages from UPLOADS, one after the other.
func readEach(c ingest.Config, readFor time.Duration) queue.Handler {
	return func(ctx context.Context, group []queue.Delivery) []error {
		errs := make([]error, len(group))
		for i, d := range group {
			errs[i] = read(ctx, c, readFor, d)
		}
		return errs
	}
}

// read handles a message from UPLOADS: the event of a stored object, or a continuation.
func read(ctx context.Context, c ingest.Config, readFor time.Duration, d queue.Delivery) error {
	c.Pause = pauseAfter(readFor, c.Clock, d.Subject == events.ContinuationType)
	in := ingest.New(c)
	switch d.Subject {
	case broker.UploadSubject:
		var o events.Object
		if err := json.Unmarshal(d.Body, &o); err != nil {
			return fmt.Errorf("%w: decoding an object event: %w", events.ErrPermanent, err)
		}
		return in.Ingest(ctx, o)
	case events.ContinuationType:
		continuation, err := events.DecodeContinuation(d.Body)
		if err != nil {
			return fmt.Errorf("%w: %w", events.ErrPermanent, err)
		}
		return in.Resume(ctx, continuation)
	}
	return fmt.Errorf("%w: unknown message subject %q", events.ErrPermanent, d.Subject)
}

// pauseAfter returns a function that reports, before each batch, whether to stop reading and publish a continuation.
// That bounds what a crash repeats, and each part of a long file gets all tries.
//
// A continuation of a compressed file first has to decompress everything before its offset. So it reads for at least as
// long as that took; otherwise most of the time of a long file would be spent on it.
func pauseAfter(readFor time.Duration, clock func() time.Time, continues bool) func(context.Context) bool {
	began := clock()
	reached := began // when the offset was reached
	if continues {
		reached = time.Time{}
	}
	return func(context.Context) bool {
		now := clock()
		if reached.IsZero() {
			reached = now
		}
		return now.Sub(reached) >= max(readFor, reached.Sub(began))
	}
}
