package broker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrNotRecovered means that the server can't open a stored stream or consumer. It is still stored.
var ErrNotRecovered = errors.New("can't be recovered")

func openStream(ctx context.Context, js jetstream.JetStream, config jetstream.StreamConfig, log *slog.Logger) error {
	stream, err := js.CreateOrUpdateStream(ctx, config)
	if err != nil {
		return fmt.Errorf("opening stream %s: %w", config.Name, err)
	}
	// A power failure can damage the last messages. The stream is usable without them.
	if lost := stream.CachedInfo().State.Lost; lost != nil && len(lost.Msgs) > 0 {
		log.ErrorContext(ctx, "stored messages are damaged and lost", "stream", config.Name,
			"messages", len(lost.Msgs), "bytes", lost.Bytes, "first", lost.Msgs[0])
	}
	return nil
}

// keepInactiveThreshold raises the limit of a stream for idle consumers to the stored one. The server would not open
// the stream with a lower limit while it has consumers from before.
func keepInactiveThreshold(ctx context.Context, js jetstream.JetStream, config *jetstream.StreamConfig) error {
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

// storedStreams returns the names of the streams that have a folder, by account.
func storedStreams(dir string) (map[string][]string, error) {
	stored := map[string][]string{}
	for _, account := range []string{internalAccount, subscriberAccount} {
		entries, err := os.ReadDir(streamsDir(dir, account))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
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

// checkRecovered fails with ErrNotRecovered if one of the stored streams is missing, or the consumer of a webhook. The
// server only logs a warning about one that it can't read, and a new, empty one would take its place.
func checkRecovered(ctx context.Context, js jetstream.JetStream, dir string, streams []string, log *serverLog) error {
	lost := func(what, path string) error {
		return fmt.Errorf("%s %w; restore %s from a copy, or move it away to give up its content: %s",
			what, ErrNotRecovered, path, strings.Join(log.startWarnings(), "; "))
	}
	for _, name := range streams {
		path := filepath.Join(dir, name)
		stream, err := js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return lost("stream "+name, path)
		}
		if err != nil {
			return fmt.Errorf("opening stream %s: %w", name, err)
		}
		consumers, err := filepath.Glob(filepath.Join(consumersDir(path), ForwardConsumer("*"), "meta.inf"))
		if err != nil {
			return err
		}
		for _, meta := range consumers {
			folder := filepath.Dir(meta)
			consumer := filepath.Base(folder)
			_, err := stream.Consumer(ctx, consumer)
			if errors.Is(err, jetstream.ErrConsumerNotFound) {
				return lost("consumer "+consumer+" of stream "+name, folder)
			}
			if err != nil {
				return fmt.Errorf("opening consumer %s of stream %s: %w", consumer, name, err)
			}
		}
	}
	return nil
}
