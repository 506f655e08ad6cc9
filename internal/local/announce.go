package local

import (
	"context"
	"log/slog"
	"time"

	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/embedded/sqlite"
)

// feed is what the table has changed and nobody has been told of yet.
type feed interface {
	// WaitPending returns once there is something.
	WaitPending(ctx context.Context) error
	// Pending gives the oldest records.
	Pending(ctx context.Context, limit int) ([]sqlite.Outboxed, error)
	// Announced takes out the records up to one.
	Announced(ctx context.Context, upTo int64) error
}

// announcing publishes what the outbox has.
type announcing struct {
	feed      feed
	announcer *ingest.Announcer
	pause     time.Duration // after a failure
	log       *slog.Logger
}

// run publishes in the order of the outbox, and takes a record out once it is stored in the changes topic. It tries without
// end: there is nowhere else for a change to go.
func (a announcing) run(ctx context.Context) error {
	for {
		err := a.feed.WaitPending(ctx)
		if err == nil {
			err = a.pending(ctx)
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // told to stop
		}
		if err != nil {
			a.log.Error("changes are not announced yet", "wait", a.pause, "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(a.pause):
			}
		}
	}
}

func (a announcing) pending(ctx context.Context) error {
	records, err := a.feed.Pending(ctx, 16)
	if err != nil {
		return err
	}
	for _, r := range records {
		if err := a.announcer.Announce(ctx, r.Changes); err != nil {
			return err
		}
		if err := a.feed.Announced(ctx, r.Seq); err != nil {
			return err
		}
	}
	return nil
}
