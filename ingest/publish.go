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

// topic is where messages are published. Publish returns one error per message, nil for those that are stored; an
// error that is events.ErrPermanent will come again on every try.
type topic interface {
	Publish(ctx context.Context, messages []events.Message) []error
}

// Sizes of what is published. SNS takes 256 KiB in one request, attributes included, and bills by 64 KiB; four messages
// that stay below 64 KiB each fill a request, at the price of one large message and with a smaller unit of failure.
// https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html
const (
	MaxRequest = 256 << 10 // bytes
	MaxMessage = 64 << 10  // bytes
	maxEntries = 10        // messages in a request

	// messageTarget ends a batch: the row that crosses it is the batch's last. What remains up to MaxMessage has room for
	// that row and the attributes. Batches end by this rule alone, so that they are the same on every run.
	messageTarget = MaxMessage - events.MaxEncodedRow - 256
)

// Retries of a publish request whose messages failed in part.
const (
	publishTries = 8
	publishPause = 50 * time.Millisecond // doubled each time; the actual pause is random up to that
)

// publisher publishes in requests of a bounded size, several at a time.
type publisher struct {
	topic topic
	log   *slog.Logger
}

// concurrentRequests bounds the memory of one publishing: as many requests of MaxRequest are under way.
const concurrentRequests = 4

// stream publishes what it is given, in requests of at most MaxRequest. Close waits for the last.
type stream struct {
	publisher
	group   *errgroup.Group
	ctx     context.Context //nolint:containedctx // it is the group's, which ends when a request fails
	pending []events.Message
	size    int
}

func (p publisher) stream(ctx context.Context) *stream {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(concurrentRequests)
	return &stream{publisher: p, group: g, ctx: ctx}
}

// add takes a message. It blocks while concurrentRequests are under way, and does nothing once one has failed.
func (s *stream) add(m events.Message) {
	size := m.Size()
	if len(s.pending) == maxEntries || s.size+size > MaxRequest || len(s.pending) > 0 && size > MaxMessage {
		s.flush()
	}
	s.pending = append(s.pending, m)
	s.size += size
}

func (s *stream) flush() {
	if len(s.pending) == 0 || s.ctx.Err() != nil {
		return
	}
	request := s.pending
	s.pending, s.size = nil, 0
	s.group.Go(func() error { return s.publish(s.ctx, request) })
}

// failure tells, by an error, that adding more is of no use. Close tells why.
func (s *stream) failure() error { return s.ctx.Err() }

// close publishes the rest, waits, and returns the first error.
func (s *stream) close() error {
	s.flush()
	return s.group.Wait()
}

// publish sends one request, and again what failed of it, until all is stored, a message fails for good, or the tries
// are used up.
func (p publisher) publish(ctx context.Context, messages []events.Message) error {
	pause := publishPause
	for try := 1; ; try++ {
		var again []events.Message
		var last error
		for i, err := range p.topic.Publish(ctx, messages) {
			switch {
			case err == nil:
			case errors.Is(err, events.ErrPermanent), errors.Is(err, events.ErrUnavailable): // a few tries would not help
				return fmt.Errorf("publishing %s: %w", messages[i].ID, err)
			default:
				again, last = append(again, messages[i]), err
			}
		}
		if len(again) == 0 {
			return nil
		}
		if try == publishTries {
			return fmt.Errorf("publishing %d of %d messages failed %d times, the last with: %w", len(again), len(messages), try, last)
		}
		p.log.With(about(ofMessages(again))).WarnContext(ctx, "publishing again", "messages", len(again), "of", len(messages), "try", try, "error", last)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rand.N(pause)): // full jitter
		}
		messages = again
		pause *= 2
	}
}
