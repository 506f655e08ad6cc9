package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/flavorless/flavorless/events"
)

// Announcer publishes changes to subscribers.
type Announcer struct {
	Changes topic
	Log     *slog.Logger
}

var errUnsent = errors.New("not sent, because publishing other changes failed")

// Announce publishes changes and returns an error for each: nil if the change is published, events.ErrPermanent if it
// never can be, and any other error if it has to be announced again.
//
// Several requests are in flight at a time, but the changes of one person are published in order: a change is sent
// after all earlier ones of the person were published or have failed permanently.
//
// After a failed request, no later changes are sent until the failed ones are published, so that a topic that throttles
// receives the changes approximately in order. Announce gives up after publishTries consecutive rounds without success,
// or when ctx ends.
func (a *Announcer) Announce(ctx context.Context, changes []events.Change) []error {
	errs := make([]error, len(changes))
	left := make([]int, len(changes)) // indexes in changes
	for i := range left {
		left[i] = i
	}
	for tries, pause, limit := 0, publishPause, len(left); len(left) > 0; {
		n := min(distinctPersons(changes, left), limit)
		failed := a.publish(ctx, changes, left[:n], errs)
		left = append(failed, left[n:]...)
		if len(failed) == 0 {
			tries, pause, limit = 0, publishPause, len(left)
			continue
		}
		if len(failed) < n {
			tries, pause = 0, publishPause
		}
		tries++
		tried := slices.DeleteFunc(slices.Clone(failed), func(i int) bool { return errors.Is(errs[i], errUnsent) })
		limit = min(len(tried), maxEntries)
		err := errs[tried[0]]
		if tries == publishTries || ctx.Err() != nil || errors.Is(err, events.ErrUnavailable) {
			for _, i := range left[len(failed):] {
				errs[i] = errUnsent
			}
			return errs
		}
		upload := uploadAttr(tried, func(i int) string { return changes[i].UploadID() })
		logRetry(ctx, a.Log.With(upload), len(tried), n, tries, err)
		_ = backoff(ctx, &pause) // if ctx has ended, the next request fails
	}
	return errs
}

// distinctPersons returns the number of changes before the first one of a repeated person.
func distinctPersons(changes []events.Change, indexes []int) int {
	seen := make(map[string]bool, len(indexes))
	for n, i := range indexes {
		if seen[changes[i].Person] {
			return n
		}
		seen[changes[i].Person] = true
	}
	return len(indexes)
}

// publish sends the changes with these indexes. After the first failed request it starts no others. It sets the error
// of each change in errs, and returns in order the indexes of those that have to be sent again.
func (a *Announcer) publish(ctx context.Context, changes []events.Change, indexes []int, errs []error) []int {
	var g errgroup.Group
	g.SetLimit(concurrentRequests)
	var stopped atomic.Bool
	for request := range slices.Chunk(indexes, maxEntries) {
		g.Go(func() error {
			messages := make([]events.Message, len(request))
			for n, i := range request {
				messages[n], errs[i] = changes[i].Message(), errUnsent
			}
			if stopped.Load() {
				return nil
			}
			for n, err := range a.Changes.Publish(ctx, messages) {
				if err != nil {
					err = fmt.Errorf("publishing %s: %w", messages[n].ID, err)
					if !errors.Is(err, events.ErrPermanent) {
						stopped.Store(true)
					}
				}
				errs[request[n]] = err
			}
			return nil
		})
	}
	_ = g.Wait() // the errors are in errs
	return slices.DeleteFunc(slices.Clone(indexes), func(i int) bool {
		return errs[i] == nil || errors.Is(errs[i], events.ErrPermanent)
	})
}
