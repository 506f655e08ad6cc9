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

// recorder is a Recorder that remembers its calls.
type recorder []string

func (r *recorder) record(name string, labels []metrics.Label) {
	for _, l := range labels {
		name += " " + l.Name + "=" + l.Value
	}
	*r = append(*r, name)
}

func (r *recorder) Count(name string, _ int64, labels ...metrics.Label) { r.record(name, labels) }

func (r *recorder) Observe(name string, d time.Duration, labels ...metrics.Label) {
	r.record(name+" "+d.String(), labels)
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
			_, _ = w.Write([]byte("{}"))     // ignored
			w.WriteHeader(http.StatusTeapot) // ignored
		}, "http_requests route=/team status=200", "/team"},
		"an informational status is ignored": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusNotFound)
		}, "http_requests route=other status=404", "other"},
		"nothing written": {func(http.ResponseWriter, *http.Request) {}, "http_requests route=other status=200", "other"},
		"the writer can be unwrapped": {func(w http.ResponseWriter, _ *http.Request) {
			if err := http.NewResponseController(w).Flush(); err != nil {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}, "http_requests route=other status=200", "other"},
	} {
		t.Run(name, func(t *testing.T) {
			got, now := &recorder{}, time.Time{}
			clock := func() time.Time { now = now.Add(time.Second); return now }
			r := httptest.NewRequest(http.MethodGet, "/secret", nil)
			r.Pattern = "/" // set by an outer mux
			metrics.HTTP{Next: test.next, Recorder: got, Clock: clock}.ServeHTTP(httptest.NewRecorder(), r)
			want := []string{test.counts, "http_latency 1s route=" + test.route}
			slices.Sort(*got)
			slices.Sort(want)
			if diff := cmp.Diff(want, []string(*got)); diff != "" {
				t.Errorf("measurements (-want +got):\n%s", diff)
			}
		})
	}
}
