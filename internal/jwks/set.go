package jwks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// What Key can answer besides a key.
var (
	// ErrUnknownKey: the issuer publishes no such key, as far as is known. Refuse the token.
	ErrUnknownKey = errors.New("the key set has no such key")

	// ErrAlgorithmMismatch: there is such a key, but not for that algorithm. Refuse the token.
	ErrAlgorithmMismatch = errors.New("the key does not suit the algorithm")

	// ErrAmbiguous: no key id was given, and several keys suit. Refuse the token.
	ErrAmbiguous = errors.New("no key id, and several keys suit the algorithm")

	// ErrUnavailable: the keys can't be had at the moment, so that nothing can be said about the token. Try later.
	ErrUnavailable = errors.New("the key set is unavailable")
)

// Config of a Set. Only URI is required; a zero field takes the default named beside it.
type Config struct {
	URI    string       // of the key set: https, or http on the loopback interface
	Client *http.Client // default: http.DefaultTransport; its CheckRedirect is replaced

	MaxAge      time.Duration // 10 min: when a use of the keys starts a refresh
	MaxStale    time.Duration // 24 h: how long keys serve without a successful refresh
	Cooldown    time.Duration // 30 s: between two fetches caused by unknown key ids, and after a failed refresh
	Retry       time.Duration // 1 s: after a failed fetch when there are no keys to serve with
	Timeout     time.Duration // 3 s: of one fetch, all told
	RefreshWait time.Duration // 0: how long a known key waits for a refresh that is due

	MaxBytes int64 // 256 KiB: of a key set, decompressed
	MaxKeys  int   // 100: in a key set

	Clock   func() time.Time  // time.Now
	Logger  *slog.Logger      // default: none
	Observe func(FetchResult) // called after each fetch; default: nothing
}

// FetchResult is what Config.Observe is told.
type FetchResult struct {
	Duration time.Duration
	Keys     int   // usable ones
	Skipped  int   // unusable ones
	Err      error // nil when the keys were replaced
}

// Set is a cached key set. It is safe for concurrent use, fetches nothing until it is first asked, and needs no
// closing.
//
// RefreshWait is for homes in which nothing runs between requests: a Lambda function is frozen as soon as it has
// answered, and a background fetch with it.
type Set struct {
	config  Config
	client  *http.Client
	current atomic.Pointer[snapshot] // read without the lock: a known key waits for nobody

	mu        sync.Mutex
	running   *fetch    // nil when none is
	notBefore time.Time // no fetch starts before
	unknown   time.Time // when an unknown key id last caused a fetch
	failed    error     // how the last fetch failed; nil when it succeeded
}

// fetch is one that is running; err may be read once done is closed.
type fetch struct {
	done chan struct{}
	err  error
}

// cause is why a fetch is wanted.
type cause int

const (
	noKeys     cause = iota // none, or too old to be used
	due                     // older than MaxAge
	unknownKey              // a key id that is not in the set
)

// New checks the configuration. It does not fetch: the issuer may come up later than we do.
func New(config Config) (*Set, error) {
	if err := checkURI(config.URI); err != nil {
		return nil, fmt.Errorf("key set %q: %w", config.URI, err)
	}
	defaults := []struct {
		field *time.Duration
		value time.Duration
	}{
		{&config.MaxAge, 10 * time.Minute},
		{&config.MaxStale, 24 * time.Hour},
		{&config.Cooldown, 30 * time.Second},
		{&config.Retry, time.Second},
		{&config.Timeout, 3 * time.Second},
		{&config.RefreshWait, 0},
	}
	for _, d := range defaults {
		if *d.field < 0 {
			return nil, fmt.Errorf("key set %q: a duration is negative: %s", config.URI, *d.field)
		}
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if config.MaxStale < config.MaxAge {
		return nil, fmt.Errorf("key set %q: MaxStale %s is below MaxAge %s", config.URI, config.MaxStale, config.MaxAge)
	}
	if config.MaxBytes <= 0 {
		config.MaxBytes = 256 << 10
	}
	if config.MaxKeys <= 0 {
		config.MaxKeys = 100
	}
	if config.Clock == nil {
		config.Clock = time.Now
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.Observe == nil {
		config.Observe = func(FetchResult) {}
	}
	return &Set{config: config, client: secured(config.Client)}, nil
}

// Key gives the key of that id (a JWS "kid") for checking a signature of that algorithm (a JWS "alg"). Without an id it
// gives the one key that suits, if there is exactly one. It fails with one of this package's errors, or with that of
// ctx if that ends while it waits for a fetch.
func (s *Set) Key(ctx context.Context, id, alg string) (Key, error) {
	now := s.config.Clock()
	known := s.current.Load()

	if !known.within(s.config.MaxStale, now) {
		if err := s.refresh(ctx, noKeys, now); err != nil {
			return Key{}, err
		}
		known = s.current.Load()
		key, err := known.find(id, alg)
		if errors.Is(err, ErrUnknownKey) {
			s.noteUnknown(now) // that fetch was on its account, too: it doesn't get a second one
		}
		return key, err
	}
	if !known.within(s.config.MaxAge, now) {
		if f := s.begin(due, now); f != nil && s.config.RefreshWait > 0 {
			wait, cancel := context.WithTimeout(ctx, s.config.RefreshWait)
			defer cancel()
			select {
			case <-f.done:
			case <-wait.Done():
			}
			known = s.current.Load()
		}
	}
	key, err := known.find(id, alg)
	if !errors.Is(err, ErrUnknownKey) {
		return key, err
	}
	if err := s.refresh(ctx, unknownKey, now); err != nil {
		return Key{}, err
	}
	return s.current.Load().find(id, alg)
}

// refresh sees to it that a fetch has been tried for that cause, waiting if one is running. It fails if keys can't be
// had; it returns nil if they were, or if no fetch is due yet and the last one went well.
func (s *Set) refresh(ctx context.Context, why cause, now time.Time) error {
	f := s.begin(why, now)
	if f == nil {
		return s.lastFailure(why, now)
	}
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return fmt.Errorf("waiting for the key set: %w", ctx.Err())
	}
}

// lastFailure is what there is to say when no fetch may start. A token whose key id is unknown may be a good one of a
// rotated key as long as the issuer does not answer: that is for the issuer to say, not for us.
func (s *Set) lastFailure(why cause, now time.Time) error {
	if why == noKeys && s.current.Load().within(s.config.MaxStale, now) {
		return nil // somebody else's fetch has just ended
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// begin returns the fetch that is running, or starts one. It returns nil if it is too early for one.
func (s *Set) begin(why cause, now time.Time) *fetch {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		if now.Before(s.notBefore) {
			return nil
		}
		switch why {
		case unknownKey:
			if now.Before(s.unknown.Add(s.config.Cooldown)) {
				return nil
			}
		case noKeys:
			if s.current.Load().within(s.config.MaxStale, now) {
				return nil
			}
		case due:
			if s.current.Load().within(s.config.MaxAge, now) {
				return nil
			}
		}
		s.running = &fetch{done: make(chan struct{})}
		go s.run(s.running, now)
	}
	if why == unknownKey {
		s.unknown = now
	}
	return s.running
}

func (s *Set) noteUnknown(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unknown = now
}

// run fetches. It has a context of its own: whoever happens to be first may go away, the others still wait.
func (s *Set) run(f *fetch, started time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), s.config.Timeout)
	defer cancel()
	keys, skipped, err := s.get(ctx)
	now := s.config.Clock()

	for _, why := range skipped {
		s.config.Logger.WarnContext(ctx, "key skipped", "uri", s.config.URI, "reason", why)
	}
	if err == nil {
		s.config.Logger.DebugContext(ctx, "keys fetched", "uri", s.config.URI, "keys", len(keys))
	} else {
		s.config.Logger.WarnContext(ctx, "keys not fetched", "uri", s.config.URI, "error", err)
		f.err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	s.config.Observe(FetchResult{Duration: now.Sub(started), Keys: len(keys), Skipped: len(skipped), Err: err})

	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed, s.notBefore = f.err, time.Time{}
	switch {
	case err == nil:
		s.current.Store(&snapshot{fetched: started, keys: keys})
	case s.current.Load().within(s.config.MaxStale, now):
		s.notBefore = now.Add(s.config.Cooldown)
	default:
		s.notBefore = now.Add(s.config.Retry)
	}
	s.running = nil
	close(f.done)
}
