package local

import (
	"errors"
	"sync"
)

// failures collects the errors of parts of the server that ended by themselves.
type failures struct {
	first chan struct{} // closed by the first failure

	mu  sync.Mutex
	err error
}

func newFailures() *failures { return &failures{first: make(chan struct{})} }

func (f *failures) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		close(f.first)
	}
	f.err = errors.Join(f.err, err)
}

// all returns all failures so far, joined, or nil.
func (f *failures) all() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}
