package jetstream

import (
	"context"
	"fmt"
	"iter"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/events"
)

// readAhead is how many changes may be on their way to one reader, whoever is slow among the two.
const readAhead = 64

// Changes gives what CHANGES has from a place on, and then what comes, until ctx ends; an error ends it, too. It fails with
// events.ErrForgotten if changes since then have been dropped, or if there never was such a place. A slow reader holds up
// nobody else: it has a consumer of its own, which lives as long as the loop over it, or at most minutes longer.
func (s *Server) Changes(ctx context.Context, from events.Start) (iter.Seq2[events.Announced, error], error) {
	stream, err := s.changesJS.Stream(ctx, string(Changes))
	if err != nil {
		return nil, fmt.Errorf("reading the log of changes: %w", err)
	}
	state := stream.CachedInfo().State
	config := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy}
	switch {
	case from.After > 0:
		if from.After > state.LastSeq || from.After+1 < state.FirstSeq {
			return nil, fmt.Errorf("place %d of %d to %d: %w", from.After, state.FirstSeq, state.LastSeq, events.ErrForgotten)
		}
		config.OptStartSeq = from.After + 1
	case !from.Since.IsZero():
		if state.FirstSeq > 1 && from.Since.Before(state.FirstTime) {
			return nil, fmt.Errorf("the log begins at %s: %w", events.FormatTime(state.FirstTime), events.ErrForgotten)
		}
		config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &from.Since
	default: // not "new": what comes while a lost consumer is made again would be missed
		config.OptStartSeq = state.LastSeq + 1
	}
	consumer, err := stream.OrderedConsumer(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("reading the log of changes: %w", err)
	}
	last := consumer.CachedInfo().Delivered.Stream // none yet: where it begins
	messages, err := consumer.Messages(jetstream.PullMaxMessages(readAhead))
	if err != nil {
		return nil, fmt.Errorf("reading the log of changes: %w", err)
	}
	return func(yield func(events.Announced, error) bool) {
		defer func() {
			messages.Stop()
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
			defer cancel()
			_ = stream.DeleteConsumer(ctx, consumer.CachedInfo().Name) // the server would do so a little later
		}()
		for {
			a, err := nextChange(ctx, messages)
			if ctx.Err() != nil {
				return
			}
			if err == nil && a.Place != last+1 {
				err = fmt.Errorf("after place %d comes %d: %w", last, a.Place, events.ErrForgotten) // read too slowly
			}
			last = a.Place
			if !yield(a, err) || err != nil {
				return
			}
		}
	}, nil
}

func nextChange(ctx context.Context, messages jetstream.MessagesContext) (events.Announced, error) {
	m, err := messages.Next(jetstream.NextContext(ctx))
	if err != nil {
		return events.Announced{}, fmt.Errorf("reading the log of changes: %w", err)
	}
	meta, err := m.Metadata()
	if err != nil {
		return events.Announced{}, fmt.Errorf("reading the log of changes: %w", err)
	}
	a := events.Announced{Place: meta.Sequence.Stream, Message: events.Message{Subject: m.Subject(), Body: m.Data()}}
	a.ID, a.Attributes = decode(m.Headers())
	return a, nil
}
