package jetstream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/events"
)

// sweepInterval is how often a queue is looked through for stale messages.
const sweepInterval = time.Minute

// sweep puts stale messages back into their queue, again and again until ctx ends: those up to where the consumer was done
// at the last look, since a message that has just been acknowledged is only about to be removed.
//
// The server writes behind that it has removed a message. After a crash some that were acknowledged are stored again, while
// the consumer remembers that it is done with them: they would be neither delivered nor removed, for ever, and count as
// waiting. (Servers in a cluster look for such messages; one that is alone does not.) They are not just removed, since a
// message too many does no harm and one too few does.
func (s *Server) sweep(ctx context.Context, q Stream, floor uint64) {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := s.putBack(ctx, q, floor)
		if err == nil {
			floor, err = s.floor(ctx, q)
		}
		if err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "looking for stale messages", "queue", string(q), "error", err)
		}
	}
}

// floor is the sequence up to which the queue's consumer is done with everything.
func (s *Server) floor(ctx context.Context, q Stream) (uint64, error) {
	consumer, err := s.js.Consumer(ctx, string(q), consumerName)
	if err != nil {
		return 0, fmt.Errorf("reading how far %s is consumed: %w", q, err)
	}
	return consumer.CachedInfo().AckFloor.Stream, nil
}

// putBack publishes what is stored up to a sequence again, and deletes it then.
func (s *Server) putBack(ctx context.Context, q Stream, upTo uint64) error {
	stream, err := s.js.Stream(ctx, string(q))
	if err != nil {
		return fmt.Errorf("looking for stale messages of %s: %w", q, err)
	}
	for seq := stream.CachedInfo().State.FirstSeq; seq <= upTo; seq++ {
		m, err := stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(">")) // this one or the next
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading stale messages of %s: %w", q, err)
		}
		if seq = m.Sequence; seq > upTo {
			return nil
		}
		s.log.WarnContext(ctx, "a message that was done is stored again after a crash, and is delivered again",
			"upload", m.Header.Get("upload"), "queue", string(q), "id", m.Header.Get(headerID), "sequence", seq)
		err = s.request(ctx, &nats.Msg{Subject: m.Subject, Header: ownHeader(m.Header), Data: m.Data})
		if err == nil {
			err = stream.DeleteMsg(ctx, seq)
		}
		if err != nil && !errors.Is(notFound(err), events.ErrNotFound) {
			return fmt.Errorf("putting stale message %d of %s back: %w", seq, q, err)
		}
	}
	return nil
}

// ownHeader is the header that a stored message was published with.
func ownHeader(stored nats.Header) nats.Header {
	header := maps.Clone(stored)
	for name := range stored {
		if reserved(name) && name != headerID && name != headerContentType {
			delete(header, name)
		}
	}
	return header
}
