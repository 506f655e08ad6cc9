package test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"strings"
	"sync"

	"github.com/flavorless/flavorless/events"
)

// bucket is the uploads of a simulation.
type bucket struct{ s *simulation }

func (b bucket) Open(_ context.Context, o events.Object, offset int64) (io.ReadCloser, map[string]string, error) {
	return io.NopCloser(strings.NewReader(b.s.objects[o.Key].text[offset:])), nil, nil
}

// reports are kept in memory.
type reports struct{ stored map[string][]byte }

func (r reports) Put(_ context.Context, key string, body io.Reader) (string, error) {
	b, err := io.ReadAll(body)
	if err == nil {
		r.stored[key] = b
	}
	return "s3://reports/" + key, err
}

func (r reports) Get(_ context.Context, key string) (io.ReadCloser, error) {
	b, found := r.stored[key]
	if !found {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (r reports) OpenAt(_ context.Context, key string) (io.ReaderAt, int64, error) {
	b, found := r.stored[key]
	if !found {
		return nil, 0, events.ErrObjectGone
	}
	return bytes.NewReader(b), int64(len(b)), nil
}

func (r reports) Remove(_ context.Context, prefix string) error {
	maps.DeleteFunc(r.stored, func(key string, _ []byte) bool { return strings.HasPrefix(key, prefix) })
	return nil
}

// updatesTopic routes messages to the queues of a simulation, and fails permanently after some.
type updatesTopic struct {
	simulation *simulation
	mu         sync.Mutex // for concurrent requests
	left       int        // messages before it fails
}

func (u *updatesTopic) Publish(_ context.Context, messages []events.Message) []error {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.simulation
	errs := make([]error, len(messages))
	for i, m := range messages {
		if u.left--; u.left < 0 {
			errs[i] = fmt.Errorf("%w: injected by the test", events.ErrPermanent)
			continue
		}
		if m.Subject == events.ContinuationType {
			s.continuations = append(s.continuations, m)
		} else {
			s.updates = append(s.updates, m)
		}
	}
	return errs
}

// changesTopic delivers changes to the subscriber of a simulation.
type changesTopic struct{ s *simulation }

func (c changesTopic) Publish(_ context.Context, messages []events.Message) []error {
	for _, m := range messages {
		change, err := events.DecodeChange(m.Body)
		c.s.must(err)
		c.s.received = append(c.s.received, change)
	}
	return make([]error, len(messages))
}
