package metrics

import (
	"net/http"
	"strconv"
	"time"
)

// OtherRoute is the route of requests that no route is for: what clients make up must not become labels.
const OtherRoute = "other"

// HTTP measures the requests that Next answers. Which route one took is told by http.Request.Pattern, which Next sets as
// http.ServeMux does, or leaves empty.
type HTTP struct {
	Next  http.Handler
	To    Recorder
	Clock func() time.Time
}

// ServeHTTP implements http.Handler.
func (h HTTP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := h.Clock()
	status := &statusWriter{ResponseWriter: w}
	r.Pattern = ""
	h.Next.ServeHTTP(status, r)
	if status.code == 0 {
		status.code = http.StatusOK
	}
	Request(h.To, r.Pattern, status.code, h.Clock().Sub(began))
}

// Request takes one answered request.
func Request(to Recorder, route string, status int, took time.Duration) {
	if route == "" {
		route = OtherRoute
	}
	label := Label{"route", route}
	to.Count(Requests, 1, label, Label{"status", strconv.Itoa(status)})
	to.Observe(Latency, took, label)
}

// statusWriter remembers the status. Whoever needs more of the writer, such as flushing, gets at it by
// http.ResponseController.
type statusWriter struct {
	http.ResponseWriter

	code int // 0: none yet
}

// WriteHeader implements http.ResponseWriter. Only the first final status counts.
func (w *statusWriter) WriteHeader(code int) {
	if w.code == 0 && code >= http.StatusOK {
		w.code = code
	}
	w.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (w *statusWriter) Write(b []byte) (int, error) {
	if w.code == 0 {
		w.code = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
