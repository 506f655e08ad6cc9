package local_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/local"
)

// health is an answer of GET /healthz.
type health struct {
	code   int
	Status string
	Stages map[string]string
}

func (h *house) health() (got health) {
	h.t.Helper()
	var body string
	got.code, body = h.get("/healthz")
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		h.t.Fatalf("%s: %v", body, err)
	}
	return got
}

// well is all that there is, when nothing is wrong.
func well() map[string]string {
	return map[string]string{
		"gateway": "ok", "reconcile": "ok", "ingest": "ok", "apply": "ok", "announce": "ok", "tidy": "ok",
		"table": "ok", "queues": "ok", "subscribers": "ok", "disk": "ok", "keys": "ok",
	}
}

// wantHealth waits until the house says of itself that all is well but for these parts, and holds the status to that.
func (h *house) wantHealth(code int, status string, unwell map[string]string) {
	h.t.Helper()
	want := health{code, status, well()}
	maps.Copy(want.Stages, unwell)
	var got health
	defer func() {
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(health{})); diff != "" {
			h.t.Errorf("health (-want +got):\n%s", diff)
		}
	}()
	await(h.t, "that health", func() bool {
		got = h.health()
		return cmp.Equal(want, got, cmp.AllowUnexported(health{}))
	})
}

// TestHealth takes one part after the other away under a running house.
func TestHealth(t *testing.T) {
	t.Run("all is well", func(t *testing.T) {
		h := start(t)
		h.settled(h.upload("a.csv", "person,flavor\nandy,mint\n"))
		h.read("/team")
		h.wantHealth(http.StatusOK, "ok", nil)
	})
	t.Run("no bucket", func(t *testing.T) {
		h := start(t)
		<-h.Reconciled() // or that stage lacks the bucket, too
		h.broken = true
		if err := h.StopGateway(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.wantHealth(http.StatusServiceUnavailable, "unavailable", map[string]string{"gateway": "stopped"})
		if err := <-h.Failed(); !strings.Contains(err.Error(), "gateway") {
			t.Errorf("what failed is %v", err)
		}
	})
	t.Run("no table", func(t *testing.T) {
		h := start(t)
		h.broken = true
		if err := h.CloseTable(); err != nil {
			t.Fatal(err)
		}
		// What announces tries again without end.
		h.wantHealth(http.StatusServiceUnavailable, "unavailable", map[string]string{"table": "silent", "announce": "failing"})
	})
	t.Run("no queues", func(t *testing.T) {
		h := start(t)
		h.broken = true
		h.StopQueues()
		h.wantHealth(http.StatusServiceUnavailable, "unavailable", map[string]string{"queues": "silent", "subscribers": "silent", "ingest": "stopped", "apply": "stopped"})
	})
	t.Run("nobody at a webhook", func(t *testing.T) {
		h := start(t, func(c *local.Config) { c.Webhooks = []string{"http://127.0.0.1:1/changes"} })
		h.upload("a.csv", "person,flavor\nandy,mint\n")
		h.wantHealth(http.StatusOK, "degraded", map[string]string{"webhook-1": "failing", "forward-to-webhook-1": "ok"})
		for name, value := range h.scrape() {
			if strings.HasPrefix(name, `flavorless_deliveries_retried_total{queue="webhook-`) && value >= 3 {
				return
			}
		}
		t.Error("no metric tells that deliveries to the webhook are retried")
	})
	t.Run("no consumers left", func(t *testing.T) {
		h := start(t)
		var changes jetstream.Stream
		var consumer jetstream.Consumer
		for n := range 256 {
			if n%64 == 0 { // each connection has a limit of requests
				changes = h.log()
			}
			var err error
			if consumer, err = changes.CreateConsumer(t.Context(), jetstream.ConsumerConfig{}); err != nil {
				t.Fatal(err)
			}
		}
		h.wantHealth(http.StatusOK, "degraded", map[string]string{"subscribers": "full"})
		if err := changes.DeleteConsumer(t.Context(), consumer.CachedInfo().Name); err != nil {
			t.Fatal(err)
		}
		h.wantHealth(http.StatusOK, "ok", nil)
	})
	t.Run("no keys", func(t *testing.T) {
		h := start(t, func(c *local.Config) {
			c.Issuer, c.Audience, c.JWKSURI = "https://id.example", "flavorless", "http://127.0.0.1:1/jwks.json"
		})
		// Signed by nobody: {"alg":"ES256","kid":"x"}.{}
		const token = "eyJhbGciOiJFUzI1NiIsImtpZCI6IngifQ.e30.AAAA"
		for range 3 {
			if status, body := h.get("/team", "Authorization", "Bearer "+token); status != http.StatusServiceUnavailable {
				t.Fatalf("%d %s", status, body)
			}
			h.forward(5 * time.Second)
		}
		h.wantHealth(http.StatusOK, "degraded", map[string]string{"keys": "failing"})
	})
}

func TestHealthOfTheDisk(t *testing.T) {
	for _, test := range []struct {
		free int64
		err  error
		want api.Condition
	}{{0, nil, api.Full}, {64<<20 - 1, nil, api.Full}, {64 << 20, nil, api.OK}, {1 << 40, errors.New("no such folder"), api.Silent}} {
		if got := local.ConditionOfDisk(test.free, 64<<20, test.err); got != test.want {
			t.Errorf("with %d bytes free and error %v: %s, want %s", test.free, test.err, got, test.want)
		}
	}
}

// TestHealthOfAStageThatFails lets the table refuse what is applied, and then mends it.
func TestHealthOfAStageThatFails(t *testing.T) {
	var log syncBuffer
	h := start(t, func(c *local.Config) { c.Log = slog.New(slog.NewJSONHandler(&log, nil)) })
	h.sql("CREATE TRIGGER outage BEFORE INSERT ON favorites BEGIN SELECT RAISE(ABORT, 'secret strike'); END")
	id := h.upload("a.csv", "person,flavor\nandy,mint\n")
	h.wantHealth(http.StatusOK, "degraded", map[string]string{"apply": "failing"})
	if got := h.scrape()[`flavorless_deliveries_retried_total{queue="apply"}`]; got < 3 {
		t.Errorf("%v deliveries were retried", got)
	}
	h.forward(11 * time.Minute) // long after the last try; but the message is still waiting
	h.wantHealth(http.StatusOK, "degraded", map[string]string{"apply": "behind"})
	if got := h.scrape()[`flavorless_queue_oldest_age_seconds{queue="apply"}`]; got < 660 || got > 780 {
		t.Errorf("the oldest message is %v seconds old", got)
	}
	h.sql("DROP TRIGGER outage")
	if u := h.settled(id); u.Status != events.Live {
		t.Fatalf("%+v", u)
	}
	h.wantHealth(http.StatusOK, "ok", nil)

	if err := h.Stored(t.Context(), events.Object{Bucket: "b", Key: "uploads/bad.csv", ETag: "e", Sequencer: "none", Time: time.Now()}); err != nil {
		t.Fatal(err)
	}
	h.wantHealth(http.StatusOK, "degraded", map[string]string{"ingest": "dead_letters"})

	if text := log.String(); !strings.Contains(text, `"msg":"unwell","stage":"apply","condition":"failing"`) ||
		!strings.Contains(text, `"msg":"well again","stage":"apply","was":"behind"`) {
		t.Errorf("the log does not say so:\n%s", text)
	}
}

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
