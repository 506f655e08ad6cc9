package prom_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/flavorless/flavorless/internal/metrics"
	"github.com/flavorless/flavorless/internal/metrics/prom"
)

// TestAllAreDeclared checks that each metric of package metrics is declared here.
func TestAllAreDeclared(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../metrics.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared, seen := prom.Names(), 0
	for _, d := range file.Decls {
		constants, ok := d.(*ast.GenDecl)
		if !ok || constants.Tok != token.CONST {
			continue
		}
		for _, s := range constants.Specs {
			name, err := strconv.Unquote(s.(*ast.ValueSpec).Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			if seen++; declared[name] == "" {
				t.Errorf("%s is not declared", name)
			}
		}
	}
	if seen == 0 || seen != len(declared) {
		t.Errorf("package metrics has %d names, package prom %d, want the same number", seen, len(declared))
	}
}

func TestRecorder(t *testing.T) {
	registry := prometheus.NewRegistry()
	r := prom.New(registry)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for status := range 100 { // concurrent new series
				r.Count(metrics.Requests, 2,
					metrics.Label{Name: "status", Value: strconv.Itoa(status)}, metrics.Label{Name: "route", Value: "/team"})
			}
			r.Count(metrics.Rows, 3, metrics.Label{Name: "outcome", Value: "applied"})
			r.Observe(metrics.UploadToLive, 70*time.Second)
			r.Observe(metrics.UploadToLive, -time.Second)
			r.Count(metrics.Rows, 1, metrics.Label{Name: "person", Value: "andy"})                 // not a label of rows
			r.Count(metrics.UploadToLive, 1)                                                       // not a counter
			r.Observe(metrics.Rows, time.Second, metrics.Label{Name: "outcome", Value: "applied"}) // not a distribution
			r.Count("unheard_of", 1)
		})
	}
	all.Wait()
	got, err := testutil.GatherAndCount(registry, "flavorless_http_requests_total")
	if err != nil || got != 100 {
		t.Errorf("got %d series of requests, error %v, want 100", got, err)
	}
	err = testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP flavorless_rows_total Rows of uploaded files, by outcome.
# TYPE flavorless_rows_total counter
flavorless_rows_total{outcome="applied"} 24
flavorless_rows_total{outcome="rejected"} 0
flavorless_rows_total{outcome="superseded"} 0
flavorless_rows_total{outcome="unchanged"} 0
# HELP flavorless_upload_to_live_seconds Time from the upload of a file until all of its rows are live.
# TYPE flavorless_upload_to_live_seconds histogram
flavorless_upload_to_live_seconds_bucket{le="0.05"} 8
flavorless_upload_to_live_seconds_bucket{le="0.1"} 8
flavorless_upload_to_live_seconds_bucket{le="0.25"} 8
flavorless_upload_to_live_seconds_bucket{le="0.5"} 8
flavorless_upload_to_live_seconds_bucket{le="1"} 8
flavorless_upload_to_live_seconds_bucket{le="2.5"} 8
flavorless_upload_to_live_seconds_bucket{le="5"} 8
flavorless_upload_to_live_seconds_bucket{le="10"} 8
flavorless_upload_to_live_seconds_bucket{le="30"} 8
flavorless_upload_to_live_seconds_bucket{le="60"} 8
flavorless_upload_to_live_seconds_bucket{le="300"} 16
flavorless_upload_to_live_seconds_bucket{le="900"} 16
flavorless_upload_to_live_seconds_bucket{le="3600"} 16
flavorless_upload_to_live_seconds_bucket{le="+Inf"} 16
flavorless_upload_to_live_seconds_sum 560
flavorless_upload_to_live_seconds_count 16
`), "flavorless_rows_total", "flavorless_upload_to_live_seconds")
	if err != nil {
		t.Error(err)
	}
}

// BenchmarkHTTP compares a measured handler with a bare one.
func BenchmarkHTTP(b *testing.B) {
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Pattern = "/ice-cream/{person}"
		w.WriteHeader(http.StatusOK)
	})
	request := httptest.NewRequest(http.MethodGet, "/ice-cream/andy", nil)
	for name, handler := range map[string]http.Handler{
		"bare": next, "measured": metrics.HTTP{Next: next, Recorder: prom.New(prometheus.NewRegistry()), Clock: time.Now},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				r := request.Clone(b.Context())
				for w := (discard{}); pb.Next(); {
					handler.ServeHTTP(w, r)
				}
			})
		})
	}
}

// discard is a http.ResponseWriter that does nothing.
type discard struct{}

func (discard) Header() http.Header         { return nil }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}
