package api

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"
)

// problem is an error answer, as RFC 9457 has it. Its type is about:blank: the status says what happened, the detail
// what to do about it.
type problem struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail"`
	Instance string `json:"instance,omitempty"` // with 5xx: by this the entry in the log is found

	name, value string // of one more header
}

// Error makes a problem an error, for endpoints to return.
func (p *problem) Error() string { return p.Detail }

func newProblem(status int, detail string) *problem {
	return &problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail}
}

// with adds the one header that a problem may have beside the usual ones.
func (p *problem) with(name, value string) *problem {
	p.name, p.value = name, value
	return p
}

func badRequest(detail string) *problem { return newProblem(http.StatusBadRequest, detail) }

func notFound(detail string) *problem { return newProblem(http.StatusNotFound, detail) }

func noSuchRoute() *problem {
	return notFound("there is no such route; GET /openapi.json describes those there are")
}

func methodNotAllowed() *problem {
	return newProblem(http.StatusMethodNotAllowed, "this route is for reading; use GET or HEAD").with("Allow", allow)
}

// retryAfter is when to come again after a 503, in seconds.
const retryAfter = 5

// problemOf is where errors become answers. What an answer does not say is logged, and never said.
func (h *handler) problemOf(r *http.Request, err error) *problem {
	if p := new(problem); errors.As(err, &p) {
		return p
	}
	if refusal := new(AuthError); errors.As(err, &refusal) {
		// The route, not the path: paths hold the names of people.
		h.Logger.InfoContext(r.Context(), "request refused", "route", r.Pattern, "reason", err)
		return newProblem(refusal.Status(), refusal.Description).with("WWW-Authenticate", refusal.Challenge())
	}
	p, level := newProblem(http.StatusInternalServerError, "something went wrong on our side"), slog.LevelError
	if isUnavailable(err) {
		p, level = newProblem(http.StatusServiceUnavailable, "the service can't answer at the moment; try again"), slog.LevelWarn
		p = p.with("Retry-After", strconv.Itoa(retryAfter))
	}
	if r.Context().Err() != nil { // the client has gone: nobody's fault, and nobody reads this
		level = slog.LevelDebug
	}
	id := rand.Text()
	p.Instance = "urn:flavorless:request:" + id
	h.Logger.Log(r.Context(), level, "request failed", "request", id, "method", r.Method, "route", r.Pattern, "error", err)
	return p
}

func (h *handler) writeProblem(w http.ResponseWriter, r *http.Request, p *problem) {
	body, err := json.Marshal(p)
	if err != nil { // five plain members
		h.Logger.ErrorContext(r.Context(), "problem not encoded", "error", err)
	}
	body = append(body, '\n')
	header := w.Header()
	header.Set("Content-Type", "application/problem+json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("Cache-Control", noStore)
	if p.name != "" {
		header.Set(p.name, p.value)
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // the client may have gone
}
