package local

import (
	"context"
	"log/slog"
	"time"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/sqlite"
)

// feed is what the table has changed and nobody has been told of yet.
type feed interface {
	// WaitPending returns once there is something.
	WaitPending(ctx context.Context) error
	// Pending gives the oldest records.
	Pending(ctx context.Context, limit int) ([]sqlite.OutboxRecord, error)
	// Announced takes out the records up to one.
	Announced(ctx context.Context, upTo int64) error
}

// announcer tells subscribers of changes.
type announcer interface {
	Announce(ctx context.Context, changes []events.Change) []error
}

// The pause between two tries, at first and at most: a full disk need not be filled by the log.
const (
	announcePause    = time.Second
	announceMaxPause = 30 * time.Second
)

// announcing publishes what the outbox has.
type announcing struct {
	feed      feed
	announcer announcer
	pause     time.Duration     // after a failure; doubled after each that follows
	tried     func(failed bool) // is told of each try
	log       *slog.Logger
}

// run publishes in the order of the outbox, and takes a record out once it is stored in the changes topic. It tries without
// end: there is nowhere else for a change to go.
func (a announcing) run(ctx context.Context) error {
	for pause := a.pause; ; {
		log := a.log
		err := a.feed.WaitPending(ctx)
		if err == nil {
			var upload string
			if upload, err = a.pending(ctx); upload != "" {
				log = log.With("upload", upload)
			}
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // told to stop
		}
		a.tried(err != nil)
		if err == nil {
			pause = a.pause
			continue
		}
		log.WarnContext(ctx, "announcing again", "in", pause, "error", err)
		waited(ctx, pause)
		pause = min(2*pause, announceMaxPause)
	}
}

// pending also returns which upload it failed at, if it got so far.
func (a announcing) pending(ctx context.Context) (upload string, err error) {
	records, err := a.feed.Pending(ctx, 16)
	if err != nil {
		return "", err
	}
	for _, r := range records {
		err := first(a.announcer.Announce(ctx, r.Changes))
		if err == nil {
			err = a.feed.Announced(ctx, r.Seq)
		}
		if err != nil {
			return r.Changes[0].UploadID(), err
		}
	}
	return "", nil
}

// first returns the first error that is not nil.
func first(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// waited waits. It tells whether to go on.
func waited(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
