package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/flavorless/flavorless/events"
)

// storeTimeout limits how long storing a dead letter may take, also after the context of the queue has ended.
const storeTimeout = 10 * time.Second

// settle acknowledges a message, returns it to the queue, or makes it a dead letter, by the error of the handler.
func (w *worker) settle(ctx context.Context, m *message, err error) {
	switch {
	case err == nil:
		w.answer(m, "+ACK")
		m.settled = true
		w.config.Observe(Done)
	case errors.Is(err, events.ErrPermanent):
		w.deadLetter(ctx, m, err)
	case ctx.Err() != nil: // a stop is not a failure of the message: it waits for the next start
		w.inflight.interrupt(m)
		w.answer(m, "-NAK")
	case m.Tries >= w.config.MaxTries:
		w.deadLetter(ctx, m, err)
	default:
		w.retry(ctx, m, err)
	}
}

func (w *worker) retry(ctx context.Context, m *message, err error) {
	wait := max(w.config.Backoff(m.Tries), 0)
	var later events.RetryAfterError
	if errors.As(err, &later) {
		wait = max(wait, later.RetryAfter())
	}
	w.config.Observe(Retried)
	w.log.WarnContext(ctx, "message will be retried",
		"upload", m.upload(), "id", m.ID, "tries", m.Tries, "wait_seconds", wait.Seconds(), "error", err)
	if wait == 0 {
		w.answer(m, "-NAK")
		return
	}
	w.answer(m, fmt.Sprintf(`-NAK {"delay":%d}`, wait.Nanoseconds()))
}

// deadLetter stores the message as a dead letter, and then acknowledges it.
func (w *worker) deadLetter(ctx context.Context, m *message, reason error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	if err := w.dead.add(ctx, w.config.Stream, m, reason); err != nil {
		w.retry(ctx, m, fmt.Errorf("storing a dead letter: %w; its reason: %w", err, reason))
		return
	}
	w.config.Observe(DeadLettered)
	w.log.ErrorContext(ctx, "message is a dead letter",
		"upload", m.upload(), "id", m.ID, "tries", m.Tries, "error", reason)
	w.answer(m, "+ACK")
	m.settled = true
}

func (w *worker) answer(m *message, ack string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m.answered = true
	if err := w.conn.Publish(m.reply, []byte(ack)); err != nil {
		w.log.Warn("message not acknowledged, it will be delivered again", "upload", m.upload(), "id", m.ID, "error", err)
	}
}

// startHeartbeat tells the server regularly that the group is still in flight, until stop is called.
func (w *worker) startHeartbeat(group []*message) (stop func()) {
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(w.config.AckWait / 3)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				w.heartbeat(group)
			}
		}
	})
	return func() { close(done); running.Wait() }
}

// heartbeat extends AckWait for the messages without an answer. It would end the backoff of a message that was returned
// to the queue.
func (w *worker) heartbeat(group []*message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range group {
		if !m.answered {
			_ = w.conn.Publish(m.reply, []byte("+WPI")) // one may be lost: there are three in AckWait
		}
	}
}
