package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/flavorless/flavorless/events"
)

// lastEventID is the header in which a reconnecting EventSource sends the id of the last event that it received.
// https://html.spec.whatwg.org/multipage/server-sent-events.html#the-last-event-id-header
const lastEventID = "Last-Event-ID"

// changes responds with the announced changes as Server-Sent Events, until the client disconnects or its token expires.
func (h *handler) changes(r *http.Request, q query, claims Claims) (response, error) {
	if h.Changes == nil {
		return response{}, notFound("this deployment does not serve changes; subscribe to the changes topic instead")
	}
	from, err := parseStart(r, q)
	if err != nil {
		return response{}, err
	}
	filter, err := parseFilter(q)
	if err != nil {
		return response{}, err
	}
	if r.Method == http.MethodHead {
		return response{stream: func(w http.ResponseWriter, _ *http.Request) { beginEvents(w) }}, nil
	}
	select {
	case h.followers <- struct{}{}:
	default:
		return response{}, unavailable("too many clients are following changes; try again later")
	}
	ctx, stop := context.WithCancelCause(r.Context())
	release := func() { stop(nil); <-h.followers }
	opened := false
	defer func() {
		if !opened { // Changes failed or panicked
			release()
		}
	}()
	position, log, err := h.Changes.Changes(ctx, from)
	if errors.Is(err, events.ErrOutOfRetention) {
		return response{}, newProblem(http.StatusGone, "these changes are no longer stored; "+
			"read GET /team, then follow new changes without "+lastEventID+" and since")
	}
	if err != nil {
		return response{}, fmt.Errorf("following the changes: %w", err)
	}
	opened = true
	return response{stream: func(w http.ResponseWriter, _ *http.Request) {
		defer release()
		if !claims.Expires.IsZero() { // the client must reconnect with a new token
			defer time.AfterFunc(claims.Expires.Sub(h.Clock()), func() { stop(errExpired) }).Stop()
		}
		out := &eventWriter{w: w, control: http.NewResponseController(w), position: position}
		cause := out.follow(ctx, stop, h.Heartbeat, log, filter)
		h.Logger.DebugContext(ctx, "follower of changes disconnected", "cause", cause)
	}}, nil
}

var errExpired = errors.New("the token has expired")

// parseStart returns where the stream begins. Last-Event-ID takes precedence over since, which a reconnecting
// EventSource still sends in its URL.
func parseStart(r *http.Request, q query) (from events.Start, err error) {
	if id := r.Header.Get(lastEventID); id != "" {
		from.After, err = strconv.ParseUint(id, 10, 63)
		if err != nil {
			return from, badRequest(lastEventID + " must be the id of an event of this stream")
		}
		from.Beginning = from.After == 0
		return from, nil
	}
	if _, given := q["since"]; given {
		if from.Since, err = time.Parse(time.RFC3339, q.get("since")); err != nil {
			return from, badRequest("since must be a time such as 2026-11-23T08:19:00Z (RFC 3339)")
		}
	}
	return from, nil
}

// maxFilterNames is how many people, and how many flavors, a filter may have.
const maxFilterNames = 100

func parseFilter(q query) (filter events.Filter, err error) {
	if filter.Persons, err = parseNames(q, "person"); err != nil {
		return filter, err
	}
	if filter.Flavors, err = parseNames(q, "flavor"); err != nil {
		return filter, err
	}
	for _, kind := range q["kind"] {
		switch k := events.Kind(kind); k {
		case events.Created, events.Changed, events.Removed:
			filter.Kinds = append(filter.Kinds, k)
		default:
			return filter, badRequest("kind must be created, changed or removed")
		}
	}
	return filter, nil
}

func parseNames(q query, field string) (names []string, err error) {
	if len(q[field]) > maxFilterNames {
		return nil, badRequest(fmt.Sprintf("%s can be given at most %d times; to select more, filter all changes yourself",
			field, maxFilterNames))
	}
	for _, name := range q[field] {
		if name, err = cleanName(name, field); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}
