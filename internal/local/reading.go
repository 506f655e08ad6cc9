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

// readFor is how long a delivery reads before it hands on the rest of the file.
const readFor = 10 * time.Second

// readEach reads what messages of UPLOADS announce, one after the other.
func readEach(c ingest.Config, stretch time.Duration) queue.Handler {
	return func(ctx context.Context, group []queue.Delivery) []error {
		errs := make([]error, len(group))
		for i, d := range group {
			errs[i] = read(ctx, c, stretch, d)
		}
		return errs
	}
}

// read handles a message of UPLOADS: an object that was stored, or the rest of one.
func read(ctx context.Context, c ingest.Config, stretch time.Duration, d queue.Delivery) error {
	c.Pause = pauseAfter(stretch, c.Clock, d.Subject == events.ContinuationType)
	in := ingest.New(c)
	switch d.Subject {
	case broker.UploadSubject:
		var o events.Object
		if err := json.Unmarshal(d.Body, &o); err != nil {
			return fmt.Errorf("%w: decoding an object event: %w", events.ErrPermanent, err)
		}
		return in.Ingest(ctx, o)
	case events.ContinuationType:
		span, err := events.DecodeContinuation(d.Body)
		if err != nil {
			return fmt.Errorf("%w: %w", events.ErrPermanent, err)
		}
		return in.Resume(ctx, span)
	}
	return fmt.Errorf("%w: nobody knows messages on %s", events.ErrPermanent, d.Subject)
}

// pauseAfter stops one reading after a while, so that a crash repeats no more than that, and a file that takes long has new
// tries for each stretch of it. One that goes on in a compressed file has to come to the place first; it then reads for at least
// as long as that took, or the end of a very long file would be all searching.
func pauseAfter(stretch time.Duration, clock func() time.Time, goesOn bool) func(context.Context) bool {
	began := clock()
	there := began
	if goesOn {
		there = time.Time{}
	}
	return func(context.Context) bool {
		now := clock()
		if there.IsZero() {
			there = now
		}
		return now.Sub(there) >= max(stretch, there.Sub(began))
	}
}
