package queue

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
)

// Headers of a dead letter, beside those of the message.
const (
	headerQueue   = "Flavorless-Queue"
	headerSubject = "Flavorless-Subject"
	headerError   = "Flavorless-Error"
	headerTries   = "Flavorless-Tries"
	headerFirst   = "Flavorless-First"
	headerLast    = "Flavorless-Last"
)

// maxReason is the longest text of an error that a dead letter has, in bytes.
const maxReason = 2048

// DeadLetter is a message that still failed after all retries, or failed permanently.
type DeadLetter struct {
	Number uint64 // identifies it for Redrive
	Queue  broker.Stream
	Reason string    // error of the last try
	First  time.Time // when the message was published
	Last   time.Time // when it became a dead letter
	Delivery
}

// DeadQueue is the dead-letter queue of all work queues, the stream DEAD.
type DeadQueue struct {
	broker *broker.Server
	log    *slog.Logger
}

// NewDeadQueue returns the dead-letter queue of b.
func NewDeadQueue(b *broker.Server, log *slog.Logger) *DeadQueue {
	return &DeadQueue{broker: b, log: log}
}

func (d *DeadQueue) stream(ctx context.Context) (jetstream.Stream, error) {
	return d.broker.JetStream().Stream(ctx, string(broker.Dead))
}

// add stores a message as a dead letter.
func (d *DeadQueue) add(ctx context.Context, queue broker.Stream, m *message, reason error) error {
	header := broker.PublishedHeader(m.header)
	header.Set(headerQueue, string(queue))
	header.Set(headerSubject, m.Subject)
	header.Set(headerError, headerText(reason.Error()))
	header.Set(headerTries, strconv.Itoa(m.Tries))
	header.Set(headerFirst, events.FormatTime(m.stored))
	header.Set(headerLast, events.FormatTime(time.Now()))
	return d.broker.Store(ctx, &nats.Msg{Subject: queue.DeadSubject(), Header: header, Data: m.Body})
}

// headerText returns text as the value of a header: one line of UTF-8, at most maxReason bytes.
func headerText(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "")), " ")
	return strings.TrimSpace(strings.ToValidUTF8(s[:min(len(s), maxReason)], ""))
}

// count returns the number of dead letters by subject.
func (d *DeadQueue) count(ctx context.Context) (map[string]uint64, error) {
	stream, err := d.stream(ctx)
	var info *jetstream.StreamInfo
	if err == nil {
		info, err = stream.Info(ctx, jetstream.WithSubjectFilter(">"))
	}
	if err != nil {
		return nil, fmt.Errorf("counting dead letters: %w", err)
	}
	return info.State.Subjects, nil
}

// DeadLetters yields the dead letters of all queues, oldest first, without those that are added while it runs.
func (d *DeadQueue) DeadLetters(ctx context.Context) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		stream, err := d.stream(ctx)
		if err != nil {
			yield(DeadLetter{}, fmt.Errorf("reading dead letters: %w", err))
			return
		}
		for m, err := range stored(ctx, stream, stream.CachedInfo().State.LastSeq) {
			if err != nil {
				yield(DeadLetter{}, fmt.Errorf("reading dead letters: %w", err))
				return
			}
			if !yield(parseDeadLetter(m), nil) {
				return
			}
		}
	}
}

// parseDeadLetter returns the dead letter that a message holds. Headers that are missing or invalid, because add did
// not write them, give zero values.
func parseDeadLetter(m *jetstream.RawStreamMsg) DeadLetter {
	d := DeadLetter{Number: m.Sequence, Queue: broker.Stream(m.Header.Get(headerQueue)), Reason: m.Header.Get(headerError)}
	d.ID, d.Attributes = broker.Decode(m.Header)
	d.Subject, d.Body = m.Header.Get(headerSubject), m.Data
	d.Tries, _ = strconv.Atoi(m.Header.Get(headerTries))
	d.First, _ = time.Parse(time.RFC3339, m.Header.Get(headerFirst))
	d.Last, _ = time.Parse(time.RFC3339, m.Header.Get(headerLast))
	return d
}

// Redrive moves a dead letter back to its queue, where it has all its tries again. If there is no dead letter of that
// number, the error wraps [events.ErrNotFound].
func (d *DeadQueue) Redrive(ctx context.Context, number uint64) error {
	if err := d.redrive(ctx, number); err != nil {
		return fmt.Errorf("redriving dead letter %d: %w", number, err)
	}
	return nil
}

func (d *DeadQueue) redrive(ctx context.Context, number uint64) error {
	stream, err := d.stream(ctx)
	if err != nil {
		return err
	}
	m, err := stream.GetMsg(ctx, number)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return events.ErrNotFound
	}
	if err != nil {
		return err
	}
	letter := parseDeadLetter(m)
	if letter.Subject == "" || !letter.Queue.Accepts(letter.Subject) {
		return fmt.Errorf("%q is not a subject of queue %q: %w", letter.Subject, letter.Queue, events.ErrPermanent)
	}
	if err := move(ctx, d.broker, stream, m, letter.Subject); err != nil {
		return err
	}
	d.log.InfoContext(ctx, "dead letter redriven", "upload", letter.Attributes["upload"], "queue", string(letter.Queue),
		"id", letter.ID, "tries", letter.Tries, "reason", letter.Reason)
	return nil
}
