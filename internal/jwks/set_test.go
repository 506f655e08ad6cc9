package jwks_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flavorless/flavorless/internal/jwks"
	"github.com/flavorless/flavorless/internal/jwks/jwkstest"
)

// testSet runs a subtest with a set of an issuer that publishes the key "a", in a bubble of testing/synctest.
func testSet(t *testing.T, name string, change func(*jwks.Config), f func(*testing.T, *issuer, *jwks.Set)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			remote := &issuer{}
			remote.Publish(ecKey(t, "a"))
			f(t, remote, newSet(t, remote, change))
		})
	})
}

func TestKnownKeys(t *testing.T) {
	refreshWait := func(c *jwks.Config) { c.RefreshWait = time.Second }
	testSet(t, "one fetch serves all until MaxAge", nil, func(t *testing.T, remote *issuer, set *jwks.Set) {
		for range 100 {
			wantKey(t, set, "a", "ES256", nil)
		}
		time.Sleep(10*time.Minute - 1)
		wantKey(t, set, "a", "ES256", nil)
		synctest.Wait()
		wantFetches(t, remote, 1)
	})
	testSet(t, "many first callers share one fetch", nil, func(t *testing.T, remote *issuer, set *jwks.Set) {
		remote.RespondWith(after(time.Second, nil))
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { wantKey(t, set, "a", "ES256", nil) })
		}
		all.Wait()
		wantFetches(t, remote, 1)
	})
	testSet(t, "a due refresh is not waited for", nil, func(t *testing.T, remote *issuer, set *jwks.Set) {
		wantKey(t, set, "a", "ES256", nil)
		remote.RespondWith(after(2*time.Second, nil))
		time.Sleep(10 * time.Minute)
		start := time.Now()
		for range 10 {
			wantKey(t, set, "a", "ES256", nil)
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("a known key took %s, want no wait", waited)
		}
		synctest.Wait()
		wantFetches(t, remote, 2)
		time.Sleep(5 * time.Second)
	})
	testSet(t, "a refresh removes a withdrawn key", nil, func(t *testing.T, remote *issuer, set *jwks.Set) {
		a, b := ecKey(t, "a"), ecKey(t, "b")
		remote.Publish(a, b)
		wantKey(t, set, "a", "ES256", nil)
		remote.Publish(b)
		time.Sleep(10 * time.Minute)
		wantKey(t, set, "b", "ES256", nil) // starts the refresh
		synctest.Wait()
		wantKey(t, set, "a", "ES256", jwks.ErrUnknownKey)
	})
	testSet(t, "RefreshWait removes a withdrawn key", refreshWait, func(t *testing.T, remote *issuer, set *jwks.Set) {
		remote.RespondWith(after(100*time.Millisecond, nil))
		remote.Publish(ecKey(t, "a"), ecKey(t, "b"))
		wantKey(t, set, "a", "ES256", nil)
		remote.Publish(ecKey(t, "b"))
		time.Sleep(10 * time.Minute)
		wantKey(t, set, "a", "ES256", jwks.ErrUnknownKey)
	})
	testSet(t, "RefreshWait is limited", refreshWait, func(t *testing.T, remote *issuer, set *jwks.Set) {
		wantKey(t, set, "a", "ES256", nil)
		remote.RespondWith(after(time.Hour, nil))
		time.Sleep(10 * time.Minute)
		start := time.Now()
		wantKey(t, set, "a", "ES256", nil)
		if waited := time.Since(start); waited != time.Second {
			t.Errorf("Key() took %s, want 1s", waited)
		}
		time.Sleep(5 * time.Second)
	})
}

func TestUnknownKeyIDs(t *testing.T) {
	for _, warm := range []bool{false, true} {
		for _, down := range []bool{false, true} {
			name := fmt.Sprintf("200 cause one fetch and delay no known key, warm=%t down=%t", warm, down)
			testSet(t, name, nil, func(t *testing.T, remote *issuer, set *jwks.Set) {
				before := 0
				if warm {
					wantKey(t, set, "a", "ES256", nil)
					before = 1
				}
				wanted := jwks.ErrUnknownKey
				remote.RespondWith(after(time.Second, nil))
				if down {
					wanted = jwks.ErrUnavailable
					remote.RespondWith(after(time.Second, jwkstest.Down))
				}
				var all sync.WaitGroup
				for n := range 100 {
					all.Go(func() { wantKey(t, set, fmt.Sprint("bad", n), "ES256", wanted) })
				}
				synctest.Wait()
				if warm {
					start := time.Now()
					wantKey(t, set, "a", "ES256", nil)
					if waited := time.Since(start); waited != 0 {
						t.Errorf("a known key took %s, want no wait", waited)
					}
				}
				all.Wait()
				for n := range 100 {
					wantKey(t, set, fmt.Sprint("worse", n), "ES256", wanted)
				}
				wantFetches(t, remote, before+1)
			})
		}
	}
	testSet(t, "a rotated key is found", nil, func(t *testing.T, remote *issuer, set *jwks.Set) {
		wantKey(t, set, "a", "ES256", nil)
		remote.Publish(ecKey(t, "new"))
		wantKey(t, set, "new", "ES256", nil)
		remote.Publish(ecKey(t, "newer"))
		wantKey(t, set, "newer", "ES256", jwks.ErrUnknownKey) // the cooldown
		time.Sleep(30 * time.Second)
		wantKey(t, set, "newer", "ES256", nil)
		wantKey(t, set, "a", "ES256", jwks.ErrUnknownKey)
		wantFetches(t, remote, 3)
	})
}

func TestOutage(t *testing.T) {
	testSet(t, "stale keys are used up to MaxStale", nil, func(t *testing.T, remote *issuer, set *jwks.Set) {
		wantKey(t, set, "a", "ES256", nil)
		remote.RespondWith(jwkstest.Down)
		time.Sleep(24*time.Hour - time.Minute)
		wantKey(t, set, "a", "ES256", nil)
		synctest.Wait()
		time.Sleep(time.Minute)
		wantKey(t, set, "a", "ES256", jwks.ErrUnavailable)
		remote.RespondWith(nil)
		time.Sleep(time.Second)
		wantKey(t, set, "a", "ES256", nil)
	})
	testSet(t, "failing refreshes keep the cooldown", nil, func(t *testing.T, remote *issuer, set *jwks.Set) {
		wantKey(t, set, "a", "ES256", nil)
		remote.RespondWith(jwkstest.Down)
		time.Sleep(10 * time.Minute)
		for range 60 { // a minute
			wantKey(t, set, "a", "ES256", nil)
			wantKey(t, set, "b", "ES256", jwks.ErrUnavailable)
			synctest.Wait()
			time.Sleep(time.Second)
		}
		wantFetches(t, remote, 1+2)
	})
	testSet(t, "without keys, fetches are retried after Retry", nil, func(t *testing.T, remote *issuer, set *jwks.Set) {
		remote.RespondWith(jwkstest.Down)
		for range 10 {
			wantKey(t, set, "a", "ES256", jwks.ErrUnavailable)
		}
		wantFetches(t, remote, 1)
		remote.RespondWith(nil)
		time.Sleep(time.Second)
		wantKey(t, set, "a", "ES256", nil)
		wantFetches(t, remote, 2)
	})
	testSet(t, "a fetch ends after Timeout", nil, func(t *testing.T, remote *issuer, set *jwks.Set) {
		remote.RespondWith(after(time.Hour, nil))
		start := time.Now()
		wantKey(t, set, "a", "ES256", jwks.ErrUnavailable)
		if waited := time.Since(start); waited != 3*time.Second {
			t.Errorf("Key() took %s, want 3s", waited)
		}
	})
	testSet(t, "a canceled caller does not cancel the fetch", nil, func(t *testing.T, remote *issuer, set *jwks.Set) {
		remote.RespondWith(after(time.Second, nil))
		ctx, cancel := context.WithCancel(context.Background())
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := set.Key(ctx, "a", "ES256"); !errors.Is(err, context.Canceled) {
				t.Errorf("got error %v, want %v", err, context.Canceled)
			}
		})
		synctest.Wait()
		all.Go(func() { wantKey(t, set, "a", "ES256", nil) })
		cancel()
		all.Wait()
		wantFetches(t, remote, 1)
	})
}
