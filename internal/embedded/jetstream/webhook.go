package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/events"
)

const webhookPrefix = "WEBHOOK-"

// Webhook is the queue of the webhook of that name, one of Config.Webhooks.
func Webhook(name string) Stream { return Stream(webhookPrefix + name) }

func (q Stream) isWebhook() bool { return strings.HasPrefix(string(q), webhookPrefix) }

func (q Stream) webhookSubject() string {
	return "flavorless.webhook." + strings.TrimPrefix(string(q), webhookPrefix)
}

const (
	forwardGroup = 256 // changes that are copied at once
	forwardPause = time.Second
	forwardWait  = 10 * time.Second // after which comes again what was in hand at a crash
)

// openPlaces makes each webhook's place in CHANGES, from where Forward goes on, unless it is there. It is called before
// anything can be announced: a webhook that is new begins with the first change after the start.
func (s *Server) openPlaces(ctx context.Context) error {
	for _, name := range s.config.Webhooks {
		_, err := s.changesJS.CreateOrUpdateConsumer(ctx, string(Changes), jetstream.ConsumerConfig{
			Durable: place(name), DeliverPolicy: jetstream.DeliverNewPolicy,
			AckPolicy: jetstream.AckAllPolicy, MaxAckPending: forwardGroup, AckWait: forwardWait,
		})
		if err != nil {
			return fmt.Errorf("opening the place of webhook %s in %s: %w", name, Changes, err)
		}
	}
	return nil
}

func place(webhook string) string { return strings.ToLower(webhookPrefix) + webhook }

// Forward copies the changes to the queue of a webhook, as they are announced, until ctx ends. How far it is survives the
// process; what it copied last may be copied again. Failures are told of, and tried again without end: there is nowhere else
// for a change to go.
func (s *Server) Forward(ctx context.Context, name string, tried func(error)) {
	var consumer jetstream.Consumer
	persist(ctx, tried, func() (err error) {
		consumer, err = s.changesJS.Consumer(ctx, string(Changes), place(name))
		return err
	})
	topic := s.topics[Webhook(name)]
	for ctx.Err() == nil {
		var group []jetstream.Msg
		persist(ctx, tried, func() (err error) {
			group, err = nextGroup(ctx, consumer)
			return err
		})
		if len(group) == 0 {
			continue
		}
		persist(ctx, tried, func() error { return errors.Join(topic.Publish(ctx, topic.copies(group))...) })
		persist(ctx, tried, func() error { return group[len(group)-1].DoubleAck(ctx) })
	}
}

// persist does something until it succeeds or ctx ends.
func persist(ctx context.Context, tried func(error), do func() error) {
	for ctx.Err() == nil {
		err := do()
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			tried(nil)
			return
		}
		tried(fmt.Errorf("forwarding changes: %w", err))
		select {
		case <-ctx.Done():
		case <-time.After(forwardPause):
		}
	}
}

// nextGroup waits a while for a change, and takes those that are ready behind it.
func nextGroup(ctx context.Context, consumer jetstream.Consumer) (group []jetstream.Msg, err error) {
	wait, cancel := context.WithTimeout(ctx, pullExpires)
	defer cancel()
	batch, err := consumer.Fetch(1, jetstream.FetchContext(wait))
	if err != nil {
		return nil, err
	}
	group = collect(group, batch)
	if len(group) == 0 {
		if err := batch.Error(); wait.Err() == nil && !errors.Is(err, nats.ErrTimeout) {
			return nil, err
		}
		return nil, nil
	}
	if batch, err = consumer.FetchNoWait(forwardGroup - 1); err != nil {
		return group, nil // what there is, is
	}
	return collect(group, batch), nil
}

func collect(group []jetstream.Msg, batch jetstream.MessageBatch) []jetstream.Msg {
	for m := range batch.Messages() {
		group = append(group, m)
	}
	return group
}

func (t *Topic) copies(group []jetstream.Msg) []events.Message {
	copies := make([]events.Message, len(group))
	for i, m := range group {
		copies[i] = events.Message{Subject: t.stream.webhookSubject(), Body: m.Data()}
		copies[i].ID, copies[i].Attributes = decode(m.Headers())
	}
	return copies
}
