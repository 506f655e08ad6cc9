package test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/flavorless/flavorless/events"
)

// eventStream is one connection to GET /changes.
type eventStream struct {
	body  io.Closer
	lines *bufio.Scanner
	last  string // id
}

func (p *pipeline) follow(query, last string) *eventStream {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.Info().API+"/changes"+query, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(res.Body)
		p.t.Fatalf("GET /changes: %s %s", res.Status, body)
	}
	return &eventStream{res.Body, bufio.NewScanner(res.Body), last}
}

// next gives the next change, or false at the end of the stream.
func (s *eventStream) next(t *testing.T) (events.Change, bool) {
	t.Helper()
	for s.lines.Scan() {
		if id, ok := strings.CutPrefix(s.lines.Text(), "id: "); ok {
			s.last = id
		}
		if data, ok := strings.CutPrefix(s.lines.Text(), "data: "); ok {
			c, err := events.DecodeChange([]byte(data))
			if err != nil {
				t.Fatal(err)
			}
			return c, true
		}
	}
	return events.Change{}, false
}

// TestFollowChanges: changes reach who follows them over HTTP, who chooses, and who comes back after a restart; and the
// server's stopping waits for none of them.
func TestFollowChanges(t *testing.T) {
	p := startPipeline(t)
	all, some := p.follow("", ""), p.follow("?person=bill&kind=changed", "")
	p.put("uploads/a.csv", []byte("person,flavor\nandy,lemon\nbill,mint\n"), nil)
	p.settled("uploads/a.csv")
	p.put("uploads/b.csv", []byte("person,flavor\nandy,lemon\nbill,fudge\n"), nil)

	want := func(s *eventStream, kind events.Kind, person, flavor, previous string) {
		t.Helper()
		if c, ok := s.next(t); !ok || c.Kind != kind || c.Person != person || c.Flavor != flavor || c.Previous != previous {
			t.Fatalf("got %+v, %v", c, ok)
		}
	}
	want(all, events.Created, "andy", "lemon", "")
	want(all, events.Created, "bill", "mint", "")
	last := all.last
	want(all, events.Changed, "bill", "fudge", "mint")
	want(some, events.Changed, "bill", "fudge", "mint")

	p.restart()
	for _, s := range []*eventStream{all, some} {
		if c, ok := s.next(t); ok {
			t.Errorf("after the end: %+v", c)
		}
		s.body.Close()
	}
	again := p.follow("", last)
	want(again, events.Changed, "bill", "fudge", "mint")
	p.put("uploads/c.csv", []byte("person,flavor,action\nandy,,remove\n"), nil)
	want(again, events.Removed, "andy", "", "lemon")
	again.body.Close()
}

// TestFollowersThatHeardNothing: a client that gets no change before its connection ends comes back with what a browser would
// send, and gets each change from then on exactly once.
func TestFollowersThatHeardNothing(t *testing.T) {
	for name, c := range map[string]struct {
		query   string
		before  string // is announced before the client comes
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
			p := startPipeline(t)
			upload := func(key, text string) {
				t.Helper()
				announced := p.follow("", "")
				p.put(key, []byte(text), nil)
				p.settled(key)
				announced.next(t)
				announced.body.Close()
			}
			if c.before != "" {
				upload("uploads/before.csv", c.before)
			}
			s := p.follow(c.query, "")
			s.block(t)
			if c.restart {
				p.restart()
			}
			s.body.Close()
			upload("uploads/gap.csv", "person,flavor\ngap,lemon\n")
			s = p.follow(c.query, s.last)
			p.put("uploads/after.csv", []byte("person,flavor\nafter,lemon\n"), nil)
			for _, person := range []string{"gap", "after"} {
				if got, ok := s.next(t); !ok || got.Person != person {
					t.Fatalf("got a change of %q, %t; want one of %q", got.Person, ok, person)
				}
			}
			s.body.Close()
		})
	}
}

// block reads up to the next empty line.
func (s *eventStream) block(t *testing.T) {
	t.Helper()
	for s.lines.Scan() && s.lines.Text() != "" {
		if id, ok := strings.CutPrefix(s.lines.Text(), "id: "); ok {
			s.last = id
		}
	}
	if err := s.lines.Err(); err != nil {
		t.Fatal(err)
	}
}

// restart ends the server within the patience of a test, and starts it again on the same folder.
func (p *pipeline) restart() {
	p.t.Helper()
	if err := p.Stop(context.WithoutCancel(p.t.Context())); err != nil {
		p.t.Fatal(err)
	}
	p.start()
}
