// Package fakeaws implements as much of S3, SNS and DynamoDB as flavorless uses, and counts what Amazon would bill.
// It is for benchmarks, in which DynamoDB Local would take hours for a million rows, and for tests with a virtual
// clock. It keeps everything in memory and checks no credentials. A fake of [NewLimited] throttles as a new table
// does.
package fakeaws

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
)

// Counts are the requests since the counts were last taken.
type Counts struct {
	Calls map[string]Call  // by operation, such as "BatchGetItem"
	Units map[string]Units // by table
}

// Call counts the requests of one operation.
type Call struct {
	Requests int
	Entries  int // messages, keys, statements or items; 0 if a request has only one
	Bytes    int // size of messages with their attributes
	Billed   int // publish requests that SNS bills: one for each 64 KB
}

// Units are capacity units of one table.
type Units struct {
	Read, Write float64
	Index       float64 // write units of its indexes
	Streamed    int     // writes that changed an item, each of which is a record of the stream
	Throttled   int     // reads and writes that were throttled
}

// Server is the fake. In addition to the services, GET /counts returns and resets the counts as JSON, and GET /messages
// returns and removes the published messages as a JSON array of strings.
type Server struct {
	mu       sync.Mutex
	tables   map[string]*table
	objects  map[string][]byte
	parts    map[string][]byte // of unfinished uploads, by path
	messages []string
	counts   Counts
}

// New returns a fake with the empty tables favorites, uploads and comparisons, with the keys and the index of the
// deployment.
func New() *Server {
	s := &Server{objects: map[string][]byte{}, parts: map[string][]byte{}, tables: map[string]*table{
		"favorites":   {name: "favorites", keys: []string{"shard", "person"}, items: map[string]item{}},
		"uploads":     {name: "uploads", keys: []string{"id"}, index: []string{"list", "origin"}, items: map[string]item{}},
		"comparisons": {name: "comparisons", keys: []string{"list", "origin"}, items: map[string]item{}},
	}}
	s.take()
	return s
}

// take returns and resets the counts. The caller holds the lock, or is the only user.
func (s *Server) take() Counts {
	taken := s.counts
	s.counts = Counts{Calls: map[string]Call{}, Units: map[string]Units{}}
	return taken
}

// Counts returns and resets the counts.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.take()
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, operation, dynamo := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	switch {
	case dynamo:
		s.dynamo(w, operation, body)
	case r.URL.Path == "/counts":
		s.reply(w, s.Counts())
	case r.URL.Path == "/messages":
		s.mu.Lock()
		messages := s.messages
		s.messages = nil
		s.mu.Unlock()
		s.reply(w, messages)
	case r.Method == http.MethodPost && r.URL.Path == "/":
		s.publish(w, body)
	default:
		s.object(w, r, body)
	}
}

func (s *Server) reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.MarshalWrite(w, v) // fails if the client has gone
}

// call counts one request. The caller holds the lock.
func (s *Server) call(operation string, entries, bytes, billed int) {
	c := s.counts.Calls[operation]
	s.counts.Calls[operation] = Call{c.Requests + 1, c.Entries + entries, c.Bytes + bytes, c.Billed + billed}
}

// Add returns the sum of two counts.
func (c Counts) Add(more Counts) Counts {
	sum := Counts{Calls: map[string]Call{}, Units: map[string]Units{}}
	maps.Copy(sum.Calls, c.Calls)
	maps.Copy(sum.Units, c.Units)
	for name, m := range more.Calls {
		a := sum.Calls[name]
		sum.Calls[name] = Call{a.Requests + m.Requests, a.Entries + m.Entries, a.Bytes + m.Bytes, a.Billed + m.Billed}
	}
	for name, m := range more.Units {
		a := sum.Units[name]
		sum.Units[name] = Units{a.Read + m.Read, a.Write + m.Write, a.Index + m.Index, a.Streamed + m.Streamed,
			a.Throttled + m.Throttled}
	}
	return sum
}

func (c Call) String() string { return fmt.Sprintf("%d (%d entries)", c.Requests, c.Entries) }
