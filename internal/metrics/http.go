package metrics

import (
	"net/http"
	"strconv"
	"time"
)

// OtherRoute is the label of requests that match no route, because clients must not be able to create labels.
const OtherRoute = "other"

// HTTP measures the requests that Next serves. Next must set http.Request.Pattern to the route, as http.ServeMux does,
// and leave it empty if there is none.
type HTTP struct {
	Next     http.Handler
	Recorder Recorder
	Clock    func() time.Time
}

// ServeHTTP implements http.Handler.
func (h HTTP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := h.Clock()
	response := &responseWriter{ResponseWriter: w, clock: h.Clock}
	r.Pattern = ""
	h.Next.ServeHTTP(response, r)
	response.begin(http.StatusOK)
	RecordRequest(h.Recorder, r.Pattern, response.status, response.began.Sub(start))
}

// RecordRequest records one request. Latency is the time until the response begins; the time until it ends also
// depends on how fast the client reads and how long a stream lasts.
func RecordRequest(r Recorder, route string, status int, latency time.Duration) {
	if route == "" {
		route = OtherRoute
	}
	label := Label{"route", route}
	r.Count(Requests, 1, label, Label{"status", strconv.Itoa(status)})
	r.Observe(Latency, latency, label)
}

// responseWriter records the status, and when it was written.
type responseWriter struct {
	http.ResponseWriter

	clock  func() time.Time
	status int // 0: not yet written
	began  time.Time
}

// begin records the first final status.
func (w *responseWriter) begin(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status, w.began = status, w.clock()
	}
}

// WriteHeader implements http.ResponseWriter.
func (w *responseWriter) WriteHeader(status int) {
	w.begin(status)
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *responseWriter) Write(b []byte) (int, error) {
	w.begin(http.StatusOK)
	return w.ResponseWriter.Write(b)
}

// Unwrap implements the interface that http.ResponseController uses.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
