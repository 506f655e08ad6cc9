package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/queue"
	"github.com/flavorless/flavorless/internal/embedded/topic"
	"github.com/flavorless/flavorless/internal/metrics"
	"github.com/flavorless/flavorless/internal/s3store"
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
	if s.cfg.Ignore.Match(o) {
		return nil
	}
	err := handOver(ctx, s.streams.uploads, o)
	s.vitals.pulse("gateway").beat(s.cfg.Clock(), err != nil)
	return err
}

func handOver(ctx context.Context, uploads *topic.Topic, o events.Object) error {
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	id := o.UploadID()
	message := events.Message{ID: id, Subject: broker.UploadSubject, Attributes: map[string]string{"upload": id}, Body: body}
	return errors.Join(uploads.Publish(ctx, []events.Message{message})...)
}

// startStages runs the stages between the stores until stopStages. What each does is the core's; here is only what drives
// it.
func (s *Server) startStages(ctx context.Context) {
	ctx, s.stopStages = context.WithCancel(ctx)
	client := s.S3()
	reading := ingest.Config{
		Objects: s3store.Objects{Client: client}, Updates: s.streams.updates, Continuations: s.streams.uploads,
		Ledger: metrics.Ledger{Next: s.db, Recorder: s.recorder}, Reports: s3store.Reports{Client: client, Bucket: reportsBucket},
		Clock: s.cfg.Clock, Log: s.cfg.Log,
	}
	pause := s.cfg.Limits.Pause
	applier := &ingest.Applier{Table: metrics.Table{Next: s.db, Recorder: s.recorder}, Log: s.cfg.Log}

	s.stage("gateway", func() error { return s.watchGateway(ctx) })
	s.stage("reconcile", func() error { return s.reconcile(ctx) })
	s.stage("ingest", func() error {
		c := queue.Config{
			Stream: broker.Uploads, MaxMessages: 1, Concurrency: ingestFiles, Pause: pause, Observe: s.observe("ingest", "ingest"),
		}
		return s.streams.Consume(ctx, c, s.while(s.roomToRead, readEach(reading, s.cfg.ReadFor)))
	})
	s.stage("apply", func() error {
		c := queue.Config{
			Stream: broker.Updates, MaxMessages: applyMessages, MaxBytes: applyBytes, Concurrency: applyGroups,
			Pause: pause, Observe: s.observe("apply", "apply"),
		}
		return s.streams.Consume(ctx, c, s.while(s.roomToWork, applyTogether(applier)))
	})
	s.startWebhooks(ctx)
	s.stage("announce", func() error {
		pulse := s.vitals.pulse("announce")
		return announcing{
			feed: s.db, announcer: metrics.Announcer{
				Next: &ingest.Announcer{Changes: s.streams.changes, Log: s.cfg.Log}, Recorder: s.recorder, Clock: s.cfg.Clock,
			},
			pause: announcePause, tried: func(failed bool) { pulse.beat(s.cfg.Clock(), failed) }, log: s.cfg.Log,
		}.run(ctx)
	})
	s.stage("tidy", func() error { return s.tidyUp(ctx) })
	s.stage("queues", func() error {
		var err error
		select {
		case <-ctx.Done(): // perhaps because another stage ended, for which broken queues are the reason
			select {
			case err = <-s.streams.Broken():
			default:
				return nil
			}
		case err = <-s.streams.Broken():
		}
		return fmt.Errorf("%w: %w", ErrBroken, err) // nothing more can be stored there before the next start
	})
}

func (s *Server) stage(name string, run func() error) {
	pulse := s.vitals.pulse(name)
	s.stages.Go(func() {
		if err := whole(run); err != nil && !errors.Is(err, context.Canceled) {
			pulse.end()
			s.cfg.Log.Error("a stage ended", "stage", name, "error", err)
			s.failed <- fmt.Errorf("stage %s: %w", name, err)
		}
	})
}

// whole runs a stage to its end, and makes an error of a panic: the others still get to end in order.
func whole(run func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return run()
}

// observe counts what became of a queue's deliveries, and takes it as the pulse of the stage. A dead letter says nothing
// about that: it may be the message's own fault.
func (s *Server) observe(stage, name string) func(queue.Outcome) {
	label, pulse := metrics.Label{Name: "queue", Value: name}, s.vitals.pulse(stage)
	return func(o queue.Outcome) {
		switch o {
		case queue.Done:
			pulse.beat(s.cfg.Clock(), false)
		case queue.Waiting:
			pulse.beat(s.cfg.Clock(), true)
		case queue.Retried:
			pulse.beat(s.cfg.Clock(), true)
			s.recorder.Count(metrics.Retries, 1, label)
		case queue.DeadLettered:
			s.recorder.Count(metrics.DeadLetters, 1, label)
		}
	}
}

// applyTogether applies a group of messages of UPDATES.
func applyTogether(applier *ingest.Applier) queue.Handler {
	return func(ctx context.Context, group []queue.Delivery) []error {
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
	err := s.gateway.Objects(ctx, func(o events.Object) error {
		if s.cfg.Ignore.Match(o) {
			return nil
		}
		_, err := s.db.Upload(ctx, o.UploadID())
		if !errors.Is(err, events.ErrNotFound) {
			return err
		}
		s.cfg.Log.InfoContext(ctx, "stored, and not in the ledger yet; announcing it once more", "upload", o.UploadID(), "key", o.Key)
		for {
			if err = s.stored(ctx, o); err == nil || errors.Is(err, events.ErrPermanent) {
				return err
			}
			s.cfg.Log.DebugContext(ctx, "announcing it again", "upload", o.UploadID(), "key", o.Key, "error", err)
			if !waited(ctx, s.cfg.Limits.Pause) {
				return ctx.Err()
			}
		}
	})
	if err == nil {
		close(s.reconciled)
	}
	return err
}
