package jwks

import "time"

// snapshot is a key set as it was fetched. A nil one has no keys and is endlessly old.
type snapshot struct {
	fetched time.Time
	keys    []Key
}

// within tells whether the keys are at most that old.
func (s *snapshot) within(age time.Duration, now time.Time) bool {
	return s != nil && now.Sub(s.fetched) < age
}

func (s *snapshot) find(id, alg string) (Key, error) {
	var found Key
	named, suitable := false, 0
	for _, key := range s.keys {
		if id != "" && key.ID != id {
			continue
		}
		named = id != ""
		if !key.Supports(alg) {
			continue
		}
		if suitable++; suitable == 1 {
			found = key
		}
	}
	switch {
	case suitable == 1 || suitable > 1 && named: // ids are unique; should they not be, the first is as good as any
		return found, nil
	case suitable > 1:
		return Key{}, ErrAmbiguous
	case named:
		return Key{}, ErrAlgorithmMismatch
	}
	return Key{}, ErrUnknownKey
}
