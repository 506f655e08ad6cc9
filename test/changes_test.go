package test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/flavorless/flavorless/events"
)

// eventStream is a connection to GET /changes.
type eventStream struct {
	body  io.Closer
	lines *bufio.Scanner
	last  string // the last event id
}

// follow opens a connection to GET /changes. Last is a Last-Event-ID, or empty.
func (s *testServer) follow(query, last string) *eventStream {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.Info().API+"/changes"+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(res.Body)
		s.t.Fatalf("GET /changes: %s: %s", res.Status, body)
	}
	return &eventStream{res.Body, bufio.NewScanner(res.Body), last}
}

// next returns the next change, or false at the end of the stream.
func (e *eventStream) next(t *testing.T) (events.Change, bool) {
	t.Helper()
	for e.lines.Scan() {
		if id, ok := strings.CutPrefix(e.lines.Text(), "id: "); ok {
			e.last = id
		}
		if data, ok := strings.CutPrefix(e.lines.Text(), "data: "); ok {
			c, err := events.DecodeChange([]byte(data))
			if err != nil {
				t.Fatal(err)
			}
			return c, true
		}
	}
	return events.Change{}, false
}

// skipBlock reads up to the next empty line.
func (e *eventStream) skipBlock(t *testing.T) {
	t.Helper()
	for e.lines.Scan() && e.lines.Text() != "" {
		if id, ok := strings.CutPrefix(e.lines.Text(), "id: "); ok {
			e.last = id
		}
	}
	if err := e.lines.Err(); err != nil {
		t.Fatal(err)
	}
}

// TestFollowChanges checks that changes reach clients that follow all of them over HTTP, that filter them, and that
// reconnect after a restart, and that stopping the server does not wait for clients.
func TestFollowChanges(t *testing.T) {
	s := startServer(t)
	all, some := s.follow("", ""), s.follow("?person=bill&kind=changed", "")
	s.put("uploads/a.csv", []byte("person,flavor\nandy,lemon\nbill,mint\n"), nil)
	s.settled("uploads/a.csv")
	s.put("uploads/b.csv", []byte("person,flavor\nandy,lemon\nbill,fudge\n"), nil)

	expect := func(e *eventStream, kind events.Kind, person, flavor, previous string) {
		t.Helper()
		got, ok := e.next(t)
		want := events.Change{Kind: kind, Person: person, Flavor: flavor, Previous: previous, Version: got.Version}
		if !ok || got != want {
			t.Fatalf("next change = %+v, %t; want %+v", got, ok, want)
		}
	}
	expect(all, events.Created, "andy", "lemon", "")
	expect(all, events.Created, "bill", "mint", "")
	last := all.last
	expect(all, events.Changed, "bill", "fudge", "mint")
	expect(some, events.Changed, "bill", "fudge", "mint")

	s.restart()
	for _, e := range []*eventStream{all, some} {
		if c, ok := e.next(t); ok {
			t.Errorf("got the change %+v after the server was stopped", c)
		}
		e.body.Close()
	}
	again := s.follow("", last)
	expect(again, events.Changed, "bill", "fudge", "mint")
	s.put("uploads/c.csv", []byte("person,flavor,action\nandy,,remove\n"), nil)
	expect(again, events.Removed, "andy", "", "lemon")
	again.body.Close()
}

// TestFollowersThatHeardNothing checks a client whose connection ends before it gets a change. It reconnects with
// what a browser would send, and must get each change from then on exactly once.
func TestFollowersThatHeardNothing(t *testing.T) {
	for name, c := range map[string]struct {
		query   string
		before  string // is announced before the client connects
		restart bool
	}{
		"restart, nothing announced":    {"", "", true},
		"restart":                       {"", "person,flavor\nandy,lemon\n", true},
		"restart, one person":           {"?person=gap&person=after", "person,flavor\nandy,lemon\n", true},
		"connection, nothing announced": {"", "", false},
		"connection":                    {"", "person,flavor\nandy,lemon\n", false},
		"connection, since":             {"?kind=created&since=2100-01-01T00:00:00Z", "person,flavor\nandy,lemon\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			upload := func(key, text string) {
				t.Helper()
				announced := s.follow("", "")
				s.put(key, []byte(text), nil)
				s.settled(key)
				announced.next(t)
				announced.body.Close()
			}
			if c.before != "" {
				upload("uploads/before.csv", c.before)
			}
			e := s.follow(c.query, "")
			e.skipBlock(t)
			if c.restart {
				s.restart()
			}
			e.body.Close()
			upload("uploads/gap.csv", "person,flavor\ngap,lemon\n")
			e = s.follow(c.query, e.last)
			s.put("uploads/after.csv", []byte("person,flavor\nafter,lemon\n"), nil)
			for _, person := range []string{"gap", "after"} {
				if got, ok := e.next(t); !ok || got.Person != person {
					t.Fatalf("next change is of %q, %t; want %q", got.Person, ok, person)
				}
			}
			e.body.Close()
		})
	}
}
