package metrics

import (
	"net/http"
	"strconv"
	"time"
)

// OtherRoute is the route of requests that no route is for: what clients make up must not become labels.
const OtherRoute = "other"

// HTTP measures the requests that Next answers. Which route one took is told by http.Request.Pattern, which Next sets
// as http.ServeMux does, or leaves empty.
type HTTP struct {
	Next     http.Handler
	Recorder Recorder
	Clock    func() time.Time
}

// ServeHTTP implements http.Handler.
func (h HTTP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	asked := h.Clock()
	answer := &answerWriter{ResponseWriter: w, clock: h.Clock}
	r.Pattern = ""
	h.Next.ServeHTTP(answer, r)
	answer.begin(http.StatusOK)
	RecordRequest(h.Recorder, r.Pattern, answer.status, answer.began.Sub(asked))
}

// RecordRequest takes one request, and how long it took until the answer to it began: how long a stream goes on, or a
// slow client takes to read, tells nothing about us.
func RecordRequest(to Recorder, route string, status int, took time.Duration) {
	if route == "" {
		route = OtherRoute
	}
	label := Label{"route", route}
	to.Count(Requests, 1, label, Label{"status", strconv.Itoa(status)})
	to.Observe(Latency, took, label)
}

// answerWriter remembers the status, and when it was given. Whoever needs more of the writer, such as flushing, gets
// at it by http.ResponseController.
type answerWriter struct {
	http.ResponseWriter

	clock  func() time.Time
	status int // 0: none yet
	began  time.Time
}

// begin takes the first final status.
func (w *answerWriter) begin(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status, w.began = status, w.clock()
	}
}

// WriteHeader implements http.ResponseWriter.
func (w *answerWriter) WriteHeader(status int) {
	w.begin(status)
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *answerWriter) Write(b []byte) (int, error) {
	w.begin(http.StatusOK)
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
