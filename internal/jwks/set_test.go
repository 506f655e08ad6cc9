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
)

func TestKnownKeys(t *testing.T) {
	t.Run("one fetch serves all until MaxAge", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			remote := &issuer{}
			remote.publish(t, ecKey(t, "a"))
			set := newSet(t, remote, nil)
			for range 100 {
				wantKey(t, set, "a", "ES256", nil)
			}
			time.Sleep(10*time.Minute - 1)
			wantKey(t, set, "a", "ES256", nil)
			synctest.Wait()
			wantFetches(t, remote, 1)
		})
	})
	t.Run("many first callers share one fetch", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			remote := &issuer{delay: time.Second}
			remote.publish(t, ecKey(t, "a"))
			set := newSet(t, remote, nil)
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() { wantKey(t, set, "a", "ES256", nil) })
			}
			all.Wait()
			wantFetches(t, remote, 1)
		})
	})
	t.Run("a due refresh is not waited for", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			remote := &issuer{}
			remote.publish(t, ecKey(t, "a"))
			set := newSet(t, remote, nil)
			wantKey(t, set, "a", "ES256", nil)
			remote.set(func(i *issuer) { i.delay = 2 * time.Second })
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
	})
	t.Run("a refresh removes a withdrawn key", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			remote := &issuer{}
			a, b := ecKey(t, "a"), ecKey(t, "b")
			remote.publish(t, a, b)
			set := newSet(t, remote, nil)
			wantKey(t, set, "a", "ES256", nil)
			remote.publish(t, b)
			time.Sleep(10 * time.Minute)
			wantKey(t, set, "b", "ES256", nil) // starts the refresh
			synctest.Wait()
			wantKey(t, set, "a", "ES256", jwks.ErrUnknownKey)
		})
	})
	t.Run("RefreshWait removes a withdrawn key at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			remote := &issuer{delay: 100 * time.Millisecond}
			remote.publish(t, ecKey(t, "a"), ecKey(t, "b"))
			set := newSet(t, remote, func(c *jwks.Config) { c.RefreshWait = time.Second })
			wantKey(t, set, "a", "ES256", nil)
			remote.publish(t, ecKey(t, "b"))
			time.Sleep(10 * time.Minute)
			wantKey(t, set, "a", "ES256", jwks.ErrUnknownKey)
		})
	})
	t.Run("RefreshWait is limited", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			remote := &issuer{}
			remote.publish(t, ecKey(t, "a"))
			set := newSet(t, remote, func(c *jwks.Config) { c.RefreshWait = time.Second })
			wantKey(t, set, "a", "ES256", nil)
			remote.set(func(i *issuer) { i.delay = time.Hour })
			time.Sleep(10 * time.Minute)
			start := time.Now()
			wantKey(t, set, "a", "ES256", nil)
			if waited := time.Since(start); waited != time.Second {
				t.Errorf("Key() took %s, want 1s", waited)
			}
			time.Sleep(5 * time.Second)
		})
	})
}

func TestUnknownKeyIDs(t *testing.T) {
	for _, warm := range []bool{false, true} {
		for _, down := range []bool{false, true} {
			t.Run(fmt.Sprintf("200 cause one fetch and delay no known key, warm=%t down=%t", warm, down), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					remote := &issuer{}
					remote.publish(t, ecKey(t, "good"))
					set := newSet(t, remote, nil)
					before := 0
					if warm {
						wantKey(t, set, "good", "ES256", nil)
						before = 1
					}
					remote.set(func(i *issuer) { i.delay, i.down = time.Second, down })
					wanted := jwks.ErrUnknownKey
					if down {
						wanted = jwks.ErrUnavailable
					}
					var all sync.WaitGroup
					for n := range 100 {
						all.Go(func() { wantKey(t, set, fmt.Sprint("bad", n), "ES256", wanted) })
					}
					synctest.Wait()
					if warm {
						start := time.Now()
						wantKey(t, set, "good", "ES256", nil)
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
			})
		}
	}
	t.Run("a rotated key is found", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			remote := &issuer{}
			remote.publish(t, ecKey(t, "old"))
			set := newSet(t, remote, nil)
			wantKey(t, set, "old", "ES256", nil)
			remote.publish(t, ecKey(t, "new"))
			wantKey(t, set, "new", "ES256", nil)
			remote.publish(t, ecKey(t, "newer"))
			wantKey(t, set, "newer", "ES256", jwks.ErrUnknownKey) // the cooldown
			time.Sleep(30 * time.Second)
			wantKey(t, set, "newer", "ES256", nil)
			wantKey(t, set, "old", "ES256", jwks.ErrUnknownKey)
			wantFetches(t, remote, 3)
		})
	})
}

func TestOutage(t *testing.T) {
	t.Run("stale keys are used up to MaxStale", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			remote := &issuer{}
			remote.publish(t, ecKey(t, "a"))
			set := newSet(t, remote, nil)
			wantKey(t, set, "a", "ES256", nil)
			remote.set(func(i *issuer) { i.down = true })
			time.Sleep(24*time.Hour - time.Minute)
			wantKey(t, set, "a", "ES256", nil)
			synctest.Wait()
			time.Sleep(time.Minute)
			wantKey(t, set, "a", "ES256", jwks.ErrUnavailable)
			remote.set(func(i *issuer) { i.down = false })
			time.Sleep(time.Second)
			wantKey(t, set, "a", "ES256", nil)
		})
	})
	t.Run("failing refreshes keep the cooldown", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			remote := &issuer{}
			remote.publish(t, ecKey(t, "a"))
			set := newSet(t, remote, nil)
			wantKey(t, set, "a", "ES256", nil)
			remote.set(func(i *issuer) { i.down = true })
			time.Sleep(10 * time.Minute)
			for range 60 { // a minute
				wantKey(t, set, "a", "ES256", nil)
				wantKey(t, set, "b", "ES256", jwks.ErrUnavailable)
				synctest.Wait()
				time.Sleep(time.Second)
			}
			wantFetches(t, remote, 1+2)
		})
	})
	t.Run("without keys, a failed fetch is retried after Retry", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			remote := &issuer{down: true}
			remote.publish(t, ecKey(t, "a"))
			set := newSet(t, remote, nil)
			for range 10 {
				wantKey(t, set, "a", "ES256", jwks.ErrUnavailable)
			}
			wantFetches(t, remote, 1)
			remote.set(func(i *issuer) { i.down = false })
			time.Sleep(time.Second)
			wantKey(t, set, "a", "ES256", nil)
			wantFetches(t, remote, 2)
		})
	})
	t.Run("a fetch ends after Timeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			remote := &issuer{delay: time.Hour}
			set := newSet(t, remote, nil)
			start := time.Now()
			wantKey(t, set, "a", "ES256", jwks.ErrUnavailable)
			if waited := time.Since(start); waited != 3*time.Second {
				t.Errorf("Key() took %s, want 3s", waited)
			}
		})
	})
	t.Run("a caller that gives up does not cancel the shared fetch", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			remote := &issuer{delay: time.Second}
			remote.publish(t, ecKey(t, "a"))
			set := newSet(t, remote, nil)
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
	})
}
