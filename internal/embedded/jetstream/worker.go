package jetstream

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
)

// worker handles one group of a queue after the other.
type worker struct {
	server *Server
	config QueueConfig
	handle Handler
	hand   *hand
	slot   int
	log    *slog.Logger

	mu sync.Mutex // orders heartbeats before the answers
}

// inHand is a delivered message until it is settled.
type inHand struct {
	Delivery
	seq      uint64 // in the stream
	stored   time.Time
	reply    string
	header   nats.Header
	crashed  bool // it was in hand when the process died
	settled  bool // it will not be delivered again
	answered bool // guarded by worker.mu
}

// upload is whose message it is, for the log: the attribute of that name, which all messages of the write path have.
func (m *inHand) upload() string { return m.Attributes["upload"] }

// uploads is that of all of a group.
func uploads(group []*inHand) slog.Attr {
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

// settleTimeout bounds how long a dead letter may take to be stored, also after the queue's context has ended.
const settleTimeout = 10 * time.Second

func (w *worker) run(ctx context.Context) error {
	p, err := newPuller(w.server.house, w.config.Stream, consumerName)
	if err != nil {
		return err
	}
	defer p.drain()
	for ctx.Err() == nil {
		msgs, err := p.group(ctx, w.config.MaxMessages, w.config.MaxBytes)
		if err != nil {
			return err
		}
		if len(msgs) == 0 {
			continue
		}
		if err := w.settleGroup(ctx, w.take(msgs)); err != nil {
			return err
		}
	}
	return nil
}

// take makes deliveries of what came from the server.
func (w *worker) take(msgs []*nats.Msg) []*inHand {
	group := make([]*inHand, 0, len(msgs))
	for _, m := range msgs {
		meta, err := m.Metadata()
		if err != nil { // not from the queue at all
			w.log.Error("a message without metadata is left alone", "subject", m.Subject, "error", err)
			continue
		}
		h := &inHand{seq: meta.Sequence.Stream, stored: meta.Timestamp, reply: m.Reply, header: m.Header}
		h.ID, h.Attributes = Decode(m.Header)
		h.Subject, h.Body = m.Subject, m.Data
		h.Tries, h.crashed = w.hand.tries(h.seq, int(meta.NumDelivered))
		group = append(group, h)
	}
	return group
}

// settleGroup handles a group and acknowledges, gives back or buries each of its messages.
func (w *worker) settleGroup(ctx context.Context, group []*inHand) error {
	stop := w.heartbeat(group)
	defer stop()
	// What was in hand at a crash is tried alone: one of them may have caused it, and the others must not go down with it
	// again.
	var together []*inHand
	for _, m := range group {
		switch {
		case m.Tries > w.config.MaxTries:
			w.bury(ctx, m, errors.New("the last try ended without an answer: the process ended, or lost its connection"))
			w.hand.forget(m)
		case m.crashed:
			if err := w.try(ctx, []*inHand{m}); err != nil {
				return err
			}
		default:
			together = append(together, m)
		}
	}
	return w.try(ctx, together)
}

// try hands the messages to the handler and settles each by its error. Those whose surroundings are out of order, as
// events.ErrUnavailable says, stay in hand and are handed over again and again: nothing else is taken meanwhile, nothing
// is published about it, and it counts as one try.
func (w *worker) try(ctx context.Context, group []*inHand) error {
	if len(group) == 0 {
		return nil
	}
	for round := 0; ; round++ {
		err := w.hand.take(w.slot, group)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
			return fmt.Errorf("noting what is in hand: %w", err)
		}
		if ctx.Err() != nil {
			for _, m := range group {
				w.settle(ctx, m, err)
			}
			return nil
		}
		w.waiting(ctx, round, group, err)
		w.pause(ctx)
	}
	for left, round := group, 0; len(left) > 0; round++ {
		if round > 0 {
			w.pause(ctx)
		}
		var kept []*inHand
		var why error
		for i, err := range w.call(ctx, left) {
			if !errors.Is(err, events.ErrUnavailable) || ctx.Err() != nil {
				w.settle(ctx, left[i], err)
				continue
			}
			kept, why = append(kept, left[i]), cmp.Or(why, err)
		}
		if len(kept) > 0 {
			w.config.Observe(Waiting)
			w.waiting(ctx, round, kept, why)
		}
		if round > 0 && len(kept) == 0 && ctx.Err() == nil {
			w.log.With(uploads(left)).InfoContext(ctx, "going on", "after", round)
		}
		left = kept
	}
	w.hand.forget(group...)
	return w.hand.release(w.slot)
}

// waiting says why nothing goes on: once, for a disk that is full need not be filled by the log.
func (w *worker) waiting(ctx context.Context, round int, group []*inHand, err error) {
	level := slog.LevelDebug
	if round == 0 {
		level = slog.LevelWarn
	}
	w.log.With(uploads(group)).Log(ctx, level, "waiting until what is needed is there again", "messages", len(group), "round", round, "error", err)
}

// pause waits before the messages in hand are tried again.
func (w *worker) pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(w.config.Pause):
	}
}

// call calls the handler. It gives one error for each message, whatever the handler does.
func (w *worker) call(ctx context.Context, group []*inHand) (errs []error) {
	deliveries := make([]Delivery, len(group))
	for i, m := range group {
		deliveries[i] = m.Delivery
	}
	defer func() {
		if r := recover(); r != nil {
			w.log.With(uploads(group)).ErrorContext(ctx, "the handler panicked", "panic", r, "stack", string(debug.Stack()))
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

func (w *worker) settle(ctx context.Context, m *inHand, err error) {
	switch {
	case err == nil:
		w.answer(m, "+ACK")
		m.settled = true
		w.config.Observe(Done)
	case errors.Is(err, events.ErrPermanent):
		w.bury(ctx, m, err)
	case ctx.Err() != nil: // being stopped is no failure of the message: it waits for the next start
		w.hand.interrupted(m)
		w.answer(m, "-NAK")
	case m.Tries >= w.config.MaxTries:
		w.bury(ctx, m, err)
	default:
		w.retry(ctx, m, err)
	}
}

func (w *worker) retry(ctx context.Context, m *inHand, err error) {
	wait := max(w.config.Backoff(m.Tries), 0)
	var later interface{ RetryAfter() time.Duration }
	if errors.As(err, &later) {
		wait = max(wait, later.RetryAfter())
	}
	w.config.Observe(Retried)
	w.log.WarnContext(ctx, "a message failed and will be retried", "upload", m.upload(), "id", m.ID, "tries", m.Tries, "wait", wait, "error", err)
	if wait == 0 {
		w.answer(m, "-NAK")
		return
	}
	w.answer(m, fmt.Sprintf(`-NAK {"delay":%d}`, wait.Nanoseconds()))
}

// bury stores the message as a dead letter, and acknowledges it only then.
func (w *worker) bury(ctx context.Context, m *inHand, reason error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	if err := w.server.request(ctx, deadMessage(w.config.Stream, m, reason)); err != nil {
		w.retry(ctx, m, fmt.Errorf("storing it as a dead letter because of %w: %w", reason, err))
		return
	}
	w.config.Observe(Buried)
	w.log.ErrorContext(ctx, "a message is a dead letter now", "upload", m.upload(), "id", m.ID, "tries", m.Tries, "error", reason)
	w.answer(m, "+ACK")
	m.settled = true
}

func (w *worker) answer(m *inHand, what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m.answered = true
	if err := w.server.house.Publish(m.reply, []byte(what)); err != nil {
		w.log.Warn("a message could not be answered and will be delivered again", "upload", m.upload(), "id", m.ID, "error", err)
	}
}

// beat tells the server that messages are still in hand. One that was given back must not be told of: it would lose its
// backoff.
func (w *worker) beat(group []*inHand) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range group {
		if !m.answered {
			_ = w.server.house.Publish(m.reply, []byte("+WPI")) // one may be lost, there are three in AckWait
		}
	}
}

// heartbeat keeps the group in hand until it is stopped.
func (w *worker) heartbeat(group []*inHand) (stop func()) {
	done := make(chan struct{})
	var beating sync.WaitGroup
	beating.Go(func() {
		tick := time.NewTicker(w.config.AckWait / 3)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				w.beat(group)
			}
		}
	})
	return func() { close(done); beating.Wait() }
}
