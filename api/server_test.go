package api_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/compress"
)

// store is a table, an upload ledger and a log of changes in memory.
type store struct {
	mu        sync.Mutex
	favorites map[string]events.Favorite
	uploads   []events.Upload // newest first
	err       error           // returned by every call
	panics    any             // every call panics with it, unless it is nil
	calls     int

	log     []events.LoggedChange
	grown   chan struct{} // closed and replaced when the log grows
	follows bool          // whether readers of the log wait for more
}

func (s *store) enter() error {
	s.calls++
	if s.panics != nil {
		panic(s.panics)
	}
	return s.err
}

func (s *store) Team(_ context.Context, after string, limit int) ([]events.Favorite, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.enter(); err != nil {
		return nil, err
	}
	var team []events.Favorite
	for person, favorite := range s.favorites {
		if person > after {
			team = append(team, favorite)
		}
	}
	slices.SortFunc(team, func(a, b events.Favorite) int { return strings.Compare(a.Person, b.Person) })
	return team[:min(limit, len(team))], nil
}

func (s *store) Lookup(_ context.Context, person string) (events.Favorite, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.enter(); err != nil {
		return events.Favorite{}, err
	}
	favorite, ok := s.favorites[person]
	if !ok {
		return events.Favorite{}, events.ErrNotFound
	}
	return favorite, nil
}

func (s *store) Uploads(_ context.Context, before string, limit int) ([]events.Upload, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.enter(); err != nil {
		return nil, err
	}
	start := 0
	if before != "" {
		at := slices.IndexFunc(s.uploads, func(u events.Upload) bool { return u.ID == before })
		if at < 0 {
			return nil, events.ErrNotFound
		}
		start = at + 1
	}
	return s.uploads[start:min(start+limit, len(s.uploads))], nil
}

func (s *store) Upload(_ context.Context, id string) (events.Upload, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.enter(); err != nil {
		return events.Upload{}, err
	}
	for _, upload := range s.uploads {
		if upload.ID == id {
			return upload, nil
		}
	}
	return events.Upload{}, events.ErrNotFound
}

func (s *store) Changes(ctx context.Context, from events.Start) (uint64, iter.Seq2[events.LoggedChange, error], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.enter(); err != nil {
		return 0, nil, err
	}
	if from.After > uint64(len(s.log)) {
		return 0, nil, events.ErrOutOfRetention
	}
	next := int(from.After)
	if !from.HasPosition() && from.Since.IsZero() {
		next = len(s.log)
	}
	return uint64(next), func(yield func(events.LoggedChange, error) bool) {
		for {
			s.mu.Lock()
			log, grown, follows := s.log[next:], s.grown, s.follows
			s.mu.Unlock()
			for _, a := range log {
				if !yield(a, nil) {
					return
				}
			}
			if next += len(log); !follows {
				return
			}
			select {
			case <-grown:
			case <-ctx.Done():
				return
			}
		}
	}, nil
}

// announce adds changes to the log. Favorites are pairs of a person and a flavor, which is empty for a removal.
func (s *store) announce(t testing.TB, favorites ...string) {
	t.Helper()
	origin, err := object().Origin()
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := 0; n < len(favorites); n += 2 {
		sequence := uint64(len(s.log) + 1)
		c, changed := events.NewChange(favorites[n], "", favorites[n+1], origin.At(int64(sequence)))
		if !changed {
			c, _ = events.NewChange(favorites[n], "vanilla", "", origin.At(int64(sequence)))
		}
		s.log = append(s.log, events.LoggedChange{Sequence: sequence, Message: c.Message()})
	}
	close(s.grown)
	s.grown = make(chan struct{})
}

// object returns the object from which the favorites of these tests come.
func object() events.Object {
	return events.Object{
		Bucket: "inbox", Key: "team.csv", ETag: "d41d8cd98f00b204e9800998ecf8427e", Sequencer: "0055aed6dcd90281e5",
		Size: 179, Time: time.Date(2026, 11, 23, 8, 19, 0, 123e6, time.UTC),
	}
}

// set stores favorites, which are pairs of a person and a flavor.
func (s *store) set(t testing.TB, favorites ...string) {
	t.Helper()
	origin, err := object().Origin()
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := 0; n < len(favorites); n += 2 {
		person, flavor := favorites[n], favorites[n+1]
		s.favorites[person] = events.Favorite{Person: person, Flavor: flavor, Version: origin.At(int64(n))}
	}
}

// testServer is an API and its dependencies.
type testServer struct {
	http.Handler
	store  *store
	issuer *issuer
	clock  *clock
	log    *bytes.Buffer
}

// newServer returns a server with eight people and no uploads.
func newServer(t testing.TB, change func(*api.Config)) *testServer {
	t.Helper()
	h := &testServer{
		store: &store{favorites: map[string]events.Favorite{}, grown: make(chan struct{})},
		clock: newClock(), log: new(bytes.Buffer),
	}
	h.issuer = newIssuer(t, h.clock)
	h.store.set(t,
		"dan", "mint chocolate chip", "bill", "mint chocolate chip", "marija", "mint chocolate chip", "liz", "pistachio",
		"shane", "rocky road", "andy", "cookie dough", "cedric", "cookie dough", "eileen", "cookie dough",
	)
	config := api.Config{
		Favorites: h.store, Uploads: h.store, Changes: h.store, Verifier: h.issuer.newVerifier(t, nil),
		Clock: h.clock.Now, Logger: slog.New(slog.NewTextHandler(h.log, nil)),
	}
	var err error
	if config.Compress, err = compress.New(); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&config)
	}
	handler, err := api.New(config)
	if err != nil {
		t.Fatal(err)
	}
	h.Handler = handler
	return h
}

// response is a decompressed response.
type response struct {
	status int
	header http.Header
	body   string
}

// get sends a GET request with a valid token. Headers are pairs of name and value.
func (h *testServer) get(t testing.TB, target string, headers ...string) response {
	t.Helper()
	return h.do(t, http.MethodGet, target, append([]string{"Authorization", h.issuer.bearer(t)}, headers...)...)
}

// do sends a request and compares the response with the OpenAPI document. It adds no token.
func (h *testServer) do(t testing.TB, method, target string, headers ...string) response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for n := 0; n < len(headers); n += 2 {
		r.Header.Add(headers[n], headers[n+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	a := response{status: w.Code, header: w.Header(), body: w.Body.String()}
	if w.Header().Get("Content-Encoding") == "gzip" && method != http.MethodHead {
		unzipped, err := gzip.NewReader(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(unzipped)
		if err != nil {
			t.Fatal(err)
		}
		a.body = string(body)
	}
	validate(t, r, a)
	return a
}

// wantStatus ends the test if the response has another status.
func (a response) wantStatus(t testing.TB, status int) response {
	t.Helper()
	if a.status != status {
		t.Fatalf("got status %d, want %d; body: %s", a.status, status, a.body)
	}
	return a
}

// wantHeader checks one header.
func (a response) wantHeader(t testing.TB, name, value string) response {
	t.Helper()
	if got := a.header.Get(name); got != value {
		t.Errorf("got %s %q, want %q", name, got, value)
	}
	return a
}
