package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/aws/buckets"
	"github.com/flavorless/flavorless/internal/embedded/jetstream"
)

// Groups of batches that are applied in one transaction: large ones cost less a row.
const (
	applyMessages = 16
	applyBytes    = applyMessages * ingest.MaxMessage
	applyGroups   = 2 // one is decoded while the other is written
	ingestFiles   = 2 // read at the same time
)

// stored is called for each object before its upload is answered.
func (s *Server) stored(ctx context.Context, o events.Object) error {
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	message := events.Message{ID: o.UploadID(), Subject: jetstream.UploadSubject, Body: body}
	return errors.Join(s.streams.Topic(jetstream.Uploads).Publish(ctx, []events.Message{message})...)
}

// startStages runs the stages between the stores until stopStages. What each does is the core's; here is only what drives
// it.
func (s *Server) startStages(ctx context.Context) {
	ctx, s.stopStages = context.WithCancel(ctx)
	client := s.S3()
	reading := ingest.Config{
		Objects: buckets.Objects{Client: client}, Updates: outlet{s.streams.Topic(jetstream.Updates), s.streams.Topic(jetstream.Uploads)},
		Ledger: s.db, Reports: buckets.Reports{Client: client, Bucket: reportsBucket}, Clock: s.cfg.Clock, Log: s.cfg.Log,
	}
	applier := &ingest.Applier{Table: s.db, Log: s.cfg.Log}

	s.stage("reconcile", func() error { return s.reconcile(ctx) })
	s.stage("ingest", func() error {
		return s.streams.Consume(ctx, jetstream.QueueConfig{Stream: jetstream.Uploads, MaxMessages: 1, Concurrency: ingestFiles},
			func(ctx context.Context, group []jetstream.Delivery) []error {
				errs := make([]error, len(group))
				for i, d := range group {
					errs[i] = read(ctx, reading, s.cfg.ReadFor, d)
				}
				return errs
			})
	})
	s.stage("apply", func() error {
		return s.streams.Consume(ctx, jetstream.QueueConfig{
			Stream: jetstream.Updates, MaxMessages: applyMessages, MaxBytes: applyBytes, Concurrency: applyGroups,
		}, func(ctx context.Context, group []jetstream.Delivery) []error {
			bodies := make([][]byte, len(group))
			for i, d := range group {
				bodies[i] = d.Body
			}
			return applier.Apply(ctx, bodies)
		})
	})
	s.stage("announce", func() error { return s.announce(ctx) })
	s.stage("prune", func() error { return s.prune(ctx) })
}

func (s *Server) stage(name string, run func() error) {
	s.stages.Go(func() {
		if err := run(); err != nil && !errors.Is(err, context.Canceled) {
			s.cfg.Log.Error("a stage ended", "stage", name, "error", err)
			s.failed <- fmt.Errorf("stage %s: %w", name, err)
		}
	})
}

// reconcile announces what was stored without being announced: a process that died between the two never answered the
// upload, but the object is there, and whoever sees it there expects it to count. Announcing twice does no harm.
func (s *Server) reconcile(ctx context.Context) error {
	return s.gateway.Objects(ctx, func(o events.Object) error {
		_, err := s.db.Upload(ctx, o.UploadID())
		if !errors.Is(err, events.ErrNotFound) {
			return err
		}
		return s.stored(ctx, o)
	})
}

// announce publishes what the outbox has, in its order, and takes it out once it is stored in the changes topic. It
// tries without end: there is nowhere else for a change to go.
func (s *Server) announce(ctx context.Context) error {
	announcer := &ingest.Announcer{Changes: s.streams.Topic(jetstream.Changes), Log: s.cfg.Log}
	for {
		err := s.db.WaitPending(ctx)
		if err == nil {
			err = s.announcePending(ctx, announcer)
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // told to stop
		}
		if err != nil {
			s.cfg.Log.Error("announcing again in a second", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
}

func (s *Server) announcePending(ctx context.Context, announcer *ingest.Announcer) error {
	records, err := s.db.Pending(ctx, 16)
	if err != nil {
		return err
	}
	for _, r := range records {
		if err := announcer.Announce(ctx, r.Changes); err != nil {
			return err
		}
		if err := s.db.Announced(ctx, r.Seq); err != nil {
			return err
		}
	}
	return nil
}

// pruneInterval is how often the table forgets people who were removed long ago.
const pruneInterval = time.Hour

func (s *Server) prune(ctx context.Context) error {
	tick := time.NewTicker(pruneInterval)
	defer tick.Stop()
	for {
		for n := 1; n > 0; {
			var err error
			if n, err = s.db.Prune(ctx); err != nil && ctx.Err() == nil {
				s.cfg.Log.Error("pruning", "error", err) // the next time may do better
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
