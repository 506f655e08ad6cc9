package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"

	"github.com/flavorless/flavorless/events"
)

// serve answers the GET and HEAD requests of a route.
func (h *handler) serve(route route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !route.open {
			// What one token may read is not for the holder of another, whatever sits in between.
			w.Header().Add("Vary", "Authorization")
		}
		reply, err := h.answer(route, r)
		if err != nil {
			h.writeProblem(w, r, h.problemOf(r, err))
			return
		}
		reply.write(w, r)
	}
}

// answer lets a request through to its endpoint. A panic on the way is an error: nothing has been written yet.
func (h *handler) answer(route route, r *http.Request) (_ reply, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	var who Claims
	if !route.open {
		if who, err = h.authorize(r); err != nil {
			return reply{}, err
		}
	}
	q, err := parseQuery(r.URL.RawQuery, route.params, route.lists)
	if err != nil {
		return reply{}, err
	}
	return route.endpoint(r, q, who)
}

// authorize lets only holders of a good token pass.
func (h *handler) authorize(r *http.Request) (Claims, error) {
	authorization := ""
	switch values := r.Header["Authorization"]; len(values) {
	case 0:
	case 1:
		authorization = values[0]
	default: // which one a proxy before us looked at can't be known
		return Claims{}, &AuthError{Code: invalidRequest, Description: "there is more than one Authorization header"}
	}
	return h.Verifier.Verify(r.Context(), authorization)
}

// isUnavailable tells whether an error is of those that go away by themselves.
func isUnavailable(err error) bool {
	return errors.Is(err, ErrKeysUnavailable) || errors.Is(err, events.ErrUnavailable) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
