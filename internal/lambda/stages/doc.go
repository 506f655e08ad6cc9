// Package stages has the handlers of the write side's functions: an event of Amazon's in, a call of package ingest, and an
// answer that says which records are to come again.
//
//	S3 event, resume queue ─▶ Ingest      updates queue ─▶ Apply      stream of the favorites ─▶ Announce
//
// What fails for good is put into the dead letters at once, with the reason, and counts as done: trying it again would
// only hold up the others. What fails for now is reported, and comes again. If not even the dead letters can be reached,
// it comes again, too: nothing is ever dropped.
package stages

import (
	"context"
	"errors"
	"log/slog"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws/queues"
	"github.com/flavorless/flavorless/internal/metrics"
)

// deadLetters is an queues.DeadLetters.
type deadLetters interface {
	Put(ctx context.Context, letter queues.FailedMessage) error
}

// Common is what all stages have.
type Common struct {
	DeadLetters deadLetters
	Metrics     metrics.Recorder
	Log         *slog.Logger
}

// settle takes what became of a message. It returns nil if the message is done with, and an error if it has to come
// again. Letter gives the message as a dead letter; it is asked only if it is one.
func (c Common) settle(ctx context.Context, err error, source, id string, letter func() queues.FailedMessage) error {
	if err == nil {
		return nil
	}
	if !errors.Is(err, events.ErrPermanent) {
		c.Log.WarnContext(ctx, "to come again", "message", id, "error", err)
		return err
	}
	dead := letter()
	dead.Reason, dead.Source, dead.ID = err, source, id
	// It may have taken the last of the time to fail; what is left until the platform's own deadline is for this.
	if failed := c.DeadLetters.Put(context.WithoutCancel(ctx), dead); failed != nil {
		c.Log.ErrorContext(ctx, "no dead letter; to come again", "message", id, "error", failed)
		return failed
	}
	c.Metrics.Count(metrics.DeadLetters, 1)
	c.Log.ErrorContext(ctx, "dead letter", "message", id, "reason", err)
	return nil
}
