package broker

import (
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/events"
)

// Stream is the name of a stream.
type Stream string

// The streams, beside those of webhooks.
const (
	Uploads Stream = "UPLOADS" // work queue
	Updates Stream = "UPDATES" // work queue
	Changes Stream = "CHANGES" // log
	Dead    Stream = "DEAD"    // dead letters of the work queues
)

// UploadSubject is the subject of messages to UPLOADS that announce an object. Others have events.ContinuationType.
const UploadSubject = "flavorless.upload"

const (
	changesSubject = "flavorless.change.>"
	deadPrefix     = "flavorless.dead."
)

// QueueConsumer is the name of the consumer of each work queue.
const QueueConsumer = "flavorless"

// MaxOutstanding is how many messages of a queue, or of a consumer of a subscriber, may be delivered and not
// acknowledged. While that many messages of a queue wait for their backoff, its other messages are not delivered.
const MaxOutstanding = 10_000

// DeadSubject returns the subject of the dead letters of a queue.
func (q Stream) DeadSubject() string { return deadPrefix + strings.ToLower(string(q)) }

// Accepts reports whether messages of that subject belong in the stream.
func (q Stream) Accepts(subject string) bool {
	switch q {
	case Uploads:
		return subject == UploadSubject || subject == events.ContinuationType
	case Updates:
		return subject == events.UpdatesType
	case Changes:
		rest, ok := strings.CutPrefix(subject, strings.TrimSuffix(changesSubject, ">"))
		return ok && !slices.Contains(strings.Split(rest, "."), "") && !strings.ContainsAny(rest, "*> \t\r\n")
	}
	return q.isWebhook() && subject == q.WebhookSubject()
}

// queues returns the streams that are work queues.
func (c Config) queues() []Stream {
	all := []Stream{Uploads, Updates}
	for _, name := range c.Webhooks {
		all = append(all, Webhook(name))
	}
	return all
}

// minDedupe is the shortest time for which the server lets a stream remember message ids. No message has such an id.
const minDedupe = 100 * time.Millisecond

// streams returns the configuration of the streams of the internal account.
func (c Config) streams() []jetstream.StreamConfig {
	queue := func(q Stream, subjects ...string) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name: string(q), Subjects: subjects, Retention: jetstream.WorkQueuePolicy,
			Discard: jetstream.DiscardNew,
		}
	}
	all := []jetstream.StreamConfig{
		queue(Uploads, UploadSubject, events.ContinuationType),
		queue(Updates, events.UpdatesType),
		{
			Name: string(Dead), Subjects: []string{deadPrefix + ">"}, Retention: jetstream.LimitsPolicy,
			Discard: jetstream.DiscardNew, // never drop one dead letter for another
		},
		{
			Name: string(Changes), Subjects: []string{changesSubject}, Retention: jetstream.LimitsPolicy,
			MaxAge: c.ChangesAge, MaxBytes: c.ChangesBytes, Discard: jetstream.DiscardOld, DenyDelete: true, DenyPurge: true,
		},
	}
	for _, name := range c.Webhooks {
		all = append(all, queue(Webhook(name), Webhook(name).WebhookSubject()))
	}
	for i := range all {
		all[i].Duplicates = minDedupe
		setStorage(&all[i])
	}
	return all
}

// setStorage sets what all streams have in common.
func setStorage(c *jetstream.StreamConfig) {
	c.Storage, c.Replicas, c.AllowDirect = jetstream.FileStorage, 1, true
}
