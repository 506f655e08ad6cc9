package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/topic"
)

const (
	forwardBytes = 1 << 20     // bytes of the changes that are copied at once
	forwardPause = time.Second // after a failure
)

// Forward copies changes to the queue of a webhook as they are announced, until ctx ends. Its position survives a
// restart; the changes that it copied last may be copied again. It calls observe after every step, with its error or
// nil, and repeats a step until it succeeds. Stored messages that are not changes, which clients of earlier releases
// could cause, are logged and skipped.
func (q *Queues) Forward(ctx context.Context, webhook string, observe func(error)) {
	f := &forwarder{broker: q.broker, webhook: webhook, log: q.log, observe: observe}
	if f.retry(ctx, f.open) {
		defer f.changes.drain()
		f.run(ctx)
	}
}

// forwarder copies changes to the queue of one webhook.
type forwarder struct {
	broker  *broker.Server
	webhook string
	log     *slog.Logger
	observe func(error)

	changes *fetcher
	copies  *topic.Topic
}

func (f *forwarder) open() (err error) {
	if f.copies, err = topic.New(f.broker, broker.Webhook(f.webhook)); err != nil {
		return err
	}
	f.changes, err = newFetcher(f.broker.Conn(), broker.Changes, broker.ForwardConsumer(f.webhook))
	return err
}

func (f *forwarder) run(ctx context.Context) {
	for ctx.Err() == nil {
		var group []*nats.Msg
		f.retry(ctx, func() (err error) {
			group, err = f.changes.group(ctx, broker.ForwardMessages, forwardBytes)
			return err
		})
		if len(group) == 0 {
			continue
		}
		copies := f.copy(ctx, group)
		f.retry(ctx, func() error { return errors.Join(f.copies.Publish(ctx, copies)...) })
		f.retry(ctx, func() error {
			ctx, cancel := context.WithTimeout(ctx, broker.ForwardAckWait)
			defer cancel()
			_, err := f.broker.Conn().RequestWithContext(ctx, group[len(group)-1].Reply, []byte("+ACK"))
			return err
		})
	}
}

// retry repeats a step until it succeeds or ctx ends, and reports whether it succeeded.
func (f *forwarder) retry(ctx context.Context, step func() error) bool {
	for ctx.Err() == nil {
		err := step()
		if ctx.Err() != nil {
			break
		}
		if err == nil {
			f.observe(nil)
			return true
		}
		f.observe(fmt.Errorf("forwarding changes: %w", err))
		sleep(ctx, forwardPause)
	}
	return false
}

// copy returns the changes of a group as messages to the webhook.
func (f *forwarder) copy(ctx context.Context, group []*nats.Msg) []events.Message {
	copies := make([]events.Message, 0, len(group))
	for _, m := range group {
		c := events.Message{Subject: m.Subject, Body: m.Data}
		c.ID, c.Attributes = broker.Decode(m.Header)
		_, err := events.DecodeChange(m.Data)
		if err == nil && !broker.IsChange(c) {
			err = errors.New("its subject does not match its attributes, or it has no id")
		}
		if err != nil {
			f.log.ErrorContext(ctx, "stored message is not a change and will not be delivered",
				"webhook", f.webhook, "subject", m.Subject, "error", err)
			continue
		}
		c.Subject = broker.Webhook(f.webhook).WebhookSubject()
		copies = append(copies, c)
	}
	return copies
}
