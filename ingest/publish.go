package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/flavorless/flavorless/events"
)

// topic publishes messages.
type topic interface {
	// Publish returns an error for each message: nil if it is stored, events.ErrPermanent if it never can be.
	Publish(ctx context.Context, messages []events.Message) []error
}

// Limits of what is published. SNS accepts 256 KiB per request, including attributes, and bills in units of 64 KiB.
// Four messages of less than 64 KiB cost as much as one large message, but a failure affects fewer rows.
// https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html
const (
	MaxRequest = 256 << 10 // bytes
	MaxMessage = 64 << 10  // bytes
	maxEntries = 10        // messages in a request

	// messageTarget is the size at which a batch ends, including the row that reaches it. The rest of MaxMessage is for
	// that row and the attributes.
	messageTarget = MaxMessage - events.MaxEncodedRow - 256
)

const (
	// concurrentRequests bounds the memory of publishing: each request has at most MaxRequest bytes.
	concurrentRequests = 4

	publishTries = 8
	publishPause = 50 * time.Millisecond // before the first retry; see backoff
)

// publisher publishes messages and retries those that fail.
type publisher struct {
	topic topic
	log   *slog.Logger
}

// stream packs messages into requests and publishes these concurrently.
type stream struct {
	publisher
	group   *errgroup.Group
	pending []events.Message
	size    int // of pending
}

// stream returns a stream, and a context that ends when a request fails. Pass that context to add.
func (p publisher) stream(ctx context.Context) (*stream, context.Context) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(concurrentRequests)
	return &stream{publisher: p, group: g}, ctx
}

// add publishes m with a later request. It blocks while concurrentRequests are in flight.
func (s *stream) add(ctx context.Context, m events.Message) {
	size := m.Size()
	if len(s.pending) == maxEntries || s.size+size > MaxRequest || len(s.pending) > 0 && size > MaxMessage {
		s.flush(ctx)
	}
	s.pending = append(s.pending, m)
	s.size += size
}

func (s *stream) flush(ctx context.Context) {
	if len(s.pending) == 0 || ctx.Err() != nil {
		return
	}
	request := s.pending
	s.pending, s.size = nil, 0
	s.group.Go(func() error { return s.publish(ctx, request) })
}

// close publishes the pending messages, waits for all requests, and returns the first error.
func (s *stream) close(ctx context.Context) error {
	s.flush(ctx)
	return s.group.Wait()
}

// publish sends a request, and again its failed messages, until all are stored, one fails permanently, or publishTries
// is reached.
func (p publisher) publish(ctx context.Context, messages []events.Message) error {
	pause := publishPause
	for try := 1; ; try++ {
		var failed []events.Message
		var last error
		for i, err := range p.topic.Publish(ctx, messages) {
			switch {
			case err == nil:
			case errors.Is(err, events.ErrPermanent), errors.Is(err, events.ErrUnavailable): // retrying here is useless
				return fmt.Errorf("publishing %s: %w", messages[i].ID, err)
			default:
				failed, last = append(failed, messages[i]), err
			}
		}
		if len(failed) == 0 {
			return nil
		}
		if try == publishTries {
			return fmt.Errorf("publishing %d of %d messages failed %d times; last error: %w",
				len(failed), len(messages), try, last)
		}
		logRetry(ctx, p.log.With(uploadAttr(failed, uploadOfMessage)), len(failed), len(messages), try, last)
		if err := backoff(ctx, &pause); err != nil {
			return err
		}
		messages = failed
	}
}

func logRetry(ctx context.Context, log *slog.Logger, failed, sent, try int, err error) {
	log.WarnContext(ctx, "publishing failed; it will be retried", "event", "publish_retry", "messages", failed, "of", sent,
		"try", try, "error", err)
}

// backoff waits for a random time up to pause, or until ctx ends, and doubles pause.
func backoff(ctx context.Context, pause *time.Duration) error {
	wait := rand.N(*pause)
	*pause *= 2
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
		return nil
	}
}
