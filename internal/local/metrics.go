package local

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/flavorless/flavorless/internal/metrics/prom"
)

// MetricsPath is where Prometheus fetches what was measured: next to the API, and no part of it, as long as that listens on
// the loopback interface; with Config.Metrics at that address, and there alone.
const MetricsPath = "/metrics"

// scrapes is how many may be answered at the same time, and scrapeTimeout how long one may take: Prometheus itself waits
// for 10 seconds. scrapers is how many connections an address of the metrics' own may have open: of each Prometheus, one.
const (
	scrapes       = 2
	scrapers      = 8
	scrapeTimeout = 10 * time.Second
)

// measure begins to measure. What is read at each scrape is read of the parts as they are by then.
func (s *Server) measure() {
	s.registry = prometheus.NewRegistry()
	s.recorder = prom.New(s.registry)
	s.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newGauges(s), followers(s), buildInfo())
}

func followers(s *Server) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "flavorless_change_followers", Help: "Clients that follow GET /changes now.",
	}, func() float64 { return float64(s.followers.Load()) })
}

func buildInfo() prometheus.Collector {
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "flavorless_build_info", Help: "Always 1; the labels tell what is running.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version()},
	}, func() float64 { return 1 })
}

// listenMetrics takes the address of the metrics, if they have one of their own.
func (s *Server) listenMetrics(ctx context.Context) (err error) {
	if s.cfg.Metrics == "" {
		return nil
	}
	if s.metricsListener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.Metrics); err != nil {
		return fmt.Errorf("the metrics' address %s: %w", s.cfg.Metrics, err)
	}
	return nil
}

// serveMetrics adds the metrics to what the API's address serves, or serves them at their own. They need no token, so
// without an address that was given for them they are served on the loopback interface alone.
func (s *Server) serveMetrics(beside *http.ServeMux) {
	switch {
	case s.metricsListener != nil:
		mux := http.NewServeMux()
		mux.Handle("GET "+MetricsPath, s.scrape(isLoopback(s.metricsListener)))
		limited := limitConnections(s.metricsListener, scrapers)
		s.metricsHTTP = &http.Server{
			Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
			IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10, ConnState: limited.state, ErrorLog: s.httpLog(),
		}
		go func() {
			if err := s.metricsHTTP.Serve(limited); !errors.Is(err, http.ErrServerClosed) {
				s.failed <- fmt.Errorf("the metrics ended: %w", err)
			}
		}()
		s.metricsURL = reachable("http", s.metricsListener.Addr().String()) + MetricsPath
	case isLoopback(s.listener):
		beside.Handle("GET "+MetricsPath, s.scrape(true))
		s.metricsURL = reachable("http", s.listener.Addr().String()) + MetricsPath
	default:
		s.cfg.Log.Info("metrics are not served: the API's address is open to others; give them one of their own")
	}
}

func isLoopback(l net.Listener) bool {
	addr, ok := l.Addr().(*net.TCPAddr)
	return ok && addr.IP.IsLoopback()
}

// scrape answers Prometheus. Guarded, it answers only who is on this machine.
func (s *Server) scrape(guarded bool) http.Handler {
	answer := promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{
		ErrorLog: s.httpLog(), ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: scrapes, Timeout: scrapeTimeout,
	})
	if !guarded {
		return answer
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !direct(r) {
			http.Error(w, "metrics are for this machine alone; ask 127.0.0.1 or localhost, and no proxy", http.StatusForbidden)
			return
		}
		answer.ServeHTTP(w, r)
	})
}

// direct tells whether a request to the loopback interface was meant for it. A page in a browser on this machine can have
// a name of its own resolve to 127.0.0.1 (DNS rebinding), but then that name is the Host; and what a proxy hands on comes
// from elsewhere.
func direct(r *http.Request) bool {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"} {
		if r.Header.Get(name) != "" {
			return false
		}
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(r.Host, "["), "]")
	}
	return host == "localhost" || net.ParseIP(host) != nil
}

// httpLog takes what servers complain about to the log.
func (s *Server) httpLog() *log.Logger { return slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelWarn) }
