package jetstream

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/events"
)

// Headers of a dead letter, beside those that the message had.
const (
	headerQueue   = "Flavorless-Queue"
	headerSubject = "Flavorless-Subject"
	headerError   = "Flavorless-Error"
	headerTries   = "Flavorless-Tries"
	headerFirst   = "Flavorless-First"
	headerLast    = "Flavorless-Last"
)

// maxReason is how much of an error's text a dead letter keeps, in bytes.
const maxReason = 2048

// DeadLetter is a message that could not be processed.
type DeadLetter struct {
	Number uint64 // names it for Redrive
	Queue  Stream
	Reason string    // why its last try failed
	First  time.Time // when it was published
	Last   time.Time // when it was given up
	Delivery
}

func deadMessage(queue Stream, m *inHand, reason error) *nats.Msg {
	header := make(nats.Header, len(m.header)+6)
	for name, values := range m.header {
		if !strings.HasPrefix(strings.ToLower(name), "nats-") { // of the server
			header[name] = values
		}
	}
	header.Set(headerQueue, string(queue))
	header.Set(headerSubject, m.Subject)
	header.Set(headerError, headerText(reason.Error()))
	header.Set(headerTries, strconv.Itoa(m.Tries))
	header.Set(headerFirst, events.FormatTime(m.stored))
	header.Set(headerLast, events.FormatTime(time.Now()))
	return &nats.Msg{Subject: queue.deadSubject(), Header: header, Data: m.Body}
}

// headerText makes a header value of any text: one line, bounded.
func headerText(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "")), " ")
	return strings.TrimSpace(strings.ToValidUTF8(s[:min(len(s), maxReason)], ""))
}

// DeadLetters gives the dead letters of all queues, oldest first. Those that come while it runs are not among them.
func (s *Server) DeadLetters(ctx context.Context) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		fail := func(err error) { yield(DeadLetter{}, fmt.Errorf("reading dead letters: %w", err)) }
		stream, err := s.js.Stream(ctx, string(Dead))
		if err != nil {
			fail(err)
			return
		}
		last := stream.CachedInfo().State.LastSeq
		for seq := stream.CachedInfo().State.FirstSeq; seq <= last; seq++ {
			m, err := stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(deadPrefix+">"))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return
			}
			if err != nil {
				fail(err)
				return
			}
			if seq = m.Sequence; seq > last || !yield(parseDead(m), nil) {
				return
			}
		}
	}
}

func parseDead(m *jetstream.RawStreamMsg) DeadLetter {
	d := DeadLetter{Number: m.Sequence, Queue: Stream(m.Header.Get(headerQueue)), Reason: m.Header.Get(headerError)}
	d.ID, d.Attributes = Decode(m.Header)
	d.Subject, d.Body = m.Header.Get(headerSubject), m.Data
	// Written by deadMessage; should somebody have put a message there by hand, the zero values say so.
	d.Tries, _ = strconv.Atoi(m.Header.Get(headerTries))
	d.First, _ = time.Parse(time.RFC3339, m.Header.Get(headerFirst))
	d.Last, _ = time.Parse(time.RFC3339, m.Header.Get(headerLast))
	return d
}

// Redrive puts a dead letter back into its queue, where it has all its tries again. It is put back first and deleted
// then, so that a crash between the two repeats it rather than loses it. A number that is not there (any more) gives
// events.ErrNotFound.
func (s *Server) Redrive(ctx context.Context, number uint64) error {
	stream, err := s.js.Stream(ctx, string(Dead))
	if err != nil {
		return fmt.Errorf("redriving dead letter %d: %w", number, err)
	}
	m, err := stream.GetMsg(ctx, number)
	if err != nil {
		return fmt.Errorf("redriving dead letter %d: %w", number, notFound(err))
	}
	subject := m.Header.Get(headerSubject)
	if q := Stream(m.Header.Get(headerQueue)); subject == "" || !q.takes(subject) {
		return fmt.Errorf("redriving dead letter %d: %q is not a subject of queue %q: %w", number, subject, q, events.ErrPermanent)
	}
	if err := s.request(ctx, &nats.Msg{Subject: subject, Header: ownHeader(m.Header), Data: m.Data}); err != nil {
		return fmt.Errorf("redriving dead letter %d: %w", number, err)
	}
	if err := stream.DeleteMsg(ctx, number); err != nil && !errors.Is(notFound(err), events.ErrNotFound) {
		return fmt.Errorf("redriving dead letter %d: it is back in its queue, but can't be deleted: %w", number, err)
	}
	d := parseDead(m)
	s.log.InfoContext(ctx, "put back", "upload", d.Attributes["upload"], "queue", string(d.Queue), "id", d.ID, "tries", d.Tries, "reason", d.Reason)
	return nil
}

// RedriveAll redrives what is dead now, and returns how many that were. What fails again meanwhile stays for the next
// time.
func (s *Server) RedriveAll(ctx context.Context) (int, error) {
	n := 0
	var failed error
	for d, err := range s.DeadLetters(ctx) {
		if err != nil {
			return n, errors.Join(failed, err)
		}
		err := s.Redrive(ctx, d.Number)
		switch {
		case err == nil:
			n++
		case errors.Is(err, events.ErrNotFound): // somebody else was faster
		default:
			failed = errors.Join(failed, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return n, failed
}

func notFound(err error) error {
	const noMessageFound = 10037
	var api *jetstream.APIError
	if errors.Is(err, jetstream.ErrMsgNotFound) || errors.As(err, &api) && api.ErrorCode == noMessageFound {
		return events.ErrNotFound
	}
	return err
}
