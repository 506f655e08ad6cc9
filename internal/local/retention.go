package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/gateway"
)

// Retention says how long what has been done with is kept. Zero values get the defaults named here.
type Retention struct {
	// Uploads is how long an uploaded file is kept after its upload was settled, and with it all that the ledger knows of
	// it. By default, for ever: of the files everything else can be made anew, and the ledger is small beside them.
	Uploads time.Duration
	Newest  int // uploads stay, however old they are; 100

	Reports      time.Duration // lists of all rejected rows; 90 days
	Removed      time.Duration // that a person was removed, so that no late update brings them back; 30 days
	Changes      time.Duration // announced changes, for subscribers who come later; 7 days
	ChangesBytes int64         // most bytes of them; 10 GiB
	Unfinished   time.Duration // uploads in parts to which nothing is added any more; 7 days
}

const day = 24 * time.Hour

func (r Retention) withDefaults() Retention {
	r.Newest = cmp.Or(r.Newest, 100)
	r.Reports = cmp.Or(r.Reports, 90*day)
	r.Removed = cmp.Or(r.Removed, 30*day)
	r.Changes = cmp.Or(r.Changes, 7*day)
	r.ChangesBytes = cmp.Or(r.ChangesBytes, 10<<30)
	r.Unfinished = cmp.Or(r.Unfinished, 7*day)
	return r
}

// check refuses what would lose something, or makes no sense.
func (r Retention) check() error {
	switch {
	case r.Newest < 0 || r.ChangesBytes < 1<<20:
		return fmt.Errorf("%w: at least 1 MiB of changes has to be kept", ErrConfig)
	case r.Uploads != 0 && r.Uploads < day:
		return fmt.Errorf("%w: uploads have to be kept for a day at least (or for ever: 0), not %s", ErrConfig, r.Uploads)
	case r.Reports < time.Hour || r.Changes < time.Hour || r.Unfinished < time.Hour:
		return fmt.Errorf("%w: reports, changes and unfinished uploads have to be kept for an hour at least", ErrConfig)
	case r.Removed < day:
		return fmt.Errorf("%w: removed people have to be remembered for a day at least, not %s: an update may come that late, and would bring them back",
			ErrConfig, r.Removed)
	case r.Removed < r.Changes:
		return fmt.Errorf("%w: removed people are forgotten after %s, but changes are kept for %s: who reads those would meet people "+
			"of whose removal nothing is known; keep the removed at least as long", ErrConfig, r.Removed, r.Changes)
	}
	return nil
}

const (
	tidyInterval = time.Hour   // between two looks for what may go
	tidySoon     = time.Minute // if it was not the moment to forget uploads
)

// errNotNow: something is under way that may be about an upload that is about to be forgotten.
var errNotNow = errors.New("not now")

// tidyUp removes what is older than it has to be, now and then.
func (s *Server) tidyUp(ctx context.Context) error {
	for wait := time.Duration(0); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = tidyInterval
		later, err := s.tidy(ctx)
		if later {
			wait = tidySoon
		}
		if err != nil && ctx.Err() == nil {
			s.cfg.Log.WarnContext(ctx, "removing what is old", "error", err) // the next time may do better
		}
	}
}

// tidy does all of it once. What can't be done does not keep the rest from being done; later tells that it was not the
// moment for some of it.
func (s *Server) tidy(ctx context.Context) (later bool, err error) {
	now, keep := s.cfg.Clock(), s.cfg.Retention
	var errs []error
	for n := 1; n > 0; {
		var err error
		if n, err = s.db.Prune(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	n, err := s.gateway.DeleteBefore(ctx, reportsBucket, now.Add(-keep.Reports))
	s.tidied(ctx, "reports", n)
	errs = append(errs, err)
	for _, bucket := range []string{uploadsBucket, reportsBucket} {
		n, err := s.gateway.AbortIncompleteUploads(ctx, bucket, now.Add(-keep.Unfinished))
		s.tidied(ctx, "unfinished uploads", n)
		errs = append(errs, err)
	}
	n, err = s.reread(ctx)
	if n > 0 {
		s.cfg.Log.WarnContext(ctx, "no queue knew of uploads that were under way any more: they are read again", "count", n)
	}
	if later = errors.Is(err, errNotNow); !later {
		errs = append(errs, err)
	}
	if keep.Uploads > 0 {
		n, err := s.forgetUploads(ctx, now.Add(-keep.Uploads))
		s.tidied(ctx, "uploads", n)
		if errors.Is(err, errNotNow) {
			later = true
		} else {
			errs = append(errs, err)
		}
	}
	return later, errors.Join(errs...)
}

func (s *Server) tidied(ctx context.Context, what string, n int) {
	if n > 0 {
		s.cfg.Log.InfoContext(ctx, "removed what was old", "what", what, "count", n)
	}
}

// forgetUploads removes the files of uploads that were settled before that time, and then what the ledger knows of them.
//
// In this order, and only at the right moment: an event or a batch of an upload that the ledger does not know any more
// would be taken for news. Those can come from a queue or from the dead letters, so both have to be empty; and from
// reconcile, which has to be through, and which finds no file the next time. A file that took the place of an older one
// stays with its own upload.
func (s *Server) forgetUploads(ctx context.Context, before time.Time) (n int, err error) {
	const atOnce = 100
	for {
		old, err := s.db.Settled(ctx, before, s.cfg.Retention.Newest, atOnce)
		if err != nil || len(old) == 0 {
			return n, err
		}
		if err := s.quiet(ctx); err != nil {
			return n, err
		}
		for _, u := range old {
			if err := s.forget(ctx, u); err != nil {
				return n, fmt.Errorf("forgetting upload %s: %w", u.ID, err)
			}
			n++
		}
	}
}

func (s *Server) forget(ctx context.Context, u events.Upload) error {
	if u.Key != "" {
		if err := s.gateway.Delete(ctx, u.Bucket, u.Key, u.ID); err != nil {
			return err
		}
	}
	return s.db.Forget(ctx, u.ID)
}

// reread lets uploads begin anew of which the queues know nothing any more although they are not settled: the queues were
// left out of a backup, given up after damage, or have lost the last second at a power cut. If their files are gone, too,
// they fail by that.
//
// What is under way is in a queue, or is dead, until the ledger knows its end. So an upload that is still not settled after
// all were seen empty, UPLOADS before UPDATES, has been lost.
func (s *Server) reread(ctx context.Context) (n int, err error) {
	const atOnce = 1000
	list, err := s.db.Unsettled(ctx, atOnce)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	if err := s.quiet(ctx); err != nil {
		return 0, err
	}
	for _, u := range list {
		o, ok := gateway.RebuildObject(u.Bucket, u.Key, u.ETag, u.Size, u.Origin)
		if !ok {
			s.cfg.Log.ErrorContext(ctx, "an upload is under way of which nothing is known", "upload", u.ID)
			continue
		}
		restarted, err := s.db.Restart(ctx, u.ID)
		if err == nil && restarted {
			n++
			err = s.stored(ctx, o)
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// quiet tells, by errNotNow, that something is under way or waits for a person.
func (s *Server) quiet(ctx context.Context) error {
	select {
	case <-s.reconciled:
	default:
		return fmt.Errorf("%w: the bucket has not been looked through yet", errNotNow)
	}
	depths, err := s.streams.Depths(ctx)
	if err != nil {
		return err
	}
	for _, queue := range []broker.Stream{broker.Uploads, broker.Updates} {
		if d := depths[queue]; d.Pending+d.InFlight+d.Dead > 0 {
			return fmt.Errorf("%w: there are messages in %s or its dead letters", errNotNow, queue)
		}
	}
	return nil
}
