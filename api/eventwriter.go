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

// reconnectDelay is how long an EventSource must wait before it reconnects, in milliseconds.
const reconnectDelay = 2000

func beginEvents(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", noStore)
	w.Header().Set("X-Accel-Buffering", "no") // nginx would buffer events until it has a few KB of them
	w.WriteHeader(http.StatusOK)
}

// writeTimeout limits the time of writing one event. A slower follower is disconnected.
const writeTimeout = 30 * time.Second

// eventWriter writes Server-Sent Events.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController

	mu       sync.Mutex
	buf      []byte
	position uint64 // of the last change in the log that was sent or filtered out
}

// follow sends the changes in log that match the filter, until ctx ends. It calls stop if anything else ends the
// stream, and returns the cause.
//
// It sends the position at the beginning and at each heartbeat, for three reasons: a follower that reconnects before
// its first change misses none, a follower whose filter seldom matches resumes at a recent position, and both sides
// notice a dead connection.
func (e *eventWriter) follow(
	ctx context.Context, stop context.CancelCauseFunc, heartbeat time.Duration,
	log iter.Seq2[events.LoggedChange, error], filter events.Filter,
) error {
	// The server's read deadline is meant for short requests. A writer that has no deadlines does not need this.
	_ = e.control.SetReadDeadline(time.Time{})
	beginEvents(e.w)
	begin := func(b []byte) []byte { return e.appendPosition(fmt.Appendf(b, "retry: %d\n", reconnectDelay)) }
	if err := e.send(begin); err != nil {
		return err
	}
	var heartbeats sync.WaitGroup
	heartbeats.Go(func() {
		if err := e.sendHeartbeats(ctx, heartbeat); err != nil {
			stop(err)
		}
	})
	for change, err := range log {
		if err == nil && ctx.Err() == nil {
			err = e.sendMatch(change, filter)
		}
		if err != nil {
			stop(err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	stop(errLogEnded)
	heartbeats.Wait() // a handler must not write after it has returned
	return context.Cause(ctx)
}

var errLogEnded = errors.New("the log has ended")

// sendMatch sends a change if it matches the filter, and otherwise only advances the position.
func (e *eventWriter) sendMatch(c events.LoggedChange, filter events.Filter) error {
	if filter.MatchesMessage(c.Message) {
		return e.sendChange(c)
	}
	e.mu.Lock()
	e.position = c.Sequence
	e.mu.Unlock()
	return nil
}

func (e *eventWriter) sendChange(c events.LoggedChange) error {
	return e.send(func(b []byte) []byte {
		e.position = c.Sequence
		b = append(strconv.AppendUint(append(b, "id: "...), c.Sequence, 10), "\ndata: "...)
		return append(append(b, c.Body...), "\n\n"...) // the body is JSON on one line
	})
}

// appendPosition appends an event with the position. Browsers would accept an id in an event without data, but other
// clients ignore it (such as eventsource-parser of npm). Because of the event type, handlers of messages, which expect
// changes, are not called.
func (e *eventWriter) appendPosition(b []byte) []byte {
	b = strconv.AppendUint(append(b, "event: position\nid: "...), e.position, 10)
	return append(b, "\ndata:\n\n"...)
}

// sendHeartbeats sends the position at each interval until ctx ends.
func (e *eventWriter) sendHeartbeats(ctx context.Context, interval time.Duration) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := e.send(e.appendPosition); err != nil {
			return err
		}
	}
}

// send writes what encode appends to its argument, and flushes.
func (e *eventWriter) send(encode func([]byte) []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.buf = encode(e.buf[:0])
	err := e.control.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := e.w.Write(e.buf); err != nil {
		return err
	}
	return e.control.Flush()
}
