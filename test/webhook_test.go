package test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
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

// receiver is who has a webhook. It takes nothing that is not signed as it should be.
type receiver struct {
	*httptest.Server
	secret []byte

	mu     sync.Mutex
	answer func(http.ResponseWriter, *http.Request) (taken bool) // and answered itself, if it was not
	tries  int
	got    map[string]events.Change // by webhook-id
	forged int
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{got: map[string]events.Change{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	mac := hmac.New(sha256.New, r.secret)
	_, _ = io.WriteString(mac, req.Header.Get("Webhook-Id")+"."+req.Header.Get("Webhook-Timestamp")+"."+string(body))
	c, bad := events.DecodeChange(body)
	r.mu.Lock()
	r.tries++
	answer := r.answer
	if err != nil || bad != nil || req.Header.Get("Webhook-Signature") != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
		r.forged++
	}
	r.mu.Unlock()
	if answer != nil && !answer(w, req) {
		return
	}
	r.mu.Lock()
	r.got[req.Header.Get("Webhook-Id")] = c
	r.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

func (r *receiver) set(answer func(http.ResponseWriter, *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

func (r *receiver) heard() (people []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.got {
		people = append(people, c.Person)
	}
	return people
}

// TestWebhooks: each endpoint is told of each change; one that fails or hangs holds up nobody, has its dead letters, and gets
// them when it is well again; what was not delivered at a restart is delivered after it.
func TestWebhooks(t *testing.T) {
	well, broken, hung := newReceiver(t), newReceiver(t), newReceiver(t)
	dir := t.TempDir()
	all := []*receiver{well, broken, hung}
	urls := make([]string, len(all))
	for i, r := range all {
		urls[i] = r.URL + "/hook"
		secret, err := local.WebhookSecret(dir, urls[i])
		if err != nil {
			t.Fatal(err)
		}
		if r.secret, err = base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_")); err != nil {
			t.Fatal(err)
		}
	}
	release := make(chan struct{})
	letGo := sync.OnceFunc(func() { close(release) })
	t.Cleanup(letGo)
	broken.set(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusInternalServerError)
		return false
	})
	hung.set(func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-release:
			return true
		case <-r.Context().Done():
			return false
		}
	})
	const tries = 4 // as many deliveries to the hung one take a minute; by then the others are through
	p := startPipeline(t, func(c *local.Config) { c.Dir, c.Webhooks, c.WebhookTries = dir, urls, tries })

	const people = 300 // far more than are delivered at the same time
	var file strings.Builder
	file.WriteString("person,flavor\n")
	for i := range people {
		file.WriteString(strings.Repeat("p", i%7+1) + string(rune('a'+i%26)) + strings.Repeat("q", i/7) + ",lemon\n")
	}
	p.put("uploads/a.csv", []byte(file.String()), nil)
	testutil.WaitFor(t, "the one that is well to have heard all", func() bool { return len(well.heard()) == people })
	if n := len(broken.heard()) + len(hung.heard()); n != 0 {
		t.Errorf("%d deliveries were taken by those that take none", n)
	}
	testutil.WaitFor(t, "all of the broken one's to be dead letters", func() bool { return p.dead("webhook-").Waiting == people })
	letters := p.dead("webhook-").Letters
	if l := letters[0]; l.Tries != tries || !strings.Contains(l.Reason, "500 Internal Server Error") || !strings.Contains(l.Subject, "change of p") {
		t.Errorf("a dead letter says %+v", l)
	}

	p.restart() // with deliveries to the hung one under way
	letGo()
	testutil.WaitFor(t, "the hung one to have heard all", func() bool { return len(hung.heard()) == people })

	broken.set(nil)
	for _, id := range []string{"1", "2"} { // one by one, and then the rest
		p.redrive("id=" + id)
	}
	testutil.WaitFor(t, "two of the broken one's to be back", func() bool { return len(broken.heard()) == 2 })
	p.redrive("queue=" + p.dead("webhook-").Queue)
	testutil.WaitFor(t, "the broken one to have heard all", func() bool { return len(broken.heard()) == people })
	testutil.WaitFor(t, "no dead letter to be left", func() bool { return p.dead("webhook-").Waiting == 0 })
	for i, r := range all {
		if r.forged > 0 {
			t.Errorf("endpoint %d got %d deliveries that are not signed as they should be", i, r.forged)
		}
	}
}

// TestWebhookRetryAfter: an endpoint that says when it wants to be tried again is not tried before.
func TestWebhookRetryAfter(t *testing.T) {
	r := newReceiver(t)
	dir := t.TempDir()
	secret, err := local.WebhookSecret(dir, r.URL)
	if err != nil {
		t.Fatal(err)
	}
	r.secret, _ = base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	var first, second time.Time
	r.set(func(w http.ResponseWriter, _ *http.Request) bool {
		if first.IsZero() {
			first = time.Now()
			w.Header().Set("Retry-After", "3")
			w.WriteHeader(http.StatusTooManyRequests)
			return false
		}
		second = time.Now()
		return true
	})
	p := startPipeline(t, func(c *local.Config) { c.Dir, c.Webhooks = dir, []string{r.URL} })
	p.put("uploads/a.csv", []byte("person,flavor\nandy,lemon\n"), nil)
	testutil.WaitFor(t, "the change to be delivered", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.tries == 2
	})
	if wait := second.Sub(first); wait < 3*time.Second {
		t.Errorf("tried again after %s", wait)
	}
}

// dead gives the dead letters of the queue whose name begins so and that has some; the last such queue if none has.
func (p *pipeline) dead(prefix string) (found operator.DeadQueue) {
	p.t.Helper()
	var queues []operator.DeadQueue
	p.control(http.MethodGet, "", &queues)
	for _, q := range queues {
		if strings.HasPrefix(q.Queue, prefix) && (q.Waiting > 0 || found.Waiting == 0) {
			found = q
		}
	}
	return found
}

func (p *pipeline) redrive(query string) {
	p.t.Helper()
	var r operator.RedriveResult
	if p.control(http.MethodPost, query, &r); len(r.Failures) > 0 || r.Restored == 0 {
		p.t.Errorf("redriving %s: %+v", query, r)
	}
}

func (p *pipeline) control(method, query string, answer any) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.Info().API+control.Path+"?"+query, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.Info().Control)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(answer); err != nil {
		p.t.Fatalf("%s: %v", res.Status, err)
	}
}
