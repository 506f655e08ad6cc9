package api_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/events"
)

// following is a client of GET /changes.
type following struct {
	*http.Response
	lines *bufio.Reader
	conn  net.Conn // set by followPipe only
}

// event is a change in the stream.
type event struct{ id, person, flavor string }

// follow opens the stream over a real connection.
func follow(t *testing.T, h *testServer, query string, headers ...string) *following {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/changes"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", h.issuer.bearer(t))
	for n := 0; n < len(headers); n += 2 {
		r.Header.Set(headers[n], headers[n+1])
	}
	res, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close(); server.CloseClientConnections() })
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		body, _ := io.ReadAll(res.Body)
		t.Fatalf("GET /changes%s: got %s %v: %s, want a stream", query, res.Status, res.Header, body)
	}
	return &following{Response: res, lines: bufio.NewReader(res.Body)}
}

// block reads fields up to an empty line.
func (f *following) block() (map[string]string, error) {
	fields := map[string]string{}
	for {
		line, err := f.lines.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if line == "\n" {
			return fields, nil
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		fields[name] = strings.TrimPrefix(value, " ")
	}
}

// next returns the next n changes. It skips other events.
func (f *following) next(t *testing.T, n int) (all []event) {
	t.Helper()
	for len(all) < n {
		fields, err := f.block()
		if err != nil {
			t.Fatalf("reading change %d: %v", len(all)+1, err)
		}
		if fields["event"] != "" {
			continue
		}
		data, some := fields["data"]
		if !some {
			continue
		}
		c, err := events.DecodeChange([]byte(data))
		if err != nil {
			t.Fatalf("DecodeChange(%s): %v", data, err)
		}
		all = append(all, event{fields["id"], c.Person, c.Flavor})
	}
	return all
}

func newChangesServer(t testing.TB, change func(*api.Config)) *testServer {
	t.Helper()
	h := newServer(t, change)
	h.store.follows = true
	h.store.announce(t, "andy", "lemon", "bill", "mint", "andy", "", "cedric", "lemon")
	return h
}

func TestChangesFollow(t *testing.T) {
	all := []event{{"1", "andy", "lemon"}, {"2", "bill", "mint"}, {"3", "andy", ""}, {"4", "cedric", "lemon"}}
	more := []string{"zoe", "lemon"}
	zoe := event{"5", "zoe", "lemon"}
	for name, c := range map[string]struct {
		query   string
		headers []string
		want    []event
	}{
		"new changes":            {"", nil, []event{zoe}},
		"since":                  {"?since=2026-11-23T08:19:00Z", nil, append(all[:4:4], zoe)},
		"reconnecting":           {"", []string{"Last-Event-ID", "2"}, append(all[2:4:4], zoe)},
		"from the beginning":     {"", []string{"Last-Event-ID", "0"}, append(all[:4:4], zoe)},
		"beginning before since": {"?since=2026-11-23T08:19:00Z", []string{"Last-Event-ID", "0"}, append(all[:4:4], zoe)},
		"position before since": {"?since=2026-11-23T08:19:00Z", []string{"Last-Event-ID", "3"},
			append(all[3:4:4], zoe)},
		"a person": {"?person=+andy&since=2000-01-01T00:00:00Z&person=zoe", nil,
			[]event{all[0], all[2], zoe}},
		"a flavor": {"?flavor=lemon&since=2000-01-01T00:00:00Z", nil, []event{all[0], all[3], zoe}},
		"a kind":   {"?kind=removed&kind=created&since=2000-01-01T00:00:00Z", nil, append(all[:4:4], zoe)},
		"a person, flavor, and kind": {"?person=andy&person=cedric&flavor=lemon&kind=created&since=2000-01-01T00:00:00Z", nil,
			[]event{all[0], all[3]}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newChangesServer(t, nil)
			f := follow(t, h, c.query, c.headers...)
			h.store.announce(t, more...)
			if diff := cmp.Diff(c.want, f.next(t, len(c.want)), cmp.AllowUnexported(event{})); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

func TestChangesBadRequests(t *testing.T) {
	names := strings.Repeat("person=a&", 101)
	for query, detail := range map[string]string{
		"?kind=changed&kind=gone": "kind must be created, changed or removed",
		"?person=":                "person",
		"?flavor=%FF":             "flavor is not UTF-8",
		"?since=yesterday":        "RFC 3339",
		"?since=":                 "RFC 3339",
		"?since=2026-11-23T08:19:00Z&since=2026-11-23T08:19:00Z": "more than once",
		"?who=andy": "since, person, flavor, kind",
		"?" + names: "100 times",
	} {
		h := newChangesServer(t, nil)
		if a := h.get(t, "/changes"+query).wantStatus(t, 400); !strings.Contains(a.body, detail) {
			t.Errorf("%s: body = %s, want it to contain %q", query, a.body, detail)
		}
	}
	h := newChangesServer(t, nil)
	for _, id := range []string{"x", "-0", "-1", "99999999999999999999", "1.0"} {
		h.get(t, "/changes", "Last-Event-ID", id).wantStatus(t, 400)
	}
	h.get(t, "/changes", "Last-Event-ID", "5").wantStatus(t, 410)
	h.do(t, http.MethodGet, "/changes").wantStatus(t, 401)
	h.do(t, http.MethodHead, "/changes", "Authorization", h.issuer.bearer(t)).wantStatus(t, 200)
}

// TestChangesMaxFollowers checks that the number of followers is limited, and that a request frees its slot however it
// ends.
func TestChangesMaxFollowers(t *testing.T) {
	h := newChangesServer(t, func(c *api.Config) { c.MaxFollowers = 1 })
	h.store.panics = "broken"
	h.get(t, "/changes").wantStatus(t, 500)
	h.store.panics = nil
	h.get(t, "/changes", "Last-Event-ID", "9").wantStatus(t, 410)
	f := follow(t, h, "")
	h.get(t, "/changes").wantStatus(t, 503).wantHeader(t, "Retry-After", strconv.Itoa(api.RetryAfter))
	h.get(t, "/team").wantStatus(t, 200) // other routes are not limited
	f.Body.Close()
	h.store.mu.Lock()
	h.store.follows = false
	h.store.mu.Unlock()
	for end := time.Now().Add(3 * time.Minute); ; { // until the server notices
		if a := h.get(t, "/changes"); a.status == 200 {
			break
		} else if time.Now().After(end) {
			t.Fatalf("status = %d three minutes after the only follower disconnected, want 200", a.status)
		}
	}
}

// TestChangesBeginWithPosition checks that a stream begins with the position before its first change, so that a client
// that is disconnected before it receives a change can resume there.
func TestChangesBeginWithPosition(t *testing.T) {
	for name, c := range map[string]struct {
		announced, headers []string
		query, position    string
	}{
		"nothing announced":  {nil, nil, "", "0"},
		"now":                {[]string{"andy", "lemon", "bill", "mint"}, nil, "", "2"},
		"since":              {[]string{"andy", "lemon", "bill", "mint"}, nil, "?since=2026-11-23T08:19:00Z", "0"},
		"reconnecting":       {[]string{"andy", "lemon", "bill", "mint"}, []string{"Last-Event-ID", "1"}, "", "1"},
		"from the beginning": {[]string{"andy", "lemon", "bill", "mint"}, []string{"Last-Event-ID", "0"}, "", "0"},
		"other people":       {[]string{"andy", "lemon", "bill", "mint"}, nil, "?person=zoe", "2"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newServer(t, nil)
			h.store.follows = true
			h.store.announce(t, c.announced...)
			f := follow(t, h, c.query, c.headers...)
			got, err := f.block()
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]string{"retry": "2000", "event": "position", "id": c.position, "data": ""}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("first event (-want +got):\n%s", diff)
			}
		})
	}
}

// TestChangesHeartbeatAndExpiry checks that heartbeats have the current position, even after changes that the filter
// excludes, and that the stream ends when the token expires.
func TestChangesHeartbeatAndExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newServer(t, nil)
		h.store.follows = true
		began := time.Now()
		f := followPipe(t, h, "?person=andy")
		want := func(fields map[string]string) {
			t.Helper()
			got, err := f.block()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(fields, got); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
		}
		want(map[string]string{"retry": "2000", "event": "position", "id": "0", "data": ""})
		want(map[string]string{"event": "position", "id": "0", "data": ""})
		if d := time.Since(began); d != 15*time.Second {
			t.Errorf("first heartbeat after %s, want 15s", d)
		}
		h.store.announce(t, "bill", "mint")
		want(map[string]string{"event": "position", "id": "1", "data": ""})
		if _, err := io.Copy(io.Discard, f.lines); err != nil {
			t.Errorf("end of the stream: %v, want EOF", err)
		}
		if d := time.Since(began); d != time.Hour {
			t.Errorf("stream ended after %s, want 1h, when the token expires", d)
		}
	})
}

// TestChangesSlowFollower checks that a follower that does not read is disconnected and does not delay others.
func TestChangesSlowFollower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// No heartbeats: one would block on a mutex, and a goroutine that does so stops the clock of the bubble.
		h := newServer(t, func(c *api.Config) { c.Heartbeat = 24 * time.Hour })
		h.store.follows = true
		slow, quick := followPipe(t, h, ""), followPipe(t, h, "")
		began := time.Now()
		for range 1000 {
			h.store.announce(t, strings.Repeat("a long name", 20), "lemon")
		}
		if got := quick.next(t, 1000); got[999].id != "1000" {
			t.Errorf("last event = %+v, want id 1000", got[999])
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("the quick follower was delayed by %s, want 0", d)
		}
		time.Sleep(31 * time.Second) // of the bubble: longer than writeTimeout
		n := 0
		for ; ; n++ { // events in buffers
			if _, err := slow.block(); err != nil {
				break
			}
		}
		if n > 100 {
			t.Errorf("%d events were sent to the slow follower, want at most 100", n)
		}
		quick.conn.Close()
	})
}

// followPipe opens the stream over an unbuffered pipe, which works in a bubble of testing/synctest.
func followPipe(t *testing.T, h *testServer, query string) *following {
	t.Helper()
	client, conn := net.Pipe()
	server := &http.Server{Handler: h, ReadTimeout: time.Second, WriteTimeout: time.Second}
	go server.Serve(&once{conn: conn, done: make(chan struct{})}) //nolint:errcheck // it ends with the test
	t.Cleanup(func() { client.Close(); server.Close() })
	go func() {
		_, _ = io.WriteString(client, "GET /changes"+query+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+
			"Authorization: "+h.issuer.bearer(t)+"\r\n\r\n")
	}()
	res, err := http.ReadResponse(bufio.NewReaderSize(client, 16), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &following{res, bufio.NewReader(res.Body), client}
}

// once is a listener that accepts conn and nothing else.
type once struct {
	conn net.Conn
	done chan struct{}
	stop sync.Once
}

func (o *once) Accept() (net.Conn, error) {
	if c := o.conn; c != nil {
		o.conn = nil
		return c, nil
	}
	<-o.done
	return nil, net.ErrClosed
}

func (o *once) Close() error   { o.stop.Do(func() { close(o.done) }); return nil }
func (o *once) Addr() net.Addr { return &net.TCPAddr{} }
