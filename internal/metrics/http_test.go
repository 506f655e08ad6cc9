package metrics_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/internal/metrics"
)

// notes is a Recorder that writes down what it is told.
type notes []string

func (n *notes) note(name string, labels []metrics.Label) {
	for _, l := range labels {
		name += " " + l.Name + "=" + l.Value
	}
	*n = append(*n, name)
}

func (n *notes) Count(name string, _ int64, labels ...metrics.Label) { n.note(name, labels) }

func (n *notes) Observe(name string, d time.Duration, labels ...metrics.Label) {
	n.note(name+" "+d.String(), labels)
}

func TestHTTP(t *testing.T) {
	for name, test := range map[string]struct {
		next   http.HandlerFunc
		counts string
		route  string
	}{
		"a route": {func(w http.ResponseWriter, r *http.Request) {
			r.Pattern = "/team"
			w.WriteHeader(http.StatusNotModified)
		}, "http_requests route=/team status=304", "/team"},
		"a status by writing": {func(w http.ResponseWriter, r *http.Request) {
			r.Pattern = "/team"
			_, _ = w.Write([]byte("{}"))
			_, _ = w.Write([]byte("{}"))     // this one tells nothing
			w.WriteHeader(http.StatusTeapot) // too late
		}, "http_requests route=/team status=200", "/team"},
		"an informational status is none": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusNotFound)
		}, "http_requests route=other status=404", "other"},
		"nothing at all": {func(http.ResponseWriter, *http.Request) {}, "http_requests route=other status=200", "other"},
		"the writer can be unwrapped": {func(w http.ResponseWriter, _ *http.Request) {
			if err := http.NewResponseController(w).Flush(); err != nil {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}, "http_requests route=other status=200", "other"},
	} {
		t.Run(name, func(t *testing.T) {
			got, now := &notes{}, time.Time{}
			clock := func() time.Time { now = now.Add(time.Second); return now }
			r := httptest.NewRequest(http.MethodGet, "/secret", nil)
			r.Pattern = "/" // of a mux before
			metrics.HTTP{Next: test.next, Recorder: got, Clock: clock}.ServeHTTP(httptest.NewRecorder(), r)
			want := []string{test.counts, "http_latency 1s route=" + test.route}
			slices.Sort(*got)
			slices.Sort(want)
			if diff := cmp.Diff(want, []string(*got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
