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

// store is a table and a ledger in memory.
type store struct {
	mu        sync.Mutex
	favorites map[string]events.Favorite
	uploads   []events.Upload // newest first
	err       error           // of every call
	panics    any             // likewise
	calls     int

	log     []events.LoggedChange
	arrived chan struct{} // in the log; closed and made anew
	follows bool          // readers of the log wait for more
}

func (s *store) enter() error {
	s.calls++
	if s.panics != nil {
		panic(s.panics)
	}
	return s.err
}

// Team gives a page of the people.
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

// Lookup gives one favorite.
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

// Uploads gives a page of the ledger.
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

// Upload gives one upload.
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

// Changes returns the log from a position on.
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
			log, arrived, follows := s.log[next:], s.arrived, s.follows
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
			case <-arrived:
			case <-ctx.Done():
				return
			}
		}
	}, nil
}

// announce adds to the log: persons and what they like now.
func (s *store) announce(t testing.TB, favorites ...string) {
	t.Helper()
	origin, err := object().Origin()
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := 0; n < len(favorites); n += 2 {
		place := uint64(len(s.log) + 1)
		c, changed := events.NewChange(favorites[n], "", favorites[n+1], origin.At(int64(place)))
		if !changed {
			c, _ = events.NewChange(favorites[n], "vanilla", "", origin.At(int64(place)))
		}
		s.log = append(s.log, events.LoggedChange{Sequence: place, Message: c.Message()})
	}
	close(s.arrived)
	s.arrived = make(chan struct{})
}

// object is where the favorites of these tests come from.
func object() events.Object {
	return events.Object{
		Bucket: "inbox", Key: "team.csv", ETag: "d41d8cd98f00b204e9800998ecf8427e", Sequencer: "0055aed6dcd90281e5",
		Size: 179, Time: time.Date(2026, 11, 23, 8, 19, 0, 123e6, time.UTC),
	}
}

func (s *store) set(t testing.TB, favorites ...string) {
	t.Helper()
	origin, err := object().Origin()
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := 0; n < len(favorites); n += 2 {
		s.favorites[favorites[n]] = events.Favorite{Person: favorites[n], Flavor: favorites[n+1], Version: origin.At(int64(n))}
	}
}

// home is an API with all that it needs.
type home struct {
	http.Handler
	store  *store
	issuer *issuer
	clock  *clock
	log    *bytes.Buffer
}

// newHome has the talk's team, and no uploads.
func newHome(t testing.TB, change func(*api.Config)) *home {
	t.Helper()
	h := &home{store: &store{favorites: map[string]events.Favorite{}, arrived: make(chan struct{})}, clock: newClock(), log: new(bytes.Buffer)}
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

// answer is what came back, decompressed.
type answer struct {
	status int
	header http.Header
	body   string
}

// get asks with a good token; headers are pairs of name and value. Like all requests of these tests, it holds the
// answer against the OpenAPI document.
func (h *home) get(t testing.TB, target string, headers ...string) answer {
	t.Helper()
	return h.do(t, http.MethodGet, target, append([]string{"Authorization", h.issuer.bearer(t)}, headers...)...)
}

// do asks without a token unless the headers have one.
func (h *home) do(t testing.TB, method, target string, headers ...string) answer {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for n := 0; n < len(headers); n += 2 {
		r.Header.Add(headers[n], headers[n+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	a := answer{status: w.Code, header: w.Header(), body: w.Body.String()}
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

// wantStatus ends the test if the answer has another one.
func (a answer) wantStatus(t testing.TB, status int) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("got status %d, want %d; body: %s", a.status, status, a.body)
	}
	return a
}

// wantHeader compares one header.
func (a answer) wantHeader(t testing.TB, name, value string) answer {
	t.Helper()
	if got := a.header.Get(name); got != value {
		t.Errorf("got %s %q, want %q", name, got, value)
	}
	return a
}
