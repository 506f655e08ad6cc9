package jetstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// QueueConfig says how a queue is consumed. Zero values get the defaults named here.
type QueueConfig struct {
	Stream      Stream                      // Uploads, Updates, or that of a webhook
	MaxTries    int                         // deliveries after which a message is a dead letter; 5
	Backoff     func(try int) time.Duration // how long to wait after that many tries; 1 s, 2 s, 4 s … at most 1 minute
	MaxMessages int                         // of a group; 10
	MaxBytes    int                         // of a group, headers included; a larger message makes a group by itself; 4 MiB
	Concurrency int                         // groups handled at the same time; 1
	Pause       time.Duration               // between tries of a group while events.ErrUnavailable; 5 seconds

	// AckWait is how long after a crash a message may stay out of reach that was in hand; 10 seconds. It does not limit
	// the time that handling takes: what is in hand is kept by a heartbeat.
	AckWait time.Duration

	// Observe is told what became of each delivery; nobody by default. Those that only the end of ctx cut off are not told of.
	Observe func(Outcome)
}

// Outcome is what became of a delivery.
type Outcome int

// The outcomes of a delivery.
const (
	Done    Outcome = iota // handled
	Waiting                // none yet: events.ErrUnavailable. Told of once for all in hand of a worker, after each round
	Retried                // failed, and comes again
	Buried                 // a dead letter now
)

func (c QueueConfig) withDefaults() QueueConfig {
	c.MaxTries = cmp.Or(c.MaxTries, 5)
	c.MaxMessages = cmp.Or(c.MaxMessages, 10)
	c.MaxBytes = cmp.Or(c.MaxBytes, 4<<20)
	c.Concurrency = cmp.Or(c.Concurrency, 1)
	c.Pause = cmp.Or(c.Pause, 5*time.Second)
	c.AckWait = cmp.Or(c.AckWait, 10*time.Second)
	if c.Observe == nil {
		c.Observe = func(Outcome) {}
	}
	if c.Backoff == nil {
		c.Backoff = func(try int) time.Duration { return min(time.Second<<min(try-1, 6), time.Minute) }
	}
	return c
}

// Delivery is one message in hand.
type Delivery struct {
	ID         string // of the message; empty if it was published without
	Subject    string
	Attributes map[string]string
	Body       []byte
	Tries      int // deliveries so far, this one included; 1 at the first
}

// Handler handles a group of messages. It returns nil if all are done, or one error for each message: nil for those that
// are done; another to have it delivered again after the backoff, or, with errors.Is(err, events.ErrPermanent), to make
// it a dead letter at once. An error may say by a method RetryAfter() time.Duration that the backoff must not be shorter.
// Messages with events.ErrUnavailable are handed over again after a pause, with the same Tries, until they have another
// outcome: no other group is taken by that worker meanwhile. A panic counts as an error of all of them.
type Handler func(ctx context.Context, group []Delivery) []error

const consumerName = "flavorless"

// maxOutstanding is how many messages of a queue may be delivered and not acknowledged, those waiting for their backoff
// included: when so many fail, the rest waits.
const maxOutstanding = 10_000

// Consume hands the messages of a work queue to handle until ctx ends. A group is what is ready at once: the first
// message is not kept waiting for others. When ctx ends, so does the context of handle; what handle returns then still
// counts, and Consume returns nil when all of it is settled. A queue can be consumed once at a time.
//
// A delivery that the end of ctx or of the process cuts off counts as a try, as it does with SQS.
func (s *Server) Consume(ctx context.Context, c QueueConfig, handle Handler) error {
	c = c.withDefaults()
	release, err := s.claim(c.Stream)
	if err != nil {
		return err
	}
	defer release()
	_, err = s.js.CreateOrUpdateConsumer(ctx, string(c.Stream), jetstream.ConsumerConfig{
		Durable: consumerName, AckPolicy: jetstream.AckExplicitPolicy, AckWait: c.AckWait,
		MaxDeliver:    -1, // counted here: the server would just stop delivering
		MaxAckPending: maxOutstanding,
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("consuming %s: %w", c.Stream, err)
	}
	hand, err := openHand(s.config.Dir, c.Stream, c.Concurrency)
	if err != nil {
		return fmt.Errorf("consuming %s: %w", c.Stream, err)
	}
	defer hand.close()
	s.giveBack(ctx, hand.replies())

	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	floor, err := s.floor(ctx, c.Stream)
	if err == nil {
		err = s.putBack(ctx, c.Stream, floor)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	var workers sync.WaitGroup
	for i := range c.Concurrency {
		workers.Go(func() {
			w := &worker{server: s, config: c, handle: handle, hand: hand, slot: i,
				log: s.log.With(slog.String("queue", string(c.Stream)))}
			if err := w.run(ctx); err != nil {
				stop(fmt.Errorf("consuming %s: %w", c.Stream, err))
			}
		})
	}
	workers.Go(func() { s.sweep(ctx, c.Stream, floor) })
	workers.Wait()
	_ = s.house.FlushTimeout(closeTimeout)
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// giveBack makes ready what a crash left in hand, so that it need not wait until AckWait is over. It returns when the
// server has done so: later, it would make messages ready that have just been delivered.
func (s *Server) giveBack(ctx context.Context, replies []string) {
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	var all sync.WaitGroup
	for _, reply := range replies {
		all.Go(func() {
			if _, err := s.house.RequestWithContext(ctx, reply, []byte("-NAK")); err != nil {
				s.log.WarnContext(ctx, "a message that was in hand will come back late", "error", err)
			}
		})
	}
	all.Wait()
}

// claim makes the caller the only one to consume the queue.
func (s *Server) claim(q Stream) (release func(), err error) {
	if !slices.Contains(s.config.queues(), q) {
		return nil, fmt.Errorf("consuming %s: it is not a work queue", q)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.consuming[q] {
		return nil, fmt.Errorf("consuming %s: it is being consumed already", q)
	}
	s.consuming[q] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.consuming, q)
	}, nil
}
