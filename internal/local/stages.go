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
		queue := jetstream.QueueConfig{Stream: jetstream.Uploads, MaxMessages: 1, Concurrency: ingestFiles}
		return s.streams.Consume(ctx, queue, readEach(reading, s.cfg.ReadFor))
	})
	s.stage("apply", func() error {
		queue := jetstream.QueueConfig{
			Stream: jetstream.Updates, MaxMessages: applyMessages, MaxBytes: applyBytes, Concurrency: applyGroups,
		}
		return s.streams.Consume(ctx, queue, applyTogether(applier))
	})
	s.stage("announce", func() error {
		announcer := &ingest.Announcer{Changes: s.streams.Topic(jetstream.Changes), Log: s.cfg.Log}
		return announcing{feed: s.db, announcer: announcer, pause: time.Second, log: s.cfg.Log}.run(ctx)
	})
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

// applyTogether applies a group of messages of UPDATES.
func applyTogether(applier *ingest.Applier) jetstream.Handler {
	return func(ctx context.Context, group []jetstream.Delivery) []error {
		bodies := make([][]byte, len(group))
		for i, d := range group {
			bodies[i] = d.Body
		}
		return applier.Apply(ctx, bodies)
	}
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
