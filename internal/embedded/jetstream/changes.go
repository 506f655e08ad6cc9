package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/events"
)

// What is fetched from CHANGES at once for one reader, and for how many readers at the same time. Together they stay far
// below maxPending, beyond which the server closes the connection that all readers share.
const (
	fetchMessages = 64
	fetchBytes    = 64 << 10 // after which the server stops
	maxFetches    = 32
	fetchTimeout  = 10 * time.Second // after which an answer is taken to be lost
)

// Changes returns what CHANGES has from a start on, and then what comes, until ctx ends; an error ends it, too. It also
// returns the position behind which the first of them comes. It fails with events.ErrForgotten if changes since the start have
// been dropped, or if there never was such a position. It takes nothing from the server between two fetches: a slow reader
// holds up nobody, and any number of them need no consumers.
//
// Messages that are not changes, which earlier releases could be made to store, are left out.
func (s *Server) Changes(ctx context.Context, from events.Start) (uint64, iter.Seq2[events.Announced, error], error) {
	stream, err := s.js.Stream(ctx, string(Changes))
	if err != nil {
		return 0, nil, fmt.Errorf("reading the log of changes: %w", err)
	}
	state := stream.CachedInfo().State
	r := &changeReader{server: s, next: state.LastSeq + 1}
	switch {
	case from.HasPosition():
		if from.After > state.LastSeq || from.After+1 < state.FirstSeq {
			return 0, nil, fmt.Errorf("position %d of %d to %d: %w", from.After, state.FirstSeq, state.LastSeq, events.ErrOutOfRetention)
		}
		r.next = from.After + 1
	case !from.Since.IsZero():
		if state.FirstSeq > 1 && from.Since.Before(state.FirstTime) {
			return 0, nil, fmt.Errorf("the log begins at %s: %w", events.FormatTime(state.FirstTime), events.ErrOutOfRetention)
		}
	}
	r.inbox = nats.NewInbox() + "."
	if r.sub, err = s.readers.SubscribeSync(r.inbox + "*"); err != nil {
		return 0, nil, fmt.Errorf("reading the log of changes: %w", err)
	}
	if !from.Since.IsZero() && !from.HasPosition() {
		if err := r.seek(ctx, from.Since); err != nil {
			_ = r.sub.Unsubscribe()
			return 0, nil, fmt.Errorf("reading the log of changes: %w", err)
		}
	}
	return r.next - 1, func(yield func(events.Announced, error) bool) {
		defer func() { _ = r.sub.Unsubscribe() }()
		for {
			more, err := r.read(ctx, yield)
			if ctx.Err() != nil || err == nil && !more {
				return
			}
			if err != nil {
				yield(events.Announced{}, fmt.Errorf("reading the log of changes: %w", err))
				return
			}
		}
	}, nil
}

// changeReader reads CHANGES for one reader.
type changeReader struct {
	server *Server
	sub    *nats.Subscription
	inbox  string // prefix of the subjects of sub; the number of the request follows
	asked  int    // requests
	next   uint64 // sequence number of the next message
}

// seek goes to the first message of that time or later. If there is none yet, the reader stays where it is, at the end.
func (r *changeReader) seek(ctx context.Context, since time.Time) error {
	msgs, err := r.fetch(ctx, fetchRequest{Since: &since, Batch: 1})
	if err != nil || len(msgs) == 0 {
		return err
	}
	r.next, err = sequenceOf(msgs[0])
	return err
}

func sequenceOf(m *nats.Msg) (uint64, error) {
	sequence, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("a message has no sequence number: %w", err)
	}
	return sequence, nil
}

// read yields what there is, after waiting until there is something. More reports whether yield wants to go on.
func (r *changeReader) read(ctx context.Context, yield func(events.Announced, error) bool) (more bool, err error) {
	recent, err := r.server.recent.wait(ctx, r.next)
	if err != nil {
		return false, err
	}
	for _, a := range recent {
		if r.next++; !yield(a, nil) {
			return false, nil
		}
	}
	if len(recent) > 0 {
		return true, nil
	}
	msgs, err := r.fetch(ctx, fetchRequest{Sequence: r.next, Batch: fetchMessages, MaxBytes: fetchBytes})
	if err == nil && len(msgs) == 0 {
		err = r.stillThere(ctx)
	}
	if err != nil {
		return false, err
	}
	for _, m := range msgs {
		sequence, err := sequenceOf(m)
		if err != nil {
			return false, err
		}
		if sequence != r.next { // read too slowly
			return false, fmt.Errorf("after position %d comes %d: %w", r.next-1, sequence, events.ErrOutOfRetention)
		}
		r.next++
		a := events.Announced{Sequence: sequence, Message: events.Message{Subject: m.Header.Get(jetstream.SubjectHeader), Body: m.Data}}
		a.ID, a.Attributes = decode(m.Header)
		if isChange(a.Message) && !yield(a, nil) {
			return false, nil
		}
	}
	return true, nil
}

// stillThere fails with events.ErrForgotten if the next message has been dropped before it was read.
func (r *changeReader) stillThere(ctx context.Context) error {
	stream, err := r.server.js.Stream(ctx, string(Changes))
	if err != nil {
		return err
	}
	if first := stream.CachedInfo().State.FirstSeq; r.next < first {
		return fmt.Errorf("after position %d comes %d: %w", r.next-1, first, events.ErrOutOfRetention)
	}
	return nil
}

// fetchRequest asks for messages from a sequence number or a time on.
// https://docs.nats.io/reference/reference-protocols/nats_api_reference
type fetchRequest struct {
	Sequence uint64     `json:"seq,omitempty"`
	Since    *time.Time `json:"start_time,omitempty"`
	Batch    int        `json:"batch"`
	MaxBytes int        `json:"max_bytes,omitempty"`
}

// fetch sends a request and collects the answer. It is empty if there are no such messages yet.
func (r *changeReader) fetch(ctx context.Context, request fetchRequest) (msgs []*nats.Msg, err error) {
	select {
	case r.server.fetches <- struct{}{}:
		defer func() { <-r.server.fetches }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	for {
		msgs, err = r.ask(ctx, body)
		if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return msgs, err
		}
	}
}

// ask fails with context.DeadlineExceeded when no answer comes, as when the connection was lost.
func (r *changeReader) ask(ctx context.Context, body []byte) (msgs []*nats.Msg, err error) {
	r.asked++
	reply := r.inbox + strconv.Itoa(r.asked)
	if err := r.server.readers.PublishRequest("$JS.API.DIRECT.GET."+string(Changes), reply, body); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	for {
		m, err := r.sub.NextMsgWithContext(ctx)
		switch {
		case err != nil:
			return nil, err
		case m.Subject != reply: // the answer to an earlier request came after all
		case m.Header.Get(jetstream.SequenceHeader) == "": // the end of the answer, or that there is nothing
			return msgs, nil
		default:
			msgs = append(msgs, m)
		}
	}
}

// isChange reports whether a stored message is a change as it was announced: with an id, and on the subject that its own
// attributes say.
func isChange(m events.Message) bool {
	return m.ID != "" && len(m.Body) > 0 && m.Subject == events.ChangeType+"."+m.Attributes["kind"]
}

// How many of the changes that were announced last are kept in memory, and how many bytes of them. Readers that keep up read
// nothing else.
const (
	maxRecent      = 1024
	maxRecentBytes = 1 << 20
)

// recent holds the end of CHANGES.
type recent struct {
	mu      sync.Mutex
	last    uint64             // sequence number of the last message
	changes []events.Announced // without a gap, up to last; may be empty
	bytes   int                // of them
	moved   chan struct{}      // closed when last grows
}

func newRecent(last uint64) *recent { return &recent{last: last, moved: make(chan struct{})} }

// add notes that a message is stored. If m is nil, its content is not known.
func (p *recent) add(sequence uint64, m *events.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if sequence <= p.last {
		return
	}
	if m == nil || sequence != p.last+1 {
		p.changes, p.bytes = nil, 0
	}
	p.last = sequence
	if m != nil {
		p.changes, p.bytes = append(p.changes, events.Announced{Sequence: sequence, Message: *m}), p.bytes+m.Size()
	}
	for len(p.changes) > maxRecent || p.bytes > maxRecentBytes {
		p.bytes -= p.changes[0].Size()
		p.changes[0] = events.Announced{} // for the garbage collector
		p.changes = p.changes[1:]
	}
	close(p.moved)
	p.moved = make(chan struct{})
}

// wait returns when the message of that sequence number is stored, or with an error when ctx ends. It returns the changes
// from there on, a few at a time, if they are in memory.
func (p *recent) wait(ctx context.Context, sequence uint64) ([]events.Announced, error) {
	for {
		p.mu.Lock()
		last, moved := p.last, p.moved
		var found []events.Announced
		if first := last + 1 - uint64(len(p.changes)); sequence >= first && sequence <= last {
			found = p.changes[sequence-first:]
			found = slices.Clone(found[:min(len(found), fetchMessages)])
		}
		p.mu.Unlock()
		if last >= sequence {
			return found, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), ctx.Err())
		}
	}
}
