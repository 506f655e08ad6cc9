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
	forwardGroup = 256     // changes that are copied at once
	forwardBytes = 1 << 20 // of them
	forwardPause = time.Second
	forwardWait  = 10 * time.Second // after which comes again what was in hand at a crash
)

// openPlaces makes each webhook's place in CHANGES, from where Forward goes on, unless it is there. It is called before
// anything can be announced: a webhook that is new begins with the first change after the start.
func (s *Server) openPlaces(ctx context.Context) error {
	for _, name := range s.config.Webhooks {
		_, err := s.js.CreateOrUpdateConsumer(ctx, string(Changes), jetstream.ConsumerConfig{
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
// for a change to go. Stored messages that are not changes, which
// clients of earlier releases could cause, are logged and left out.
func (s *Server) Forward(ctx context.Context, name string, publish func(context.Context, []events.Message) []error, tried func(error)) {
	var p *puller
	persist(ctx, tried, func() (err error) {
		p, err = newPuller(s.house, Changes, place(name))
		return err
	})
	if p == nil {
		return
	}
	defer p.drain()
	for ctx.Err() == nil {
		var group []*nats.Msg
		persist(ctx, tried, func() (err error) {
			group, err = p.group(ctx, forwardGroup, forwardBytes)
			return err
		})
		if len(group) == 0 {
			continue
		}
		copies := s.copies(ctx, name, group)
		persist(ctx, tried, func() error { return errors.Join(publish(ctx, copies)...) })
		persist(ctx, tried, func() error {
			ctx, cancel := context.WithTimeout(ctx, forwardWait)
			defer cancel()
			_, err := s.house.RequestWithContext(ctx, group[len(group)-1].Reply, []byte("+ACK"))
			return err
		})
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

// copies returns the changes of a group as messages to a webhook.
func (s *Server) copies(ctx context.Context, webhook string, group []*nats.Msg) []events.Message {
	copies := make([]events.Message, 0, len(group))
	for _, m := range group {
		c := events.Message{Subject: m.Subject, Body: m.Data}
		c.ID, c.Attributes = Decode(m.Header)
		_, err := events.DecodeChange(m.Data)
		if err == nil && !IsChange(c) {
			err = errors.New("its subject or attributes are not its own")
		}
		if err != nil {
			s.log.ErrorContext(ctx, "a stored message is not a change and is not delivered", "webhook", webhook, "subject", m.Subject, "error", err)
			continue
		}
		c.Subject = Webhook(webhook).webhookSubject()
		copies = append(copies, c)
	}
	return copies
}
