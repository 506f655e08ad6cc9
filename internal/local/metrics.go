package local

import (
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/flavorless/flavorless/internal/local/control"
	"github.com/flavorless/flavorless/internal/version"
)

// MetricsPath is where Prometheus scrapes the metrics: at Config.Metrics if that is given, or else at the address of
// the API if that is on the loopback interface. The metrics are not part of the API.
const MetricsPath = "/metrics"

const (
	maxScrapes     = 2                // concurrent
	maxScrapers    = 8                // connections to Config.Metrics; each Prometheus needs one
	scrapeTimeout  = 10 * time.Second // as Prometheus has by default
	metricsTimeout = time.Minute      // for clients of Config.Metrics
	metricsIdle    = 2 * time.Minute  // for their connections between two requests; Prometheus scrapes every minute
)

// registerProcess registers the metrics of the process, and the number of clients that follow the changes.
func registerProcess(registry *prometheus.Registry, followers *atomic.Int64) {
	build := version.Get()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "flavorless_change_followers", Help: "Clients that follow GET /changes now.",
		}, func() float64 { return float64(followers.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "flavorless_build_info", Help: "Always 1; the labels say what is running.",
			ConstLabels: prometheus.Labels{"version": build.Version, "go_version": build.Go},
		}, func() float64 { return 1 }),
	)
}

func isLoopback(l net.Listener) bool {
	addr, ok := l.Addr().(*net.TCPAddr)
	return ok && addr.IP.IsLoopback()
}

// metricsHandler serves the metrics. They need no token, so on the loopback interface it serves only clients on this
// machine.
func (s *Server) metricsHandler(loopback bool) http.Handler {
	handler := promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{
		ErrorLog: warnLog(s.cfg.Log), ErrorHandling: promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout,
	})
	if !loopback {
		return handler
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLocal(r) {
			http.Error(w, "metrics are served to this machine only; use 127.0.0.1 or localhost, without a proxy",
				http.StatusForbidden)
			return
		}
		handler.ServeHTTP(w, r)
	})
}

// isLocal reports whether a request to the loopback interface comes from a client on this machine that addressed it as
// such. A proxy forwards requests from elsewhere. A page in a browser on this machine can make its own name resolve to
// 127.0.0.1 (DNS rebinding), but then the Host header has that name.
func isLocal(r *http.Request) bool {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"} {
		if r.Header.Get(name) != "" {
			return false
		}
	}
	return control.IsLiteralHost(r.Host)
}
