package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/flavorless/flavorless/events"
)

// Announcer tells subscribers what changed.
type Announcer struct {
	Changes topic
	Log     *slog.Logger
}

// errUnsent is the error of a change that was not tried because others failed.
var errUnsent = errors.New("not sent, because publishing other changes failed")

// Announce publishes changes and returns one error per change: nil if the change is stored, events.ErrPermanent if it never will
// be, any other if it has to come again.
//
// Several requests are under way at a time, but the changes of one person are published in their order: a change is sent after
// all earlier ones of its person are stored or have failed for good.
//
// When requests fail, no others are sent until the changes that come first are stored, so that a topic that throttles takes the
// changes in about their order. Announce gives up when publishTries requests in a row have stored nothing, or when ctx ends.
func (a *Announcer) Announce(ctx context.Context, changes []events.Change) []error {
	errs := make([]error, len(changes))
	left := make([]int, len(changes)) // indexes of changes
	for i := range left {
		left[i] = i
	}
	for tries, pause, limit := 0, publishPause, len(left); len(left) > 0; {
		n := min(differentPersons(changes, left), limit)
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
		why := errs[tried[0]]
		if tries == publishTries || ctx.Err() != nil || errors.Is(why, events.ErrUnavailable) {
			for _, i := range left[len(failed):] {
				errs[i] = errUnsent
			}
			return errs
		}
		a.Log.With(about(ofChanges(changes, tried))).WarnContext(ctx, "publishing again", "messages", len(tried), "of", n, "try", tries, "error", why)
		select {
		case <-ctx.Done(): // the next request says so
		case <-time.After(rand.N(pause)): // full jitter
		}
		pause *= 2
	}
	return errs
}

// differentPersons returns how many changes, from the first on, are of different persons.
func differentPersons(changes []events.Change, indexes []int) int {
	met := make(map[string]bool, len(indexes))
	for n, i := range indexes {
		if met[changes[i].Person] {
			return n
		}
		met[changes[i].Person] = true
	}
	return len(indexes)
}

// publish sends the changes at these indexes, and no further requests after the first that fails. It notes what became of each
// change in errs, and returns in order the indexes of those that have to be sent again.
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
	_ = g.Wait() // errs has the errors
	return slices.DeleteFunc(slices.Clone(indexes), func(i int) bool { return errs[i] == nil || errors.Is(errs[i], events.ErrPermanent) })
}
