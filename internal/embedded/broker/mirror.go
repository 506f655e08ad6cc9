package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Subscribers read a mirror of CHANGES instead of CHANGES itself. It has the same name, in an account of its own, and
// the same messages under the same sequence numbers and times. A mirror has no subjects, so nothing can be published to
// it.

// Subjects by which the mirror reaches CHANGES; see accounts.
const (
	mirrorAPI      = "_LOG.API"
	mirrorDelivery = "_LOG.DELIVER"
)

// mirror returns the configuration of the mirror.
func (c Config) mirror() jetstream.StreamConfig {
	config := jetstream.StreamConfig{
		Name: string(Changes), Retention: jetstream.LimitsPolicy,
		Mirror: &jetstream.StreamSource{
			Name: string(Changes), External: &jetstream.ExternalStream{APIPrefix: mirrorAPI, DeliverPrefix: mirrorDelivery},
		},
		MaxAge: c.ChangesAge, MaxBytes: c.ChangesBytes, Discard: jetstream.DiscardOld, DenyDelete: true, DenyPurge: true,
		MaxConsumers: maxConsumers,
		// A consumer that is idle for longer has missed changes anyway.
		ConsumerLimits: jetstream.StreamConsumerLimits{InactiveThreshold: c.ChangesAge},
	}
	setStorage(&config)
	return config
}

// openChecked opens an instance whose mirror matches CHANGES. It rebuilds a mirror that does not match: after a power
// failure, the mirror may have messages that CHANGES has lost; after a full disk, messages in the middle of the mirror
// may be missing. The consumers of subscribers are set aside until the mirror is complete. Then the server is started
// again with them in place.
func openChecked(ctx context.Context, c Config, log *serverLog) (*instance, error) {
	in, err := openInstance(ctx, c, log)
	if err != nil {
		return nil, err
	}
	matches, err := in.mirrorMatches(ctx, c)
	setAside, failed := exists(asideDir(c.Dir)) // by migrateLog, or by a start that was interrupted
	err = errors.Join(err, failed)
	if err == nil && matches && !setAside {
		return in, nil
	}
	if err == nil && !matches {
		in.close()
		if err := removeMirror(c.Dir); err != nil {
			return nil, fmt.Errorf("rebuilding the mirror of changes: %w", err)
		}
		if in, err = openInstance(ctx, c, log); err != nil {
			return nil, fmt.Errorf("rebuilding the mirror of changes: %w", err)
		}
	}
	if err == nil {
		err = in.awaitMirror(ctx)
	}
	in.close()
	if err == nil {
		err = restoreConsumers(c.Dir)
	}
	if err != nil {
		return nil, fmt.Errorf("checking the mirror of changes: %w", err)
	}
	return openInstance(ctx, c, log)
}

// mirrorMatches reports whether the mirror matches CHANGES, and logs if it does not.
func (in *instance) mirrorMatches(ctx context.Context, c Config) (bool, error) {
	changes, mirror, err := in.states(ctx)
	if err != nil {
		return false, err
	}
	matches := c.matches(changes, mirror, time.Now())
	if !matches {
		in.log.WarnContext(ctx, "mirror of the changes does not match them and is rebuilt",
			"first", changes.FirstSeq, "last", changes.LastSeq, "mirror_first", mirror.FirstSeq, "mirror_last", mirror.LastSeq,
			"mirror_missing", mirror.NumDeleted)
	}
	return matches, nil
}

// matches reports whether every message of the mirror is also in CHANGES, and the mirror lacks only the latest ones.
// Both drop their oldest messages by themselves, but not at the same moment.
func (c Config) matches(changes, mirror jetstream.StreamState, now time.Time) bool {
	dropping := now.Sub(changes.FirstTime) > c.ChangesAge-time.Minute || changes.Bytes > uint64(c.ChangesBytes)/10*9
	switch {
	case mirror.LastSeq > changes.LastSeq, mirror.NumDeleted > changes.NumDeleted:
		return false
	case mirror.LastSeq == 0: // new
		return true
	}
	return mirror.FirstSeq <= changes.FirstSeq || dropping
}

// states returns the states of CHANGES and of its mirror. It reads that of the mirror first, so that messages which are
// stored meanwhile can't make the mirror look ahead.
func (in *instance) states(ctx context.Context) (changes, mirror jetstream.StreamState, err error) {
	m, err := in.subscribers.streams.Stream(ctx, string(Changes))
	if err != nil {
		return changes, mirror, fmt.Errorf("reading the mirror of changes: %w", err)
	}
	c, err := in.internal.streams.Stream(ctx, string(Changes))
	if err != nil {
		return changes, mirror, fmt.Errorf("reading the log of changes: %w", err)
	}
	return c.CachedInfo().State, m.CachedInfo().State, nil
}

// awaitMirror waits until the mirror is complete. It fails when the mirror makes no progress.
func (in *instance) awaitMirror(ctx context.Context) error {
	progress, before := time.Now(), uint64(0)
	for {
		changes, mirror, err := in.states(ctx)
		if err != nil || mirror.LastSeq >= changes.LastSeq {
			return err
		}
		if mirror.LastSeq > before {
			progress, before = time.Now(), mirror.LastSeq
		}
		if time.Since(progress) > startTimeout {
			return fmt.Errorf("the mirror of changes stopped at %d of %d", mirror.LastSeq, changes.LastSeq)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Mirror is the state of the mirror of CHANGES.
type Mirror struct {
	Lag    uint64        // changes that it lacks
	Silent time.Duration // since it last heard from CHANGES; negative if it never did
	Full   bool          // subscribers have as many consumers as they may
}

// Mirror returns the state of the mirror.
func (s *Server) Mirror(ctx context.Context) (Mirror, error) {
	stream, err := s.instance.subscribers.streams.Stream(ctx, string(Changes))
	if err != nil {
		return Mirror{}, fmt.Errorf("reading the mirror of changes: %w", err)
	}
	info := stream.CachedInfo()
	if info.Mirror == nil {
		return Mirror{}, errors.New("reading the mirror of changes: it mirrors nothing")
	}
	changes, mirror, err := s.instance.states(ctx)
	if err != nil {
		return Mirror{}, err
	}
	return Mirror{
		Lag:    changes.LastSeq - min(changes.LastSeq, mirror.LastSeq),
		Silent: info.Mirror.Active,
		Full:   info.State.Consumers >= maxConsumers,
	}, nil
}
