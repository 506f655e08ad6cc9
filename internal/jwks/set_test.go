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

// Time in these tests is that of synctest: it passes only when everybody waits.

func TestKnownKeys(t *testing.T) {
	t.Run("one fetch serves all until MaxAge", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			far := &issuer{}
			far.publish(t, ecKey(t, "a"))
			set := newSet(t, far, nil)
			for range 100 {
				want(t, set, "a", "ES256", nil)
			}
			time.Sleep(10*time.Minute - 1)
			want(t, set, "a", "ES256", nil)
			synctest.Wait()
			wantFetches(t, far, 1)
		})
	})
	t.Run("many first callers share one fetch", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			far := &issuer{takes: time.Second}
			far.publish(t, ecKey(t, "a"))
			set := newSet(t, far, nil)
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() { want(t, set, "a", "ES256", nil) })
			}
			all.Wait()
			wantFetches(t, far, 1)
		})
	})
	t.Run("a due refresh is not waited for", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			far := &issuer{}
			far.publish(t, ecKey(t, "a"))
			set := newSet(t, far, nil)
			want(t, set, "a", "ES256", nil)
			far.set(func(i *issuer) { i.takes = 2 * time.Second })
			time.Sleep(10 * time.Minute)
			start := time.Now()
			for range 10 {
				want(t, set, "a", "ES256", nil)
			}
			if waited := time.Since(start); waited != 0 {
				t.Errorf("a known key waited %s", waited)
			}
			synctest.Wait()
			wantFetches(t, far, 2)
			time.Sleep(5 * time.Second)
		})
	})
	t.Run("a withdrawn key goes with the refresh", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			far := &issuer{}
			a, b := ecKey(t, "a"), ecKey(t, "b")
			far.publish(t, a, b)
			set := newSet(t, far, nil)
			want(t, set, "a", "ES256", nil)
			far.publish(t, b)
			time.Sleep(10 * time.Minute)
			want(t, set, "b", "ES256", nil) // starts the refresh
			synctest.Wait()
			want(t, set, "a", "ES256", jwks.ErrUnknownKey)
		})
	})
	t.Run("with RefreshWait a withdrawn key goes at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			far := &issuer{takes: 100 * time.Millisecond}
			far.publish(t, ecKey(t, "a"), ecKey(t, "b"))
			set := newSet(t, far, func(c *jwks.Config) { c.RefreshWait = time.Second })
			want(t, set, "a", "ES256", nil)
			far.publish(t, ecKey(t, "b"))
			time.Sleep(10 * time.Minute)
			want(t, set, "a", "ES256", jwks.ErrUnknownKey)
		})
	})
	t.Run("RefreshWait has an end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			far := &issuer{}
			far.publish(t, ecKey(t, "a"))
			set := newSet(t, far, func(c *jwks.Config) { c.RefreshWait = time.Second })
			want(t, set, "a", "ES256", nil)
			far.set(func(i *issuer) { i.takes = time.Hour })
			time.Sleep(10 * time.Minute)
			start := time.Now()
			want(t, set, "a", "ES256", nil)
			if waited := time.Since(start); waited != time.Second {
				t.Errorf("waited %s, want 1s", waited)
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
					far := &issuer{}
					far.publish(t, ecKey(t, "good"))
					set := newSet(t, far, nil)
					before := 0
					if warm {
						want(t, set, "good", "ES256", nil)
						before = 1
					}
					far.set(func(i *issuer) { i.takes, i.down = time.Second, down })
					refusal := jwks.ErrUnknownKey
					if down {
						refusal = jwks.ErrUnavailable
					}
					var all sync.WaitGroup
					for n := range 100 {
						all.Go(func() { want(t, set, fmt.Sprint("bad", n), "ES256", refusal) })
					}
					synctest.Wait()
					if warm {
						start := time.Now()
						want(t, set, "good", "ES256", nil)
						if waited := time.Since(start); waited != 0 {
							t.Errorf("a known key waited %s", waited)
						}
					}
					all.Wait()
					for n := range 100 {
						want(t, set, fmt.Sprint("worse", n), "ES256", refusal)
					}
					wantFetches(t, far, before+1)
				})
			})
		}
	}
	t.Run("a rotated key is found", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			far := &issuer{}
			far.publish(t, ecKey(t, "old"))
			set := newSet(t, far, nil)
			want(t, set, "old", "ES256", nil)
			far.publish(t, ecKey(t, "new"))
			want(t, set, "new", "ES256", nil)
			far.publish(t, ecKey(t, "newer"))
			want(t, set, "newer", "ES256", jwks.ErrUnknownKey) // the cooldown
			time.Sleep(30 * time.Second)
			want(t, set, "newer", "ES256", nil)
			want(t, set, "old", "ES256", jwks.ErrUnknownKey)
			wantFetches(t, far, 3)
		})
	})
}

func TestOutage(t *testing.T) {
	t.Run("stale keys serve up to MaxStale", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			far := &issuer{}
			far.publish(t, ecKey(t, "a"))
			set := newSet(t, far, nil)
			want(t, set, "a", "ES256", nil)
			far.set(func(i *issuer) { i.down = true })
			time.Sleep(24*time.Hour - time.Minute)
			want(t, set, "a", "ES256", nil)
			synctest.Wait()
			time.Sleep(time.Minute)
			want(t, set, "a", "ES256", jwks.ErrUnavailable)
			far.set(func(i *issuer) { i.down = false })
			time.Sleep(time.Second)
			want(t, set, "a", "ES256", nil)
		})
	})
	t.Run("failing refreshes keep the cooldown", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			far := &issuer{}
			far.publish(t, ecKey(t, "a"))
			set := newSet(t, far, nil)
			want(t, set, "a", "ES256", nil)
			far.set(func(i *issuer) { i.down = true })
			time.Sleep(10 * time.Minute)
			for range 60 { // a minute
				want(t, set, "a", "ES256", nil)
				want(t, set, "b", "ES256", jwks.ErrUnavailable)
				synctest.Wait()
				time.Sleep(time.Second)
			}
			wantFetches(t, far, 1+2)
		})
	})
	t.Run("without keys a fetch is tried again after Retry", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			far := &issuer{down: true}
			far.publish(t, ecKey(t, "a"))
			set := newSet(t, far, nil)
			for range 10 {
				want(t, set, "a", "ES256", jwks.ErrUnavailable)
			}
			wantFetches(t, far, 1)
			far.set(func(i *issuer) { i.down = false })
			time.Sleep(time.Second)
			want(t, set, "a", "ES256", nil)
			wantFetches(t, far, 2)
		})
	})
	t.Run("a slow issuer is given up after Timeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			far := &issuer{takes: time.Hour}
			set := newSet(t, far, nil)
			start := time.Now()
			want(t, set, "a", "ES256", jwks.ErrUnavailable)
			if waited := time.Since(start); waited != 3*time.Second {
				t.Errorf("waited %s, want 3s", waited)
			}
		})
	})
	t.Run("who goes away takes nobody along", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			far := &issuer{takes: time.Second}
			far.publish(t, ecKey(t, "a"))
			set := newSet(t, far, nil)
			ctx, cancel := context.WithCancel(context.Background())
			var all sync.WaitGroup
			all.Go(func() {
				if _, err := set.Key(ctx, "a", "ES256"); !errors.Is(err, context.Canceled) {
					t.Errorf("got error %v, want %v", err, context.Canceled)
				}
			})
			synctest.Wait()
			all.Go(func() { want(t, set, "a", "ES256", nil) })
			cancel()
			all.Wait()
			wantFetches(t, far, 1)
		})
	})
}
