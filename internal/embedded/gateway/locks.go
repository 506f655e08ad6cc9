package gateway

import (
	"hash/maphash"
	"maps"
	"path"
	"slices"
	"sync"
)

// stripes are locks by name. Different names may share a lock, which can only make them wait.
type stripes struct {
	seed  maphash.Seed
	locks [256]sync.RWMutex
}

func newStripes() stripes { return stripes{seed: maphash.MakeSeed()} }

// index returns the index of the lock for a name.
func (s *stripes) index(name string) int {
	return int(maphash.String(s.seed, name) % uint64(len(s.locks)))
}

// lock locks a name and returns the function that unlocks it.
func (s *stripes) lock(name string) (unlock func()) {
	l := &s.locks[s.index(name)]
	l.Lock()
	return l.Unlock
}

// lockKey locks the path of a key for one writer, and the folders above it in shared mode. So a key "a" and a key "a/b"
// are never stored or deleted at the same time, but "a/b" and "a/c" may be. It returns the function that unlocks them.
func (s *stripes) lockKey(bucket, key string) (unlock func()) {
	own := path.Join(bucket, key)
	exclusive := map[int]bool{}
	for folder := path.Dir(own); len(folder) > len(bucket); folder = path.Dir(folder) {
		exclusive[s.index(folder)] = false
	}
	exclusive[s.index(own)] = true
	order := slices.Sorted(maps.Keys(exclusive)) // the same for all writers, which prevents deadlocks
	for _, i := range order {
		if exclusive[i] {
			s.locks[i].Lock()
		} else {
			s.locks[i].RLock()
		}
	}
	return func() {
		for _, i := range order {
			if exclusive[i] {
				s.locks[i].Unlock()
			} else {
				s.locks[i].RUnlock()
			}
		}
	}
}
