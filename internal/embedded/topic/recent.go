package topic

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/flavorless/flavorless/events"
)

// Limits of the changes that are kept in memory. Followers that keep up read nothing else.
const (
	maxRecent      = 1024
	maxRecentBytes = 1 << 20
)

// recent holds the latest messages of CHANGES.
type recent struct {
	mu      sync.Mutex
	last    uint64                // sequence number of the last message of the stream
	changes []events.LoggedChange // without a gap, up to last; may be empty
	bytes   int                   // size of changes
	grown   chan struct{}         // closed when last grows
}

func newRecent(last uint64) *recent { return &recent{last: last, grown: make(chan struct{})} }

// add adds a message that is stored.
func (r *recent) add(c events.LoggedChange) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.Sequence <= r.last {
		return
	}
	if c.Sequence != r.last+1 { // the acknowledgement of the message in between came too late
		r.changes, r.bytes = nil, 0
	}
	r.last, r.changes, r.bytes = c.Sequence, append(r.changes, c), r.bytes+c.Size()
	for len(r.changes) > maxRecent || r.bytes > maxRecentBytes {
		r.bytes -= r.changes[0].Size()
		r.changes[0] = events.LoggedChange{} // for the garbage collector
		r.changes = r.changes[1:]
	}
	close(r.grown)
	r.grown = make(chan struct{})
}

// wait waits until the message of that sequence number is stored, and fails if ctx ends first. It returns up to
// fetchMessages changes from there on, or none if the first of them is not in memory.
func (r *recent) wait(ctx context.Context, sequence uint64) ([]events.LoggedChange, error) {
	for {
		r.mu.Lock()
		last, grown := r.last, r.grown
		var found []events.LoggedChange
		if first := last + 1 - uint64(len(r.changes)); sequence >= first && sequence <= last {
			found = r.changes[sequence-first:]
			found = slices.Clone(found[:min(len(found), fetchMessages)])
		}
		r.mu.Unlock()
		if last >= sequence {
			return found, nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), ctx.Err())
		}
	}
}
