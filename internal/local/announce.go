package local

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/sqlite"
	"github.com/flavorless/flavorless/internal/local/health"
)

// feed is the outbox of the table: records of changes that are not announced yet.
type feed interface {
	// WaitPending returns once there is a record.
	WaitPending(ctx context.Context) error
	// Pending returns the oldest records.
	Pending(ctx context.Context, limit int) ([]sqlite.OutboxRecord, error)
	// Announced removes the records up to a sequence number.
	Announced(ctx context.Context, upTo int64) error
}

// announcer publishes changes to subscribers.
type announcer interface {
	Announce(ctx context.Context, changes []events.Change) []error
}

// Pauses between two tries: the first one, and the longest. They grow so that the log of the failures does not fill a
// nearly full disk.
const (
	announcePause    = time.Second
	announceMaxPause = 30 * time.Second
)

// announcing publishes the records of the outbox.
type announcing struct {
	feed      feed
	announcer announcer
	pause     time.Duration // after the first failure; doubled after each further one
	heartbeat *health.Heartbeat
	log       *slog.Logger
}

// run publishes the records in order and removes each one once its changes are stored in the changes topic. It retries
// forever instead of giving up, because the outbox has no dead letters.
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
			return nil //nolint:nilerr // stopped
		}
		a.heartbeat.Beat(err == nil)
		if err == nil {
			pause = a.pause
			continue
		}
		log.WarnContext(ctx, "announcing changes failed; it will be retried",
			"event", "announce_retry", "in", pause, "error", err)
		wait(ctx, pause)
		pause = min(2*pause, announceMaxPause)
	}
}

// pending announces the oldest records. If it fails, it also returns the upload that it failed on, if it got so far.
func (a announcing) pending(ctx context.Context) (upload string, err error) {
	records, err := a.feed.Pending(ctx, 16)
	if err != nil {
		return "", err
	}
	for _, r := range records {
		err := cmp.Or(a.announcer.Announce(ctx, r.Changes)...)
		if err == nil {
			err = a.feed.Announced(ctx, r.Seq)
		}
		if err != nil {
			return r.Changes[0].UploadID(), err
		}
	}
	return "", nil
}

// wait waits for d and returns true, or returns false as soon as ctx ends.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// HasUnannounced reports whether there are changes that are not announced yet.
func (s *Server) HasUnannounced(ctx context.Context) (bool, error) {
	records, err := s.db.Pending(ctx, 1)
	return len(records) > 0, err
}
