package retention

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/gateway"
	"github.com/flavorless/flavorless/internal/embedded/queue"
	"github.com/flavorless/flavorless/internal/embedded/sqlite"
)

const (
	interval      = time.Hour   // between two runs
	retryInterval = time.Minute // after a run that skipped work because uploads were being processed
)

// errBusy means that messages are queued or dead, and may belong to an upload that would be removed or restarted.
var errBusy = errors.New("uploads are being processed")

// queues are the queues of uploads.
type queues interface {
	Depths(ctx context.Context) (map[broker.Stream]queue.Depth, error)
}

// Config configures a [Cleaner]. All fields are required.
type Config struct {
	Policy  Policy
	Table   *sqlite.DB
	Bucket  *gateway.Gateway
	Uploads string // name of the bucket for uploads
	Reports string // name of the bucket for reports
	Queues  queues
	Clock   func() time.Time
	Log     *slog.Logger

	// Reconciled is closed once all stored uploads are in a queue or in the ledger.
	Reconciled <-chan struct{}
	// Publish adds the event of an object to the queue of uploads.
	Publish func(ctx context.Context, object events.Object) error
}

// Cleaner removes old data.
type Cleaner struct{ cfg Config }

// New returns a Cleaner.
func New(cfg Config) *Cleaner { return &Cleaner{cfg} }

// Run cleans once an hour until ctx ends. Errors are logged, because the next run may succeed.
func (c *Cleaner) Run(ctx context.Context) error {
	for wait := time.Duration(0); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = interval
		busy, err := c.Clean(ctx)
		if busy {
			wait = retryInterval
		}
		if err != nil && ctx.Err() == nil {
			c.cfg.Log.WarnContext(ctx, "removing old data failed", "error", err)
		}
	}
}

// Clean removes all old data once. An error in one kind of data does not keep it from removing the others. It returns
// true if uploads were skipped because others are being processed.
func (c *Cleaner) Clean(ctx context.Context) (busy bool, err error) {
	now, policy, bucket := c.cfg.Clock(), c.cfg.Policy, c.cfg.Bucket
	var errs []error
	done := func(kind string, n int, err error) {
		if n > 0 {
			c.cfg.Log.InfoContext(ctx, "removed old data", "kind", kind, "count", n)
		}
		if errors.Is(err, errBusy) {
			busy = true
		} else {
			errs = append(errs, err)
		}
	}
	n, err := c.prune(ctx)
	done("records of removed people", n, err)
	for _, name := range []string{c.cfg.Uploads, c.cfg.Reports} {
		n, err := bucket.AbortIncompleteUploads(ctx, name, now.Add(-policy.Unfinished))
		done("unfinished uploads", n, err)
	}
	lost := c.restartLost(ctx)
	done("", 0, lost)
	n, err = c.removeReports(ctx, now.Add(-policy.Reports), lost == nil)
	done("reports", n, err)
	if policy.Uploads > 0 {
		n, err := c.removeUploads(ctx, now.Add(-policy.Uploads))
		done("uploads", n, err)
	}
	return busy, errors.Join(errs...)
}

// prune removes records of removed people, a limited number per transaction.
func (c *Cleaner) prune(ctx context.Context) (total int, err error) {
	for {
		n, err := c.cfg.Table.Prune(ctx)
		total += n
		if err != nil || n == 0 {
			return total, err
		}
	}
}

// removeReports removes the objects of the reports bucket that were stored before a time. If messages are queued, in
// flight or dead, it leaves all objects but reports, for two reasons:
//
//   - If batches of an older upload arrive late, they are repaired from the sorted copies of newer uploads. A batch
//     whose copies are gone can't be applied.
//   - The marker of a large file that was not sorted keeps a repeated reading from cutting other batches.
//
// Uploads that the queues have lost need these objects as well; restarted is true if all of them are in a queue again.
// A message that is queued after requireIdle has returned belongs to an upload that is newer than the removed objects.
func (c *Cleaner) removeReports(ctx context.Context, before time.Time, restarted bool) (n int, err error) {
	checked := false
	var busy error
	n, err = c.cfg.Bucket.DeleteBefore(ctx, c.cfg.Reports, before, func(key string) bool {
		switch {
		case ingest.IsReport(key):
			return false
		case !restarted:
			return true
		case !checked:
			checked, busy = true, c.requireIdle(ctx)
		}
		return busy != nil
	})
	if err == nil {
		err = busy
	}
	return n, err
}

// removeUploads removes the files of uploads that were settled before a time, and then their records in the ledger.
//
// An event or a batch of an upload that is not in the ledger would be processed as a new upload. Such messages can come
// from a queue or its dead letters, so both must be empty; or from the reconciliation at the start, so that must be
// done, and the file is removed first so that the next one does not find it. A newer file with the same key belongs to
// another upload and stays.
func (c *Cleaner) removeUploads(ctx context.Context, before time.Time) (n int, err error) {
	const batch = 100
	for {
		old, err := c.cfg.Table.Settled(ctx, before, c.cfg.Policy.Newest, batch)
		if err != nil || len(old) == 0 {
			return n, err
		}
		if err := c.requireIdle(ctx); err != nil {
			return n, err
		}
		for _, u := range old {
			if err := c.removeUpload(ctx, u); err != nil {
				return n, fmt.Errorf("removing upload %s: %w", u.ID, err)
			}
			n++
		}
	}
}

func (c *Cleaner) removeUpload(ctx context.Context, u events.Upload) error {
	if u.Key != "" {
		if err := c.cfg.Bucket.Delete(ctx, u.Bucket, u.Key, u.ID); err != nil {
			return err
		}
	}
	return c.cfg.Table.Forget(ctx, u.ID)
}

// restartLost restarts uploads that are not settled but have no message in any queue: the queues were missing from a
// backup, were discarded after damage, or lost their last second in a power failure. If the file is gone too, the
// upload fails when it is read.
//
// Until an upload is settled, it has a message in UPLOADS, in UPDATES or in the dead letters. requireIdle finds all of
// them empty after the list was read, so the queues have lost the uploads that are still not settled then.
func (c *Cleaner) restartLost(ctx context.Context) error {
	const limit = 1000
	list, err := c.cfg.Table.Unsettled(ctx, limit)
	if err != nil || len(list) == 0 {
		return err
	}
	if err := c.requireIdle(ctx); err != nil {
		return err
	}
	for _, u := range list {
		o, ok := gateway.RebuildObject(u.Bucket, u.Key, u.ETag, u.Size, u.Origin)
		if !ok {
			c.cfg.Log.ErrorContext(ctx, "an unsettled upload can't be restarted: its record is incomplete", "upload", u.ID)
			continue
		}
		restarted, err := c.cfg.Table.Restart(ctx, u.ID)
		if err != nil {
			return err
		}
		if !restarted { // it was settled meanwhile
			continue
		}
		c.cfg.Log.WarnContext(ctx, "an upload was not in any queue; it starts again",
			"event", "upload_restarted", "upload", u.ID)
		if err := c.cfg.Publish(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// requireIdle returns errBusy unless all uploads are in a queue or in the ledger and the queues and their dead letters
// are empty.
func (c *Cleaner) requireIdle(ctx context.Context) error {
	select {
	case <-c.cfg.Reconciled:
	default:
		return fmt.Errorf("%w: the bucket is still being reconciled with the ledger", errBusy)
	}
	for range 2 { // Depths counts dead letters first: a message may have become one while it read the queues
		depths, err := c.cfg.Queues.Depths(ctx)
		if err != nil {
			return err
		}
		for _, queue := range []broker.Stream{broker.Uploads, broker.Updates} {
			if d := depths[queue]; d.Pending+d.InFlight+d.Dead > 0 {
				return fmt.Errorf("%w: there are messages in %s or its dead letters", errBusy, queue)
			}
		}
	}
	return nil
}
