package local_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/local"
	"github.com/flavorless/flavorless/internal/testutil"
)

// health is a response of GET /healthz.
type health struct {
	code   int
	Status string
	Stages map[string]string
}

func (s *testServer) health() (got health) {
	s.t.Helper()
	var body string
	got.code, body = s.get("/healthz")
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		s.t.Fatalf("%s: %v", body, err)
	}
	return got
}

// healthyStages returns the conditions of all parts when nothing is wrong.
func healthyStages() map[string]string {
	return map[string]string{
		"gateway": "ok", "reconcile": "ok", "ingest": "ok", "apply": "ok", "announce": "ok", "tidy": "ok",
		"table": "ok", "queues": "ok", "subscribers": "ok", "disk": "ok", "keys": "ok",
	}
}

// wantHealth waits until GET /healthz returns this status, and "ok" for all parts but these.
func (s *testServer) wantHealth(code int, status string, stages map[string]string) {
	s.t.Helper()
	want := health{code, status, healthyStages()}
	maps.Copy(want.Stages, stages)
	var got health
	defer func() {
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(health{})); diff != "" {
			s.t.Errorf("health (-want +got):\n%s", diff)
		}
	}()
	testutil.WaitFor(s.t, "GET /healthz to return the wanted health", func() bool {
		got = s.health()
		return cmp.Equal(want, got, cmp.AllowUnexported(health{}))
	})
}

// TestHealth breaks one part of a running server after the other.
func TestHealth(t *testing.T) {
	testutil.SkipIfShort(t)
	t.Run("nothing is wrong", func(t *testing.T) {
		s := start(t)
		s.settled(s.upload("a.csv", "person,flavor\nandy,mint\n"))
		s.read("/team")
		s.wantHealth(http.StatusOK, "ok", nil)
	})
	t.Run("no bucket", func(t *testing.T) {
		s := start(t)
		<-s.Reconciled() // otherwise that stage fails without the bucket, too
		s.broken = true
		if err := s.StopGateway(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.wantHealth(http.StatusServiceUnavailable, "unavailable", map[string]string{"gateway": "stopped"})
		<-s.Failed()
		if s.Err() == nil {
			t.Error("Err = nil, want the failure of the bucket")
		}
	})
	t.Run("no table", func(t *testing.T) {
		s := start(t)
		s.broken = true
		if err := s.CloseTable(); err != nil {
			t.Fatal(err)
		}
		// The stage announce retries forever.
		s.wantHealth(http.StatusServiceUnavailable, "unavailable", map[string]string{
			"table": "silent", "announce": "failing",
		})
	})
	t.Run("no queues", func(t *testing.T) {
		s := start(t)
		s.broken = true
		s.StopQueues()
		s.wantHealth(http.StatusServiceUnavailable, "unavailable", map[string]string{
			"queues": "silent", "subscribers": "silent", "ingest": "stopped", "apply": "stopped",
		})
	})
	t.Run("webhook refuses connections", func(t *testing.T) {
		s := start(t, func(c *local.Config) { c.Webhooks = []string{"http://127.0.0.1:1/changes"} })
		s.upload("a.csv", "person,flavor\nandy,mint\n")
		s.wantHealth(http.StatusOK, "degraded", map[string]string{"webhook-1": "failing", "forward-to-webhook-1": "ok"})
		for name, value := range s.scrape() {
			if strings.HasPrefix(name, `flavorless_deliveries_retried_total{queue="webhook-`) && value >= 3 {
				return
			}
		}
		t.Error("no metric counts retried deliveries to the webhook, want at least 3")
	})
	t.Run("no consumers left", func(t *testing.T) {
		s := start(t)
		var changes jetstream.Stream
		var consumer jetstream.Consumer
		for n := range 256 {
			if n%64 == 0 { // the requests of each connection are limited
				changes = s.changesStream()
			}
			var err error
			if consumer, err = changes.CreateConsumer(t.Context(), jetstream.ConsumerConfig{}); err != nil {
				t.Fatal(err)
			}
		}
		s.wantHealth(http.StatusOK, "degraded", map[string]string{"subscribers": "full"})
		if err := changes.DeleteConsumer(t.Context(), consumer.CachedInfo().Name); err != nil {
			t.Fatal(err)
		}
		s.wantHealth(http.StatusOK, "ok", nil)
	})
	t.Run("no keys", func(t *testing.T) {
		s := start(t, func(c *local.Config) {
			c.Issuer, c.Audience, c.JWKSURI = "https://id.example", "flavorless", "http://127.0.0.1:1/jwks.json"
		})
		// {"alg":"ES256","kid":"x"}.{} with an invalid signature
		const token = "eyJhbGciOiJFUzI1NiIsImtpZCI6IngifQ.e30.AAAA"
		for range 3 {
			if status, body := s.get("/team", "Authorization", "Bearer "+token); status != http.StatusServiceUnavailable {
				t.Fatalf("GET /team = %d %s, want 503", status, body)
			}
			s.forward(5 * time.Second)
		}
		s.wantHealth(http.StatusOK, "degraded", map[string]string{"keys": "failing"})
	})
}

// TestHealthOfFailingStage makes the table reject writes, and then fixes it.
func TestHealthOfFailingStage(t *testing.T) {
	testutil.SkipIfShort(t)
	var log syncBuffer
	s := start(t, func(c *local.Config) { c.Log = slog.New(slog.NewJSONHandler(&log, nil)) })
	s.sql("CREATE TRIGGER outage BEFORE INSERT ON favorites BEGIN SELECT RAISE(ABORT, 'injected failure'); END")
	id := s.upload("a.csv", "person,flavor\nandy,mint\n")
	s.wantHealth(http.StatusOK, "degraded", map[string]string{"apply": "failing"})
	if got := s.scrape()[`flavorless_deliveries_retried_total{queue="apply"}`]; got < 3 {
		t.Errorf("%v deliveries were retried, want at least 3", got)
	}
	s.forward(11 * time.Minute) // the last try is forgotten, but the message still waits
	s.wantHealth(http.StatusOK, "degraded", map[string]string{"apply": "behind"})
	if got := s.scrape()[`flavorless_queue_oldest_age_seconds{queue="apply"}`]; got < 660 || got > 780 {
		t.Errorf("the oldest message is %v seconds old, want 660 to 780", got)
	}
	s.sql("DROP TRIGGER outage")
	if u := s.settled(id); u.Status != events.Live {
		t.Fatalf("upload = %+v, want it live", u)
	}
	s.wantHealth(http.StatusOK, "ok", nil)

	s.publishMalformed()
	s.wantHealth(http.StatusOK, "degraded", map[string]string{"ingest": "dead_letters"})

	text := log.String()
	for _, want := range []string{
		`"event":"health","stage":"apply","condition":"failing","was":"ok"`,
		`"event":"health","stage":"apply","condition":"ok","was":"behind"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the log has no entry with %s:\n%s", want, text)
		}
	}
}

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
