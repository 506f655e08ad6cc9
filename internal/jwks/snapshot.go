package jwks

import "time"

// snapshot is a fetched key set. A nil snapshot has no keys and is infinitely old.
type snapshot struct {
	fetched time.Time
	keys    []Key
}

// youngerThan reports whether the snapshot was fetched less than age before now.
func (s *snapshot) youngerThan(age time.Duration, now time.Time) bool {
	return s != nil && now.Sub(s.fetched) < age
}

// find returns the key with that id that supports alg or, if the id is empty, the only key that supports alg.
func (s *snapshot) find(id, alg string) (Key, error) {
	var found Key
	known, matches := false, 0
	for _, key := range s.keys {
		if id != "" && key.ID != id {
			continue
		}
		known = id != ""
		if !key.Supports(alg) {
			continue
		}
		if matches++; matches == 1 {
			found = key
		}
	}
	switch {
	case matches == 1 || matches > 1 && known: // ids should be unique; if not, use the first
		return found, nil
	case matches > 1:
		return Key{}, ErrAmbiguous
	case known:
		return Key{}, ErrAlgorithmMismatch
	}
	return Key{}, ErrUnknownKey
}
