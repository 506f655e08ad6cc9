package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/internal/embedded/broker"
)

// Queues are the work queues of a broker.
type Queues struct {
	broker *broker.Server
	dead   *DeadQueue
	log    *slog.Logger

	consuming sync.Map // broker.Stream to true
}

// New returns the work queues of b. Messages that still fail after all retries go to dead.
func New(b *broker.Server, dead *DeadQueue, log *slog.Logger) *Queues {
	return &Queues{broker: b, dead: dead, log: log}
}

// ErrStopped means that the server no longer answers requests for messages. [broker.Server.Broken] has the reason.
var ErrStopped = errors.New("the server of the queues has stopped")

// flushTimeout limits how long the last acknowledgements may take to reach the server.
const flushTimeout = 5 * time.Second

// Consume hands the messages of a queue to handle until ctx ends. A group has the messages that are ready at once: the
// first one does not wait for others. The context of handle ends with ctx, but the errors that handle returns after
// that still count. Consume returns nil once all messages are settled. Only one call at a time may consume a queue.
func (q *Queues) Consume(ctx context.Context, c Config, handle Handler) error {
	if !slices.Contains(q.broker.Queues(), c.Stream) {
		return fmt.Errorf("consuming %s: it is not a work queue", c.Stream)
	}
	if _, busy := q.consuming.LoadOrStore(c.Stream, true); busy {
		return fmt.Errorf("consuming %s: it is being consumed already", c.Stream)
	}
	defer q.consuming.Delete(c.Stream)
	err := q.consume(ctx, c.withDefaults(), handle)
	if errors.Is(err, nats.ErrNoResponders) { // JetStream stops when a write fails, for example on a full disk
		err = fmt.Errorf("%w: %w", ErrStopped, err)
	}
	if err != nil {
		return fmt.Errorf("consuming %s: %w", c.Stream, err)
	}
	return nil
}

func (q *Queues) consume(ctx context.Context, c Config, handle Handler) error {
	log := q.log.With(slog.String("queue", string(c.Stream)))
	consumer, err := q.broker.JetStream().CreateOrUpdateConsumer(ctx, string(c.Stream), jetstream.ConsumerConfig{
		Durable: broker.QueueConsumer, AckPolicy: jetstream.AckExplicitPolicy, AckWait: c.AckWait,
		MaxDeliver:    -1, // the workers count: the server would only stop delivering
		MaxAckPending: broker.MaxOutstanding,
	})
	if err != nil {
		return unlessEnded(ctx, err)
	}
	inflight, err := openInflight(q.broker.Dir(), c.Stream, c.Concurrency)
	if err != nil {
		return err
	}
	defer inflight.close()
	q.release(ctx, inflight.replies(), log)
	r, err := newRedelivery(ctx, q.broker, c.Stream, consumer, log)
	if err != nil {
		return unlessEnded(ctx, err)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var workers sync.WaitGroup
	for slot := range c.Concurrency {
		workers.Go(func() {
			w := &worker{
				conn: q.broker.Conn(), dead: q.dead, config: c, handle: handle, inflight: inflight, slot: slot, log: log,
			}
			if err := w.run(ctx); err != nil {
				stop(err)
			}
		})
	}
	workers.Go(func() { r.run(ctx) })
	workers.Wait()
	_ = q.broker.Conn().FlushTimeout(flushTimeout)
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// unlessEnded returns err unless ctx has ended, which is not a failure.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // see above
	}
	return err
}

// release makes the server deliver the messages that were in flight at a crash, so that they need not wait for AckWait.
// It waits for the server's answers: a later release would make messages available that have just been delivered.
func (q *Queues) release(ctx context.Context, replies []string, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	var all sync.WaitGroup
	for _, reply := range replies {
		all.Go(func() {
			if _, err := q.broker.Conn().RequestWithContext(ctx, reply, []byte("-NAK")); err != nil {
				log.WarnContext(ctx, "message in flight at a crash will be delivered late", "error", err)
			}
		})
	}
	all.Wait()
}
