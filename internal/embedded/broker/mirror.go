package broker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Subscribers do not read CHANGES itself but a mirror of it, of the same name, in an account of their own. A mirror has no
// subjects: nothing can be published to it. It has the messages under the same sequence numbers and times.

// Subjects by which the mirror reaches CHANGES; see accounts.
const (
	mirrorAPI      = "_LOG.API"
	mirrorDelivery = "_LOG.DELIVER"
)

// mirror is the configuration of the stream that subscribers read.
func (c Config) mirror() jetstream.StreamConfig {
	config := jetstream.StreamConfig{
		Name: string(Changes), Retention: jetstream.LimitsPolicy,
		Mirror: &jetstream.StreamSource{
			Name: string(Changes), External: &jetstream.ExternalStream{APIPrefix: mirrorAPI, DeliverPrefix: mirrorDelivery},
		},
		MaxAge: c.ChangesAge, MaxBytes: c.ChangesBytes, Discard: jetstream.DiscardOld, DenyDelete: true, DenyPurge: true,
		MaxConsumers: maxConsumers,
		// A consumer that nobody asked for longer than changes are kept has missed some anyway.
		ConsumerLimits: jetstream.StreamConsumerLimits{InactiveThreshold: c.ChangesAge},
	}
	stored(&config)
	return config
}

// Folders of CHANGES, of its mirror, and of the consumers of subscribers while the mirror is made anew.

func logDir(dir string) string {
	return filepath.Join(streamsDir(dir, internalAccount), string(Changes))
}
func mirrorDir(dir string) string {
	return filepath.Join(streamsDir(dir, subscriberAccount), string(Changes))
}
func consumersDir(s string) string  { return filepath.Join(s, "obs") }
func setAsideDir(dir string) string { return filepath.Join(dir, "consumers") }

// moveLog brings a folder of a release before there was a mirror to today's form: CHANGES, which was in the account of
// subscribers, moves to the internal one. The consumers of subscribers are set aside until there is a mirror. It can be
// repeated after it was cut off at any point.
func moveLog(dir string) error {
	if there, err := exists(logDir(dir)); there || err != nil {
		return err
	}
	if there, err := exists(mirrorDir(dir)); !there || err != nil {
		return err
	}
	err := breakSeal(dir) // it was checked; the files are about to have other names
	if err == nil {
		err = setAside(dir, mirrorDir(dir))
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(logDir(dir)), 0o700)
	}
	if err == nil {
		err = os.Rename(mirrorDir(dir), logDir(dir))
	}
	if err != nil {
		return fmt.Errorf("moving the log of changes to its new place: %w", err)
	}
	return nil
}

// maxConsumerFile is the largest description of a consumer that is kept when a mirror is made anew, in bytes. Larger ones
// have thousands of filters, with which the server takes minutes to start; subscribers can't make such any more.
const maxConsumerFile = 2 * maxRequest

// setAside moves the consumers of subscribers away from a stream.
func setAside(dir, stream string) error {
	aside := setAsideDir(dir)
	if err := os.MkdirAll(aside, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(consumersDir(stream))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		from, to := filepath.Join(consumersDir(stream), e.Name()), filepath.Join(aside, e.Name())
		if strings.HasPrefix(e.Name(), strings.ToLower(webhookPrefix)) {
			continue
		}
		if info, err := os.Stat(filepath.Join(from, "meta.inf")); err != nil || info.Size() > maxConsumerFile {
			err = os.RemoveAll(from)
			if err != nil {
				return err
			}
			continue
		}
		if err := os.Rename(from, to); err != nil {
			return err
		}
	}
	return nil
}

// checkMirror makes the mirror anew if it does not fit CHANGES: after moveLog, when it has messages that CHANGES has not,
// because a power failure took a later part of CHANGES than of the mirror, or when it lacks messages between others, because
// the disk was full when they came. It keeps the consumers of subscribers: once the new mirror has everything, the server is
// started once more, with them in place.
func (s *Server) checkMirror(ctx context.Context, log *serverLog) error {
	dir := s.config.Dir
	moved, err := exists(setAsideDir(dir))
	if err != nil {
		return err
	}
	last, mirrored, err := s.states(ctx)
	if err != nil {
		return err
	}
	fits := s.config.fits(last, mirrored, time.Now())
	if !moved && fits {
		return nil
	}
	if !fits {
		s.log.WarnContext(ctx, "the copy of the changes that subscribers read is not as the changes are, and is made anew",
			"first", last.FirstSeq, "last", last.LastSeq, "copied_first", mirrored.FirstSeq, "copied_last", mirrored.LastSeq, "copied_missing", mirrored.NumDeleted)
		s.closeServer()
		err := setAside(dir, mirrorDir(dir))
		if err == nil {
			err = os.RemoveAll(mirrorDir(dir))
		}
		if err == nil {
			err = s.open(ctx, log)
		}
		if err != nil {
			return fmt.Errorf("making the mirror of changes anew: %w", err)
		}
	}
	if err := s.awaitMirror(ctx); err != nil {
		return err
	}
	s.closeServer()
	if err := takeBack(dir); err != nil {
		return fmt.Errorf("giving subscribers their consumers back: %w", err)
	}
	return s.open(ctx, log)
}

// takeBack moves what was set aside to the mirror.
func takeBack(dir string) error {
	to := consumersDir(mirrorDir(dir))
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(setAsideDir(dir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Rename(filepath.Join(setAsideDir(dir), e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return os.Remove(setAsideDir(dir))
}

// fits reports whether the mirror has nothing that the log has not, and lacks nothing but the end. Both drop their oldest
// messages by themselves, but not at the same moment.
func (c Config) fits(log, mirror jetstream.StreamState, now time.Time) bool {
	dropping := now.Sub(log.FirstTime) > c.ChangesAge-time.Minute || log.Bytes > uint64(c.ChangesBytes)/10*9
	switch {
	case mirror.LastSeq > log.LastSeq, mirror.NumDeleted > log.NumDeleted:
		return false
	case mirror.LastSeq == 0: // new
		return true
	}
	return mirror.FirstSeq <= log.FirstSeq || dropping
}

// states returns the states of CHANGES and of its mirror.
func (s *Server) states(ctx context.Context) (log, mirror jetstream.StreamState, err error) {
	// The mirror first: what comes meanwhile must not make it look ahead.
	for _, at := range []struct {
		js    jetstream.JetStream
		state *jetstream.StreamState
	}{{s.mirrorJS, &mirror}, {s.js, &log}} {
		stream, err := at.js.Stream(ctx, string(Changes))
		if err != nil {
			return log, mirror, fmt.Errorf("comparing the log of changes with its mirror: %w", err)
		}
		*at.state = stream.CachedInfo().State
	}
	return log, mirror, nil
}

// lastSequences returns the last sequence number of CHANGES and of its mirror.
func (s *Server) lastSequences(ctx context.Context) (log, mirror uint64, err error) {
	logged, mirrored, err := s.states(ctx)
	return logged.LastSeq, mirrored.LastSeq, err
}

// Mirror is the state of the copy of CHANGES that subscribers read.
type Mirror struct {
	Lag    uint64        // changes that it still lacks
	Silent time.Duration // since it last heard from CHANGES; negative if it never did
	Full   bool          // whether subscribers have as many consumers as they may
}

// Mirror returns the state of the mirror.
func (s *Server) Mirror(ctx context.Context) (Mirror, error) {
	stream, err := s.mirrorJS.Stream(ctx, string(Changes))
	if err != nil {
		return Mirror{}, fmt.Errorf("looking at the mirror of changes: %w", err)
	}
	info := stream.CachedInfo()
	if info.Mirror == nil {
		return Mirror{}, errors.New("looking at the mirror of changes: it mirrors nothing")
	}
	log, mirrored, err := s.lastSequences(ctx)
	if err != nil {
		return Mirror{}, err
	}
	return Mirror{Lag: log - min(log, mirrored), Silent: info.Mirror.Active, Full: info.State.Consumers >= maxConsumers}, nil
}

// awaitMirror waits until the mirror has everything, for as long as it moves on.
func (s *Server) awaitMirror(ctx context.Context) error {
	moved, before := time.Now(), uint64(0)
	for {
		last, mirrored, err := s.lastSequences(ctx)
		if err != nil || mirrored >= last {
			return err
		}
		if mirrored > before {
			moved, before = time.Now(), mirrored
		}
		if time.Since(moved) > startTimeout {
			return fmt.Errorf("the mirror of changes stands at %d of %d", mirrored, last)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
