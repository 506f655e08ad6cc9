package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
)

// worker handles one group of a queue after the other.
type worker struct {
	conn     *nats.Conn
	dead     *DeadQueue
	config   Config
	handle   Handler
	inflight *inflight
	slot     int // in inflight
	log      *slog.Logger

	mu sync.Mutex // a message gets no heartbeat after its answer
}

// message is a delivered message until it is settled.
type message struct {
	Delivery
	seq      uint64 // in the stream
	stored   time.Time
	reply    string
	header   nats.Header
	settled  bool // it will not be delivered again
	answered bool // guarded by worker.mu

	interrupted bool // a crash or a stop interrupted its last try
}

// upload returns the upload that the message belongs to. All messages of the write path have this attribute.
func (m *message) upload() string { return m.Attributes["upload"] }

// uploads returns a log attribute with the uploads of a group.
func uploads(group []*message) slog.Attr {
	var ids []string
	for _, m := range group {
		if id := m.upload(); !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 1 {
		return slog.String("upload", ids[0])
	}
	return slog.Any("uploads", ids)
}

// run handles groups until ctx ends.
func (w *worker) run(ctx context.Context) error {
	f, err := newFetcher(w.conn, w.config.Stream, broker.QueueConsumer)
	if err != nil {
		return err
	}
	defer f.drain()
	for ctx.Err() == nil {
		msgs, err := f.group(ctx, w.config.MaxMessages, w.config.MaxBytes)
		if err != nil {
			return err
		}
		if err := w.process(ctx, w.decode(msgs)); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) decode(msgs []*nats.Msg) []*message {
	group := make([]*message, 0, len(msgs))
	for _, received := range msgs {
		meta, err := received.Metadata()
		if err != nil {
			w.log.Error("message without metadata ignored", "subject", received.Subject, "error", err)
			continue
		}
		m := &message{seq: meta.Sequence.Stream, stored: meta.Timestamp, reply: received.Reply, header: received.Header}
		m.ID, m.Attributes = broker.Decode(received.Header)
		m.Subject, m.Body = received.Subject, received.Data
		m.Tries, m.interrupted = w.inflight.tries(m.seq, int(meta.NumDelivered))
		group = append(group, m)
	}
	return group
}

// process handles and settles a group. It tries each message that was in flight at a crash alone, because one of them
// may have caused the crash, and would use up the tries of the others.
func (w *worker) process(ctx context.Context, group []*message) error {
	if len(group) == 0 {
		return nil
	}
	stop := w.startHeartbeat(group)
	defer stop()
	var together []*message
	for _, m := range group {
		switch {
		case m.Tries > w.config.MaxTries:
			w.deadLetter(ctx, m, errors.New("the last try ended without a result: the process ended, or lost its connection"))
			w.inflight.forget(m)
		case m.interrupted:
			if err := w.try(ctx, []*message{m}); err != nil {
				return err
			}
		default:
			together = append(together, m)
		}
	}
	return w.try(ctx, together)
}

// try hands the messages to the handler and settles each by its error. Messages with events.ErrUnavailable stay in
// flight and are handed over again after a pause. All of that counts as one try.
func (w *worker) try(ctx context.Context, group []*message) error {
	if len(group) == 0 {
		return nil
	}
	if recorded, err := w.recordInFlight(ctx, group); !recorded {
		return err
	}
	for left, attempt := group, 0; len(left) > 0; attempt++ {
		if attempt > 0 {
			sleep(ctx, w.config.Pause)
		}
		var unavailable []*message
		var reason error
		for i, err := range w.call(ctx, left) {
			if !errors.Is(err, events.ErrUnavailable) || ctx.Err() != nil {
				w.settle(ctx, left[i], err)
				continue
			}
			unavailable, reason = append(unavailable, left[i]), cmp.Or(reason, err)
		}
		if len(unavailable) > 0 {
			w.config.Observe(Waiting)
			w.logWaiting(ctx, attempt, unavailable, reason)
		}
		if attempt > 0 && len(unavailable) == 0 && ctx.Err() == nil {
			w.log.With(uploads(left)).InfoContext(ctx, "queue resumed", "attempts", attempt)
		}
		left = unavailable
	}
	w.inflight.forget(group...)
	return w.inflight.clear(w.slot)
}

// recordInFlight writes to disk that a group is in flight. While the disk is full, it retries until ctx ends, and then
// returns the messages to the queue.
func (w *worker) recordInFlight(ctx context.Context, group []*message) (recorded bool, err error) {
	for attempt := 0; ; attempt++ {
		err := w.inflight.record(w.slot, group)
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
			return false, fmt.Errorf("recording messages in flight: %w", err)
		}
		if ctx.Err() != nil {
			for _, m := range group {
				w.settle(ctx, m, err)
			}
			return false, nil
		}
		w.logWaiting(ctx, attempt, group, err)
		sleep(ctx, w.config.Pause)
	}
}

// logWaiting logs why a group waits. Only the first attempt is a warning, because the log must not fill a full disk.
func (w *worker) logWaiting(ctx context.Context, attempt int, group []*message, err error) {
	level := slog.LevelDebug
	if attempt == 0 {
		level = slog.LevelWarn
	}
	w.log.With(uploads(group)).Log(ctx, level, "queue waits for an unavailable resource",
		"messages", len(group), "attempt", attempt, "error", err)
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// call calls the handler and returns one error per message, whatever the handler does.
func (w *worker) call(ctx context.Context, group []*message) (errs []error) {
	deliveries := make([]Delivery, len(group))
	for i, m := range group {
		deliveries[i] = m.Delivery
	}
	defer func() {
		if r := recover(); r != nil {
			w.log.With(uploads(group)).ErrorContext(ctx, "handler panicked", "panic", r, "stack", string(debug.Stack()))
			errs = slices.Repeat([]error{fmt.Errorf("the handler panicked: %v", r)}, len(group))
		}
	}()
	errs = w.handle(ctx, deliveries)
	switch len(errs) {
	case len(group):
		return errs
	case 0:
		return make([]error, len(group))
	}
	err := fmt.Errorf("the handler returned %d errors for %d messages", len(errs), len(group))
	return slices.Repeat([]error{err}, len(group))
}
