package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/events"
)

// Stream names one of the streams.
type Stream string

// The streams of the house.
const (
	Uploads Stream = "UPLOADS" // a work queue
	Updates Stream = "UPDATES" // a work queue
	Changes Stream = "CHANGES" // a log for subscribers
	Dead    Stream = "DEAD"    // dead letters of the work queues
)

// UploadSubject is the subject of messages to UPLOADS that announce an object. Others are events.ContinuationType.
const UploadSubject = "flavorless.upload"

const (
	changesSubject = "flavorless.change.>"
	deadPrefix     = "flavorless.dead."
)

// Queues returns the streams that can be consumed.
func (s *Server) Queues() []Stream { return s.config.queues() }

// queues returns the streams that can be consumed.
func (c Config) queues() []Stream {
	all := []Stream{Uploads, Updates}
	for _, name := range c.Webhooks {
		all = append(all, Webhook(name))
	}
	return all
}

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

// QueueConsumer is the name of the consumer of each work queue.
const QueueConsumer = "flavorless"

// MaxOutstanding is how many messages of a queue, or of a consumer of a subscriber, may be delivered and not acknowledged. When
// so many messages of a queue wait for their backoff, the others wait for them.
const MaxOutstanding = 10_000

// minDedupe is the shortest memory for message ids that the server allows; none are sent.
const minDedupe = 100 * time.Millisecond

func (c Config) streams() []jetstream.StreamConfig {
	queue := func(q Stream, subjects ...string) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name: string(q), Subjects: subjects, Retention: jetstream.WorkQueuePolicy,
			MaxBytes: c.QueueBytes, Discard: jetstream.DiscardNew,
		}
	}
	all := []jetstream.StreamConfig{
		queue(Uploads, UploadSubject, events.ContinuationType),
		queue(Updates, events.UpdatesType),
		{
			Name: string(Dead), Subjects: []string{deadPrefix + ">"}, Retention: jetstream.LimitsPolicy,
			Discard: jetstream.DiscardNew, // never push out one dead letter for another
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
		stored(&all[i])
	}
	return all
}

// stored sets what all streams have in common.
func stored(c *jetstream.StreamConfig) {
	c.Storage, c.Replicas, c.AllowDirect = jetstream.FileStorage, 1, true
}

// openStreams makes the streams, or brings stored ones to the configuration. Stored lists those that were there before
// the server was started, by account.
func (s *Server) openStreams(ctx context.Context, stored map[string][]string, log *serverLog) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, a := range []struct {
		name string
		conn *nats.Conn
		js   *jetstream.JetStream
	}{{internalAccount, s.house, &s.js}, {subscriberAccount, s.mirror, &s.mirrorJS}} {
		var err error
		if *a.js, err = jetstream.New(a.conn, jetstream.WithDefaultTimeout(apiTimeout)); err != nil {
			return err
		}
		if err := recovered(ctx, *a.js, streamsDir(s.config.Dir, a.name), stored[a.name], log); err != nil {
			return err
		}
	}
	for _, config := range s.config.streams() {
		if err := s.openStream(ctx, s.js, config); err != nil {
			return err
		}
	}
	mirror := s.config.mirror()
	if err := keepConsumers(ctx, s.mirrorJS, &mirror); err != nil {
		return err
	}
	return s.openStream(ctx, s.mirrorJS, mirror)
}

func (s *Server) openStream(ctx context.Context, js jetstream.JetStream, config jetstream.StreamConfig) error {
	stream, err := js.CreateOrUpdateStream(ctx, config)
	if err != nil {
		return fmt.Errorf("opening stream %s: %w", config.Name, err)
	}
	// A torn end is what a power failure leaves behind: not the end of the world, but not to be passed over.
	if lost := stream.CachedInfo().State.Lost; lost != nil && len(lost.Msgs) > 0 {
		s.log.ErrorContext(ctx, "stored messages are damaged and lost", "stream", config.Name,
			"messages", len(lost.Msgs), "bytes", lost.Bytes, "first", lost.Msgs[0])
	}
	return nil
}

// keepConsumers does not let the time shrink that a consumer may be idle: the server would not open the stream as long as
// there are consumers that were made when it was longer.
func keepConsumers(ctx context.Context, js jetstream.JetStream, config *jetstream.StreamConfig) error {
	stream, err := js.Stream(ctx, config.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening stream %s: %w", config.Name, err)
	}
	idle := &config.ConsumerLimits.InactiveThreshold
	*idle = max(*idle, stream.CachedInfo().Config.ConsumerLimits.InactiveThreshold)
	return nil
}

func streamsDir(dir, account string) string {
	return filepath.Join(dir, "jetstream", account, "streams")
}

// storedStreams lists the streams that have a directory, by account.
func storedStreams(dir string) (map[string][]string, error) {
	stored := map[string][]string{}
	for _, account := range []string{internalAccount, subscriberAccount} {
		entries, err := os.ReadDir(streamsDir(dir, account))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.IsDir() && !strings.HasPrefix(e.Name(), ".") { // a dot: about to be deleted
				stored[account] = append(stored[account], e.Name())
			}
		}
	}
	return stored, nil
}

// ErrNotRecovered: the server could not open what is stored. It is still there.
var ErrNotRecovered = errors.New("can't be recovered")

// recovered insists that every stored stream is there, and every webhook's place in CHANGES: the server leaves one that it
// can't read aside with a warning, and it would be made anew, empty, on top of what is stored.
func recovered(ctx context.Context, js jetstream.JetStream, dir string, streams []string, log *serverLog) error {
	lost := func(what, path string) error {
		_, warnings := log.trouble()
		return fmt.Errorf("%s %w; restore %s from a copy, or move it away to give up what is in it: %s",
			what, ErrNotRecovered, path, strings.Join(warnings, "; "))
	}
	for _, name := range streams {
		stream, err := js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return lost("stream "+name, filepath.Join(dir, name))
		}
		if err != nil {
			return fmt.Errorf("opening stream %s: %w", name, err)
		}
		places, err := filepath.Glob(filepath.Join(dir, name, "obs", strings.ToLower(webhookPrefix)+"*", "meta.inf"))
		if err != nil {
			return err
		}
		for _, place := range places {
			folder := filepath.Dir(place)
			_, err := stream.Consumer(ctx, filepath.Base(folder))
			if errors.Is(err, jetstream.ErrConsumerNotFound) {
				return lost("the place of "+filepath.Base(folder)+" in "+name, folder)
			}
			if err != nil {
				return fmt.Errorf("opening %s of stream %s: %w", filepath.Base(folder), name, err)
			}
		}
	}
	return nil
}

// Store publishes one message and waits until it is stored.
func (s *Server) Store(ctx context.Context, m *nats.Msg) error {
	if err := s.Capacity(); err != nil {
		return err
	}
	ctx, cancel := s.Bind(ctx)
	defer cancel()
	if _, err := s.js.PublishMsg(ctx, m); err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	return nil
}
