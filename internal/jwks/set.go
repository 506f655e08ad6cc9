package jwks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Errors of Set.Key.
var (
	// ErrUnknownKey means that the issuer publishes no such key. Refuse the token.
	ErrUnknownKey = errors.New("the key set has no such key")

	// ErrAlgorithmMismatch means that the key does not support the algorithm. Refuse the token.
	ErrAlgorithmMismatch = errors.New("the key does not support the algorithm")

	// ErrAmbiguous means that no key id was given, and several keys support the algorithm. Refuse the token.
	ErrAmbiguous = errors.New("no key id is given, and several keys support the algorithm")

	// ErrUnavailable means that the keys could not be fetched, so the token can't be checked. Retry later.
	ErrUnavailable = errors.New("the key set is unavailable")
)

// Timing of a Set.
const (
	MaxAge   = 10 * time.Minute // age of the keys from which their use starts a refresh
	MaxStale = 24 * time.Hour   // age up to which keys are used if refreshes fail
	Cooldown = 30 * time.Second // pause between fetches for unknown key ids, and after a failed refresh
	Retry    = time.Second      // pause after a failed fetch if there are no usable keys
)

// Limits of a key set.
const (
	maxBytes = 256 << 10 // decompressed
	maxKeys  = 100
)

// Config configures a Set. URI is required.
type Config struct {
	URI    string       // of the key set: https, or http on the loopback interface
	Client *http.Client // default: http.DefaultTransport; its CheckRedirect is replaced

	Timeout     time.Duration // of one fetch; default: 3 seconds
	RefreshWait time.Duration // how long a known key waits for a refresh that is due; default: not at all

	Clock   func() time.Time // default: time.Now
	Logger  *slog.Logger     // default: no logs
	Observe func(err error)  // called with the result of each fetch; may be nil
}

// Set is a cached key set. It is safe for concurrent use, does not fetch before it is first used, and need not be
// closed.
//
// Set RefreshWait where no code runs between requests: a Lambda function is frozen as soon as it has responded, and so
// is a fetch in the background.
type Set struct {
	config  Config
	client  *http.Client
	current atomic.Pointer[snapshot] // read without mu, so that known keys never wait

	mu        sync.Mutex
	running   *pendingFetch // nil if there is none
	notBefore time.Time     // earliest time of the next fetch
	unknown   time.Time     // when an unknown key id last caused a fetch
	failed    error         // error of the last fetch; nil if it succeeded
}

// pendingFetch is a running fetch. Its err may be read once done is closed.
type pendingFetch struct {
	done chan struct{}
	err  error
}

// reason is why a fetch is needed.
type reason int

const (
	noKeys     reason = iota // there are no keys, or none younger than MaxStale
	due                      // the keys are older than MaxAge
	unknownKey               // the set has no key with that id
)

// New returns a Set. It does not fetch, because the issuer may start later than this process.
func New(config Config) (*Set, error) {
	if err := checkURI(config.URI); err != nil {
		return nil, fmt.Errorf("key set %q: %w", config.URI, err)
	}
	config.Timeout = cmp.Or(config.Timeout, 3*time.Second)
	if config.Clock == nil {
		config.Clock = time.Now
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.Observe == nil {
		config.Observe = func(error) {}
	}
	return &Set{config: config, client: secured(config.Client)}, nil
}

// Key returns the key with that id (a JWS "kid") to verify a signature of that algorithm (a JWS "alg"). If the id is
// empty, it returns the only key that supports the algorithm. It fails with one of this package's errors, or with that
// of ctx if that ends while Key waits for a fetch.
func (s *Set) Key(ctx context.Context, id, alg string) (Key, error) {
	now := s.config.Clock()
	known := s.current.Load()

	if !known.youngerThan(MaxStale, now) {
		if err := s.refresh(ctx, noKeys, now); err != nil {
			return Key{}, err
		}
		known = s.current.Load()
		key, err := known.find(id, alg)
		if errors.Is(err, ErrUnknownKey) {
			s.startCooldown(now) // that fetch looked for this key, too
		}
		return key, err
	}
	if !known.youngerThan(MaxAge, now) {
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

// refresh waits for a fetch, which it starts if none is running. It returns nil if the fetch succeeds, or if it is too
// early for a fetch and the last one succeeded.
func (s *Set) refresh(ctx context.Context, why reason, now time.Time) error {
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

// lastFailure returns the result of refresh when it is too early for a fetch: the error of the last fetch. While the
// issuer does not respond, a token with an unknown key id may be valid, so it must not be refused.
func (s *Set) lastFailure(why reason, now time.Time) error {
	if why == noKeys && s.current.Load().youngerThan(MaxStale, now) {
		return nil // the fetch of another caller has just succeeded
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// begin returns the running fetch, or starts one. It returns nil if it is too early or unnecessary.
func (s *Set) begin(why reason, now time.Time) *pendingFetch {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		if now.Before(s.notBefore) {
			return nil
		}
		switch why {
		case unknownKey:
			if now.Before(s.unknown.Add(Cooldown)) {
				return nil
			}
		case noKeys:
			if s.current.Load().youngerThan(MaxStale, now) {
				return nil
			}
		case due:
			if s.current.Load().youngerThan(MaxAge, now) {
				return nil
			}
		}
		s.running = &pendingFetch{done: make(chan struct{})}
		go s.run(s.running, now)
	}
	if why == unknownKey {
		s.unknown = now
	}
	return s.running
}

// startCooldown delays the next fetch for an unknown key id.
func (s *Set) startCooldown(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unknown = now
}

// run fetches the keys. It does not use the context of the caller that started it, because other callers wait, too.
func (s *Set) run(f *pendingFetch, started time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), s.config.Timeout)
	defer cancel()
	keys, skipped, err := s.fetch(ctx)
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
	s.config.Observe(err)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed, s.notBefore = f.err, time.Time{}
	switch {
	case err == nil:
		s.current.Store(&snapshot{fetched: started, keys: keys})
	case s.current.Load().youngerThan(MaxStale, now):
		s.notBefore = now.Add(Cooldown)
	default:
		s.notBefore = now.Add(Retry)
	}
	s.running = nil
	close(f.done)
}
