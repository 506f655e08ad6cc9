package local_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/local"
	"github.com/flavorless/flavorless/internal/testutil"
	"github.com/flavorless/flavorless/internal/version"
)

// scrape returns the values of all metrics by series.
func (s *testServer) scrape() map[string]float64 {
	s.t.Helper()
	status, body := s.get(s.Info().Metrics)
	if status != http.StatusOK {
		s.t.Fatalf("GET /metrics = %d %s, want 200", status, body)
	}
	series := map[string]float64{}
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if at := strings.LastIndex(line, "} "); at > 0 { // label values may contain spaces
			name, value = line[:at+1], strings.TrimSpace(line[at+2:])
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			s.t.Fatalf("%s: %v", line, err)
		}
		series[name] = v
	}
	return series
}

// wantSeries checks the values of some series.
func wantSeries(t *testing.T, got, want map[string]float64) {
	t.Helper()
	for name, v := range want {
		if g, ok := got[name]; !ok || g != v {
			t.Errorf("%s = %v (exists: %t), want %v", name, g, ok, v)
		}
	}
}

func TestMetrics(t *testing.T) {
	s := start(t)
	for _, file := range []struct {
		name, text string
		status     events.Status
	}{
		{"first.csv", "person,flavor\nandy,vanilla\nbill,mint\ncarl,fudge\n", events.Live},
		{"second.csv", "person,flavor,action\nandy,lemon,\nbill,mint,\ncarl,,remove\ndora,fig,\ndora,plum,\nemil,,\n",
			events.Live},
		{"third.json", `{"andy": "fig", "bill`, events.Failed},
	} {
		if u := s.settled(s.upload(file.name, file.text)); u.Status != file.status {
			t.Fatalf("upload = %+v, want status %s", u, file.status)
		}
	}
	// The event of an object without a valid sequencer becomes a dead letter at once.
	s.publishMalformed()
	for _, route := range []string{
		"/team", "/team", "/ice-cream/andy", "/ice-cream/nobody", "/openapi.json", "/nothing/here", "/ice-cream/",
	} {
		s.read(route)
	}
	s.get("/team")

	const (
		deadLetters = `flavorless_queue_messages{queue="ingest",state="dead"}`
		changes     = `flavorless_change_delay_seconds_count`
	)
	var got map[string]float64
	testutil.WaitFor(t, "the metrics to include all work", func() bool {
		got = s.scrape()
		return got[deadLetters] == 1 && got[changes] == 7 && got[`flavorless_outbox_records`] == 0 &&
			got[`flavorless_queue_messages{queue="ingest",state="in_flight"}`] == 0 &&
			got[`flavorless_queue_messages{queue="apply",state="in_flight"}`] == 0
	})
	build := fmt.Sprintf("flavorless_build_info{go_version=%q,version=%q}", runtime.Version(), version.Get().Version)
	wantSeries(t, got, map[string]float64{
		`flavorless_rows_total{outcome="applied"}`:                                 3 + 4 + 1,
		`flavorless_rows_total{outcome="unchanged"}`:                               0,
		`flavorless_rows_total{outcome="superseded"}`:                              1,
		`flavorless_rows_total{outcome="rejected"}`:                                1,
		`flavorless_batches_total{outcome="applied"}`:                              3,
		`flavorless_batches_total{outcome="duplicate"}`:                            0,
		`flavorless_uploads_total{status="live"}`:                                  2,
		`flavorless_uploads_total{status="failed"}`:                                1,
		`flavorless_upload_to_live_seconds_count`:                                  2,
		`flavorless_upload_to_live_seconds_bucket{le="+Inf"}`:                      2,
		`flavorless_changes_total{kind="created"}`:                                 4,
		`flavorless_changes_total{kind="changed"}`:                                 2,
		`flavorless_changes_total{kind="removed"}`:                                 1,
		`flavorless_dead_letters_total{queue="ingest"}`:                            1,
		`flavorless_dead_letters_total{queue="apply"}`:                             0,
		`flavorless_deliveries_retried_total{queue="ingest"}`:                      0,
		`flavorless_deliveries_retried_total{queue="apply"}`:                       0,
		`flavorless_queue_messages{queue="ingest",state="pending"}`:                0,
		`flavorless_queue_messages{queue="apply",state="pending"}`:                 0,
		`flavorless_queue_messages{queue="apply",state="dead"}`:                    0,
		`flavorless_queue_oldest_age_seconds{queue="ingest"}`:                      0,
		`flavorless_queue_oldest_age_seconds{queue="apply"}`:                       0,
		`flavorless_outbox_oldest_age_seconds`:                                     0,
		`flavorless_http_requests_total{route="/team",status="200"}`:               2,
		`flavorless_http_requests_total{route="/team",status="401"}`:               1,
		`flavorless_http_requests_total{route="/ice-cream/{person}",status="200"}`: 1,
		`flavorless_http_requests_total{route="/ice-cream/{person}",status="404"}`: 1,
		`flavorless_http_requests_total{route="/openapi.json",status="200"}`:       1,
		`flavorless_http_requests_total{route="other",status="404"}`:               2,
		`flavorless_http_request_duration_seconds_count{route="/team"}`:            3,
		`flavorless_authorizations_total{result="allowed"}`:                        4,
		`flavorless_authorizations_total{result="unauthorized"}`:                   1,
		`flavorless_jwks_fetches_total{result="ok"}`:                               1,
		`flavorless_scrape_errors_total{part="queues"}`:                            0,
		`flavorless_scrape_errors_total{part="outbox"}`:                            0,
		`flavorless_scrape_errors_total{part="disk"}`:                              0,
		build: 1,
	})
	for _, positive := range []string{
		"flavorless_disk_free_bytes", "go_goroutines", "process_resident_memory_bytes", "flavorless_change_delay_seconds_sum",
	} {
		if got[positive] <= 0 {
			t.Errorf("%s = %v, want more than 0", positive, got[positive])
		}
	}

	_, body := s.get(s.Info().Metrics)
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint reports %+v, error %v; want no problems", problems, err)
	}
}

// TestMetricsCountFollowers checks the number of clients that follow GET /changes.
func TestMetricsCountFollowers(t *testing.T) {
	s := start(t)
	awaitFollowers := func(n int) {
		t.Helper()
		testutil.WaitFor(t, fmt.Sprintf("%d followers", n), func() bool {
			return s.scrape()["flavorless_change_followers"] == float64(n)
		})
	}
	awaitFollowers(0)
	ctx, leave := context.WithCancel(t.Context())
	for n := range 2 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Info().API+"/changes", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+s.token())
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		awaitFollowers(n + 1)
	}
	leave()
	awaitFollowers(0)
}

// TestMetricsOfBrokenServer checks that the metrics of a part that can't be read are missing, and that the failure is
// counted.
func TestMetricsOfBrokenServer(t *testing.T) {
	s := start(t)
	s.broken = true
	if err := s.CloseTable(); err != nil {
		t.Fatal(err)
	}
	s.scrape()
	got := s.scrape()
	wantSeries(t, got, map[string]float64{
		`flavorless_scrape_errors_total{part="outbox"}`:         2,
		`flavorless_scrape_errors_total{part="queues"}`:         0,
		`flavorless_queue_messages{queue="apply",state="dead"}`: 0,
		`flavorless_rows_total{outcome="applied"}`:              0,
	})
	if v, ok := got["flavorless_outbox_records"]; ok {
		t.Errorf("flavorless_outbox_records = %v, want none because the table is closed", v)
	}
}

// TestMetricsArePrivate checks where metrics are served and to whom, because they need no token.
func TestMetricsArePrivate(t *testing.T) {
	status := func(s *testServer, url string, headers ...string) int {
		t.Helper()
		status, _ := s.get(url, headers...)
		return status
	}
	// public returns the URL of the metrics at an address that the server believes to be public.
	public := func(address string) string {
		_, port, err := net.SplitHostPort(strings.TrimPrefix(address, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		return "http://127.0.0.1:" + port + local.MetricsPath
	}
	t.Run("next to the API on the loopback interface", func(t *testing.T) {
		s := start(t)
		if got := s.Info().Metrics; got != s.Info().API+local.MetricsPath {
			t.Errorf("metrics are at %q, want the address of the API", got)
		}
		for _, test := range []struct {
			name, value string
			status      int
		}{
			{"Host", "localhost", http.StatusOK},
			{"Host", "localhost:8080", http.StatusOK},
			{"Host", "127.0.0.1", http.StatusOK},
			{"Host", "[::1]", http.StatusOK},
			{"Host", "[::1]:8080", http.StatusOK},
			{"Host", "rebound.example", http.StatusForbidden},
			{"Host", "rebound.example:8080", http.StatusForbidden},
			{"Host", "127.0.0.1.example", http.StatusForbidden},
			{"Host", "localhost.example", http.StatusForbidden},
			{"X-Forwarded-For", "192.0.2.1", http.StatusForbidden},
			{"Forwarded", "for=192.0.2.1", http.StatusForbidden},
			{"Via", "1.1 proxy", http.StatusForbidden},
		} {
			if got := status(s, s.Info().Metrics, test.name, test.value); got != test.status {
				t.Errorf("%s: %s: got %d, want %d", test.name, test.value, got, test.status)
			}
		}
	})
	t.Run("not next to a public API", func(t *testing.T) {
		s := start(t, func(c *local.Config) { c.API = "0.0.0.0:0" })
		if got := s.Info().Metrics; got != "" {
			t.Errorf("metrics are at %q, want none", got)
		}
		if got := status(s, public(s.Info().API)); got != http.StatusNotFound {
			t.Errorf("status %d, want 404", got)
		}
	})
	t.Run("only at their own address", func(t *testing.T) {
		s := start(t, func(c *local.Config) { c.Metrics = ":0" })
		if got := status(s, s.Info().API+local.MetricsPath); got != http.StatusNotFound {
			t.Errorf("next to the API: status %d, want 404", got)
		}
		if got := status(s, s.Info().Metrics); got != http.StatusOK {
			t.Errorf("at their own address: status %d, want 200", got)
		}
		if got := s.MetricsIdleTimeout(); got < 2*time.Minute {
			t.Errorf("idle timeout = %s, want at least 2m, because Prometheus scrapes every minute", got)
		}
		if got := status(s, s.Info().Metrics, "Host", "rebound.example"); got != http.StatusForbidden {
			t.Errorf("at their own address by a host name: status %d, want 403", got)
		}
		if got := status(s, strings.Replace(s.Info().Metrics, local.MetricsPath, "/team", 1)); got != http.StatusNotFound {
			t.Errorf("API at the address of the metrics: status %d, want 404", got)
		}
	})
	t.Run("by any host name at a public address", func(t *testing.T) {
		s := start(t, func(c *local.Config) { c.Metrics = "0.0.0.0:0" })
		if got := status(s, s.Info().Metrics, "Host", "flavorless.internal"); got != http.StatusOK {
			t.Errorf("status %d, want 200", got)
		}
	})
}

// TestOperations checks that docs/operations.md documents exactly the metrics, parts and conditions that exist.
func TestOperations(t *testing.T) {
	manual, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := func(pattern string) (names []string) {
		for _, m := range regexp.MustCompile("(?m)^\\| `("+pattern+")` \\|").FindAllStringSubmatch(string(manual), -1) {
			names = append(names, m[1])
		}
		slices.Sort(names)
		return names
	}
	s := start(t, func(c *local.Config) { c.Webhooks = []string{"http://127.0.0.1:1/changes"} })
	s.read("/team")
	var families []string
	_, body := s.get(s.Info().Metrics)
	for _, m := range regexp.MustCompile("(?m)^# TYPE (flavorless_[a-z_]+) ").FindAllStringSubmatch(body, -1) {
		families = append(families, m[1])
	}
	if diff := cmp.Diff(families, rows("flavorless_[a-z_]+")); diff != "" {
		t.Errorf("metrics (-existing +documented):\n%s", diff)
	}
	parts := rows("gateway|ingest|apply|announce|reconcile|tidy|[a-z]*-?to-?webhook-1|webhook-1|" +
		"table|queues|subscribers|disk|keys")
	if diff := cmp.Diff(slices.Sorted(maps.Keys(s.health().Stages)), parts); diff != "" {
		t.Errorf("parts (-existing +documented):\n%s", diff)
	}
	var conditions []string
	for _, c := range []api.Condition{
		api.OK, api.Stopped, api.Silent, api.Full, api.Failing, api.Behind, api.DeadLetters,
	} {
		conditions = append(conditions, string(c))
	}
	slices.Sort(conditions)
	if diff := cmp.Diff(conditions, rows("ok|stopped|silent|full|failing|behind|dead_[a-z]+")); diff != "" {
		t.Errorf("conditions (-existing +documented):\n%s", diff)
	}
}
