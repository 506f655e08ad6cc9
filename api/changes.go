package api

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/flavorless/flavorless/events"
)

// lastEventID is the header in which an EventSource that comes back says how far it had come.
// https://html.spec.whatwg.org/multipage/server-sent-events.html#the-last-event-id-header
const lastEventID = "Last-Event-ID"

// comeBack tells an EventSource how long to wait before it connects again, in milliseconds.
const comeBack = 2000

// changes answers with the changes that are announced, as Server-Sent Events, for as long as the client and its token
// last.
func (h *handler) changes(r *http.Request, q query, who Claims) (reply, error) {
	if h.Changes == nil {
		return reply{}, notFound("changes can't be followed here; subscribe to the changes topic instead")
	}
	from, err := startOf(r, q)
	if err != nil {
		return reply{}, err
	}
	filter, err := filterOf(q)
	if err != nil {
		return reply{}, err
	}
	if r.Method == http.MethodHead {
		return reply{stream: func(w http.ResponseWriter, _ *http.Request) { beginEvents(w) }}, nil
	}
	select {
	case h.followers <- struct{}{}:
	default:
		return reply{}, newProblem(http.StatusServiceUnavailable, "as many clients follow the changes as may at the same time; come back later").
			with("Retry-After", strconv.Itoa(retryAfter))
	}
	ctx, stop := context.WithCancelCause(r.Context())
	done := func() { stop(nil); <-h.followers }
	position, log, err := h.openLog(ctx, from)
	if err != nil {
		done()
		return reply{}, err
	}
	return reply{stream: func(w http.ResponseWriter, _ *http.Request) {
		defer done()
		if !who.Expires.IsZero() { // whoever comes back then has to have another token
			defer time.AfterFunc(who.Expires.Sub(h.Clock()), func() { stop(errExpired) }).Stop()
		}
		out := &eventWriter{w: w, control: http.NewResponseController(w), patience: h.WriteTimeout, passed: position}
		cause := out.follow(ctx, stop, h.Heartbeat, log, filter)
		h.Logger.DebugContext(ctx, "a follower of the changes has gone", "why", cause)
	}}, nil
}

var errExpired = errors.New("the token has expired")

// openLog makes a panic on the way an error, so that the follower's place is given back.
func (h *handler) openLog(ctx context.Context, from events.Start) (position uint64, log iter.Seq2[events.LoggedChange, error], err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	position, log, err = h.Changes.Changes(ctx, from)
	if errors.Is(err, events.ErrOutOfRetention) {
		return 0, nil, newProblem(http.StatusGone, "the changes since then are not kept; read GET /team, and follow from now on, without "+lastEventID+" and since")
	}
	if err != nil {
		return 0, nil, fmt.Errorf("following the changes: %w", err)
	}
	return position, log, nil
}

// startOf reads where to begin. What a client that comes back says wins over what its URL still has.
func startOf(r *http.Request, q query) (from events.Start, err error) {
	if id := r.Header.Get(lastEventID); id != "" {
		from.After, err = strconv.ParseUint(id, 10, 63)
		if err != nil {
			return from, badRequest(lastEventID + " is not the id of an event of this stream")
		}
		from.Beginning = from.After == 0
		return from, nil
	}
	if _, given := q["since"]; given {
		if from.Since, err = time.Parse(time.RFC3339, q.get("since")); err != nil {
			return from, badRequest("since is not a time such as 2026-11-23T08:19:00Z (RFC 3339)")
		}
	}
	return from, nil
}

// mostNames is how many people or flavors a follower may choose by.
const mostNames = 100

func filterOf(q query) (filter events.Filter, err error) {
	clean := func(field string) (names []string) {
		if len(q[field]) > mostNames {
			err = badRequest(fmt.Sprintf("%s may be given %d times; to choose by more, choose from all changes yourself", field, mostNames))
			return nil
		}
		for _, name := range q[field] {
			name, bad := cleanPerson(name, field)
			if bad != nil && err == nil {
				err = bad
			}
			names = append(names, name)
		}
		return names
	}
	filter.Persons, filter.Flavors = clean("person"), clean("flavor")
	for _, kind := range q["kind"] {
		switch k := events.Kind(kind); k {
		case events.Created, events.Changed, events.Removed:
			filter.Kinds = append(filter.Kinds, k)
		default:
			return filter, badRequest("kind can be created, changed or removed")
		}
	}
	return filter, err
}

func beginEvents(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", noStore)
	w.Header().Set("X-Accel-Buffering", "no") // nginx would keep events until it has a few KB of them
	w.WriteHeader(http.StatusOK)
}

// eventWriter writes events, each within the follower's patience.
type eventWriter struct {
	w        http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration

	mu     sync.Mutex
	buf    []byte
	passed uint64 // position in the log
}

// follow writes what the log gives and the filter takes, until ctx ends; whatever else ends it calls stop. At the
// beginning and between events the follower is sent its position. So a follower that has had no change yet misses
// nothing when it comes back, one that asked for rare changes need not begin far behind, and both sides notice when
// the other has gone.
func (e *eventWriter) follow(ctx context.Context, stop context.CancelCauseFunc, heartbeat time.Duration, log iter.Seq2[events.LoggedChange, error], filter events.Filter) error {
	// The server's limit is for requests that are answered at once. Where there is none, none need be lifted.
	_ = e.control.SetReadDeadline(time.Time{})
	beginEvents(e.w)
	if err := e.send(func(b []byte) []byte { return e.position(fmt.Appendf(b, "retry: %d\n", comeBack)) }); err != nil {
		return err
	}
	var beating sync.WaitGroup
	beating.Go(func() {
		if err := e.beat(ctx, heartbeat); err != nil {
			stop(err)
		}
	})
	for a, err := range log {
		if err == nil && ctx.Err() == nil {
			err = e.take(a, filter)
		}
		if err != nil {
			stop(err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	stop(errLogEnded)
	beating.Wait() // nothing may be written once the handler has returned
	return context.Cause(ctx)
}

var errLogEnded = errors.New("the log has ended")

// take writes what the filter takes, and else notes that the follower need not be told of what came before.
func (e *eventWriter) take(a events.LoggedChange, filter events.Filter) error {
	if filter.MatchesMessage(a.Message) {
		return e.event(a)
	}
	e.mu.Lock()
	e.passed = a.Sequence
	e.mu.Unlock()
	return nil
}

func (e *eventWriter) event(a events.LoggedChange) error {
	return e.send(func(b []byte) []byte {
		e.passed = a.Sequence
		b = append(strconv.AppendUint(append(b, "id: "...), a.Sequence, 10), "\ndata: "...)
		return append(append(b, a.Body...), "\n\n"...) // JSON of ours, on one line
	})
}

// position appends an event that tells the follower its position. A block without data would do for browsers, but other
// clients take no id from it (eventsource-parser of npm, for example). The type keeps the event away from handlers of
// messages, which are changes.
func (e *eventWriter) position(b []byte) []byte {
	b = strconv.AppendUint(append(b, "event: position\nid: "...), e.passed, 10)
	return append(b, "\ndata:\n\n"...)
}

// beat sends the position at intervals.
func (e *eventWriter) beat(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := e.send(e.position); err != nil {
			return err
		}
	}
}

func (e *eventWriter) send(encode func([]byte) []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.buf = encode(e.buf[:0])
	if err := e.control.SetWriteDeadline(time.Now().Add(e.patience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := e.w.Write(e.buf); err != nil {
		return err
	}
	return e.control.Flush()
}
