package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/events"
)

// room bounds what is in flight, in messages and in bytes.
type room struct {
	mu       sync.Mutex
	freed    sync.Cond
	messages int
	bytes    int
	maxBytes int
}

func newRoom(messages, bytes int) *room {
	r := &room{messages: messages, bytes: bytes, maxBytes: bytes}
	r.freed.L = &r.mu
	return r
}

// take waits until there is room for a message of that size, or ctx ends.
func (r *room) take(ctx context.Context, size int) error {
	size = min(size, r.maxBytes)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.messages == 0 || r.bytes < size {
		stop := context.AfterFunc(ctx, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.freed.Broadcast()
		})
		defer stop()
	}
	for r.messages == 0 || r.bytes < size {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		r.freed.Wait()
	}
	r.messages--
	r.bytes -= size
	return nil
}

func (r *room) give(size int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages++
	r.bytes += min(size, r.maxBytes)
	r.freed.Broadcast()
}

// parseAckError reads an answer that is not plainly a success.
func parseAckError(data []byte) error {
	var answer struct {
		Stream string              `json:"stream"`
		Error  *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return fmt.Errorf("reading the server's answer: %w", err)
	}
	const tooLarge = 10054 // "message size exceeds maximum allowed"
	switch {
	case answer.Error != nil && answer.Error.ErrorCode == tooLarge:
		return fmt.Errorf("%w: %w", answer.Error, events.ErrPermanent)
	case answer.Error != nil:
		return answer.Error
	case answer.Stream == "":
		return errors.New("the server's answer names no stream")
	}
	return nil
}
