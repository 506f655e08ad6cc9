package stages

import (
	"context"
	"errors"
	"log/slog"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws"
	"github.com/flavorless/flavorless/internal/aws/queues"
	"github.com/flavorless/flavorless/internal/lambda/bootstrap"
	"github.com/flavorless/flavorless/internal/metrics"
)

// deadLetters is a queues.DeadLetters.
type deadLetters interface {
	Put(ctx context.Context, letter queues.FailedMessage) error
}

// Common is what all stages need.
type Common struct {
	DeadLetters deadLetters
	Metrics     metrics.Recorder
	Log         *slog.Logger
}

// NewCommon returns a Common that sends dead letters to the queue with that URL.
func NewCommon(tools bootstrap.Tools, access aws.Access, deadLetterQueue string) Common {
	return Common{
		DeadLetters: queues.DeadLetters{Client: queues.Client(access), URL: deadLetterQueue},
		Metrics:     tools.Metrics,
		Log:         tools.Log,
	}
}

// settle decides what happens to a message whose handling returned err. It returns nil if the message is done, and an
// error if it must be redelivered. A message that failed with events.ErrPermanent is done once letter's result is in
// the dead-letter queue.
func (c Common) settle(ctx context.Context, err error, source, id string, letter func() queues.FailedMessage) error {
	if err == nil {
		return nil
	}
	if !errors.Is(err, events.ErrPermanent) {
		c.Log.WarnContext(ctx, "message will be retried", "message", id, "error", err)
		return err
	}
	dead := letter()
	dead.Reason, dead.Source, dead.ID = err, source, id
	// The handler may have used up the time that ctx allows. The margin before the platform's own deadline is for this.
	if failed := c.DeadLetters.Put(context.WithoutCancel(ctx), dead); failed != nil {
		c.Log.ErrorContext(ctx, "dead letter not stored; message will be retried", "message", id, "error", failed)
		return failed
	}
	c.Metrics.Count(metrics.DeadLetters, 1)
	c.Log.ErrorContext(ctx, "message is a dead letter", "message", id, "reason", err)
	return nil
}
