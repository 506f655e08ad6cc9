package test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/local"
	"github.com/flavorless/flavorless/internal/local/control"
	"github.com/flavorless/flavorless/internal/operator"
	"github.com/flavorless/flavorless/internal/testutil"
)

// receiver is the endpoint of a webhook. It counts the requests that are not signed as they must be.
type receiver struct {
	*httptest.Server
	secret []byte

	mu       sync.Mutex
	respond  func(http.ResponseWriter, *http.Request) (accept bool) // if not nil; it writes the response unless it accepts
	requests int
	received map[string]events.Change // by webhook-id
	forged   int
}

// newReceiver starts an endpoint with the secret that the server of a data folder uses for its URL.
func newReceiver(t *testing.T, dir string) *receiver {
	t.Helper()
	r := &receiver{received: map[string]events.Change{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	secret, err := local.WebhookSecret(dir, r.URL)
	if err == nil {
		r.secret, err = base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ServeHTTP implements http.Handler.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	mac := hmac.New(sha256.New, r.secret)
	fmt.Fprintf(mac, "%s.%s.%s", req.Header.Get("Webhook-Id"), req.Header.Get("Webhook-Timestamp"), body)
	signature := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	change, bad := events.DecodeChange(body)
	r.mu.Lock()
	r.requests++
	respond := r.respond
	if err != nil || bad != nil || req.Header.Get("Webhook-Signature") != signature {
		r.forged++
	}
	r.mu.Unlock()
	if respond != nil && !respond(w, req) {
		return
	}
	r.mu.Lock()
	r.received[req.Header.Get("Webhook-Id")] = change
	r.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

func (r *receiver) setRespond(respond func(http.ResponseWriter, *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.respond = respond
}

// count returns how many changes the endpoint has accepted.
func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.received)
}

// TestWebhooks checks that every endpoint receives every change. An endpoint that fails or hangs does not delay the
// others. Its changes become dead letters, which are delivered when they are redriven. What is undelivered when the
// server is restarted is delivered afterwards.
func TestWebhooks(t *testing.T) {
	testutil.SkipIfShort(t)
	t.Parallel()
	dir := t.TempDir()
	healthy, broken, hung := newReceiver(t, dir), newReceiver(t, dir), newReceiver(t, dir)
	release := make(chan struct{})
	releaseOnce := sync.OnceFunc(func() { close(release) })
	t.Cleanup(releaseOnce)
	broken.setRespond(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusInternalServerError)
		return false
	})
	hung.setRespond(func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-release:
			return true
		case <-r.Context().Done():
			return false
		}
	})
	const tries = 4 // take a minute at the hung endpoint, by which time the others have finished
	s := startServer(t, func(c *local.Config) {
		c.Dir, c.Webhooks, c.WebhookTries = dir, []string{healthy.URL, broken.URL, hung.URL}, tries
	})

	const people = 300 // many more than the deliveries at the same time
	var file strings.Builder
	file.WriteString("person,flavor\n")
	for i := range people {
		fmt.Fprintf(&file, "person %d,lemon\n", i)
	}
	s.put("uploads/a.csv", []byte(file.String()), nil)
	testutil.WaitFor(t, "the healthy endpoint to receive all changes", func() bool { return healthy.count() == people })
	if n := broken.count() + hung.count(); n != 0 {
		t.Errorf("the broken and the hung endpoint accepted %d changes, want 0", n)
	}
	testutil.WaitFor(t, "all changes for the broken endpoint to be dead letters", func() bool {
		return s.webhookDeadQueue().Waiting == people
	})
	letter := s.webhookDeadQueue().Letters[0]
	status := strings.Contains(letter.Reason, "500 Internal Server Error")
	person := strings.Contains(letter.Subject, "person ")
	if letter.Tries != tries || !status || !person {
		t.Errorf("dead letter %+v; want %d tries, the status as its reason, and the person in its subject", letter, tries)
	}

	s.restart() // while requests to the hung endpoint are in flight
	releaseOnce()
	testutil.WaitFor(t, "the hung endpoint to receive all changes", func() bool { return hung.count() == people })

	broken.setRespond(nil)
	for _, id := range []string{"1", "2"} {
		s.redrive("id=" + id)
	}
	testutil.WaitFor(t, "the broken endpoint to receive two changes", func() bool { return broken.count() == 2 })
	s.redrive("queue=" + s.webhookDeadQueue().Queue)
	testutil.WaitFor(t, "the broken endpoint to receive all changes", func() bool { return broken.count() == people })
	testutil.WaitFor(t, "the dead-letter queue to be empty", func() bool { return s.webhookDeadQueue().Waiting == 0 })
	for i, r := range []*receiver{healthy, broken, hung} {
		if r.forged > 0 {
			t.Errorf("endpoint %d got %d requests with a bad signature, want 0", i, r.forged)
		}
	}
}

// TestWebhookRetryAfter checks that a delivery is not retried before the time that the endpoint asks for.
func TestWebhookRetryAfter(t *testing.T) {
	testutil.SkipIfShort(t)
	t.Parallel()
	dir := t.TempDir()
	r := newReceiver(t, dir)
	var first, second time.Time
	r.setRespond(func(w http.ResponseWriter, _ *http.Request) bool {
		if first.IsZero() {
			first = time.Now()
			w.Header().Set("Retry-After", "3")
			w.WriteHeader(http.StatusTooManyRequests)
			return false
		}
		second = time.Now()
		return true
	})
	s := startServer(t, func(c *local.Config) { c.Dir, c.Webhooks = dir, []string{r.URL} })
	s.put("uploads/a.csv", []byte("person,flavor\nandy,lemon\n"), nil)
	testutil.WaitFor(t, "the change to be delivered", func() bool { return r.count() == 1 })
	if wait := second.Sub(first); wait < 3*time.Second {
		t.Errorf("the delivery was retried after %s, want at least 3s", wait)
	}
}

// webhookDeadQueue returns a webhook's dead-letter queue that is not empty, or the last one if all are empty.
func (s *testServer) webhookDeadQueue() (found operator.DeadQueue) {
	s.t.Helper()
	var queues []operator.DeadQueue
	s.deadLetters(http.MethodGet, "", &queues)
	for _, q := range queues {
		if strings.HasPrefix(q.Queue, "webhook-") && (q.Waiting > 0 || found.Waiting == 0) {
			found = q
		}
	}
	return found
}

func (s *testServer) redrive(query string) {
	s.t.Helper()
	var r operator.RedriveResult
	if s.deadLetters(http.MethodPost, query, &r); len(r.Failures) > 0 || r.Restored == 0 {
		s.t.Errorf("redriving %s = %+v, want messages restored and no failures", query, r)
	}
}

// deadLetters decodes the response of the endpoint for dead letters.
func (s *testServer) deadLetters(method, query string, answer any) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.Info().API+control.Path+"?"+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.Info().Control)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(answer); err != nil {
		s.t.Fatalf("%s %s: %s: %v", method, req.URL, res.Status, err)
	}
}
