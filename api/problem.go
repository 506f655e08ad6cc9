package api

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"

	"github.com/flavorless/flavorless/events"
)

// problem is an error response in the format of RFC 9457. Its type is always about:blank, which means that the status
// says what went wrong. The detail says what to do about it.
type problem struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail"`
	Instance string `json:"instance,omitempty"` // with 5xx: has the id of the log entry

	headerName, headerValue string // one more header; may be empty
}

// Error implements error, so that endpoints can return problems.
func (p *problem) Error() string { return p.Detail }

func newProblem(status int, detail string) *problem {
	return &problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail}
}

// with sets the one header that a problem may have besides the usual ones.
func (p *problem) with(name, value string) *problem {
	p.headerName, p.headerValue = name, value
	return p
}

func badRequest(detail string) *problem { return newProblem(http.StatusBadRequest, detail) }

func notFound(detail string) *problem { return newProblem(http.StatusNotFound, detail) }

func noSuchRoute() *problem {
	return notFound("there is no such route; see GET /openapi.json for all routes")
}

func methodNotAllowed() *problem {
	return newProblem(http.StatusMethodNotAllowed, "this route is read-only; use GET or HEAD").with("Allow", allow)
}

// retryAfter is the Retry-After header of responses with status 503, in seconds.
const retryAfter = 5

func unavailable(detail string) *problem {
	return newProblem(http.StatusServiceUnavailable, detail).with("Retry-After", strconv.Itoa(retryAfter))
}

// isUnavailable reports whether the same request may succeed later.
func isUnavailable(err error) bool {
	return errors.Is(err, ErrKeysUnavailable) || errors.Is(err, events.ErrUnavailable) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// problemOf maps an error to the response. It logs what the client must not see.
func (h *handler) problemOf(r *http.Request, err error) *problem {
	if p := new(problem); errors.As(err, &p) {
		return p
	}
	if auth := new(AuthError); errors.As(err, &auth) {
		// Log the route, not the path, which may contain a person's name.
		h.Logger.InfoContext(r.Context(), "request refused", "route", r.Pattern, "reason", err)
		return newProblem(auth.Status(), auth.Description).with("WWW-Authenticate", auth.Challenge())
	}
	level := slog.LevelError
	p := newProblem(http.StatusInternalServerError, "an internal error occurred; report it with the instance")
	if isUnavailable(err) {
		level = slog.LevelWarn
		p = unavailable("the service is temporarily unavailable; try again")
	}
	if r.Context().Err() != nil { // the client has disconnected, which may have caused the error
		level = slog.LevelDebug
	}
	id := rand.Text()
	p.Instance = "urn:flavorless:request:" + id
	h.Logger.Log(r.Context(), level, "request failed", "request", id, "method", r.Method, "route", r.Pattern, "error", err)
	return p
}

func (h *handler) writeProblem(w http.ResponseWriter, r *http.Request, p *problem) {
	body, err := json.Marshal(p)
	if err != nil { // can't happen: all members are plain
		h.Logger.ErrorContext(r.Context(), "problem not encoded", "error", err)
	}
	body = append(body, '\n')
	header := w.Header()
	header.Set("Content-Type", "application/problem+json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("Cache-Control", noStore)
	if p.headerName != "" {
		header.Set(p.headerName, p.headerValue)
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // the client may have disconnected
}
