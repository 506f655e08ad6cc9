package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/gateway"
	"github.com/flavorless/flavorless/internal/embedded/queue"
	"github.com/flavorless/flavorless/internal/embedded/sqlite"
	"github.com/flavorless/flavorless/internal/embedded/topic"
	"github.com/flavorless/flavorless/internal/local/health"
	"github.com/flavorless/flavorless/internal/local/retention"
	"github.com/flavorless/flavorless/internal/metrics"
	"github.com/flavorless/flavorless/internal/s3store"
	"github.com/flavorless/flavorless/internal/webhook"
)

// Batches are applied in groups, one transaction for each group, because a large transaction costs less per row.
const (
	applyMessages = 16
	applyBytes    = applyMessages * ingest.MaxMessage
	applyGroups   = 2 // one is decoded while the other one is written
	ingestFiles   = 2 // read concurrently
)

// objectEvents adds the events of stored objects to the queue of ingest.
type objectEvents struct {
	ignore    events.IgnoreList
	topic     *topic.Topic
	heartbeat *health.Heartbeat
}

// publish adds the event of an object, unless its name is ignored. The gateway calls it before it answers an upload.
func (e objectEvents) publish(ctx context.Context, o events.Object) error {
	if e.ignore.Match(o) {
		return nil
	}
	err := publishObject(ctx, e.topic, o)
	e.heartbeat.Beat(err == nil)
	return err
}

func publishObject(ctx context.Context, topic *topic.Topic, o events.Object) error {
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	id := o.UploadID()
	message := events.Message{
		ID: id, Subject: broker.UploadSubject, Attributes: map[string]string{"upload": id}, Body: body,
	}
	return errors.Join(topic.Publish(ctx, []events.Message{message})...)
}

// pipeline runs the stages between the stores. The work of the stages is in the core; the pipeline connects it to the
// queues.
type pipeline struct {
	cfg        Config
	db         *sqlite.DB
	streams    *streams
	gateway    *gateway.Gateway
	client     *s3.Client // of the gateway
	events     objectEvents
	webhooks   []*webhook.Endpoint
	disk       diskSpace
	sorting    string // folder for temporary files
	cleaner    *retention.Cleaner
	recorder   metrics.Recorder
	heartbeats *health.Heartbeats
	failures   *failures
	reconciled chan struct{} // closed by the stage reconcile

	cancel   context.CancelFunc
	stages   sync.WaitGroup
	stopping atomic.Bool
}

// start starts all stages. They run until stop.
func (p *pipeline) start(ctx context.Context) {
	ctx, p.cancel = context.WithCancel(ctx)
	reading := ingest.Config{
		Objects: s3store.Objects{Client: p.client},
		Updates: p.streams.updates, Continuations: p.streams.uploads,
		Ledger:  metrics.Ledger{Next: p.db, Recorder: p.recorder},
		Reports: s3store.Reports{Client: p.client, Bucket: reportsBucket},
		Sorting: ingest.Sorting{From: p.cfg.SortFrom, Dir: p.sorting, MaxDisk: p.disk.forSorting},
		Clock:   p.cfg.Clock, Log: p.cfg.Log,
	}
	applier := &ingest.Applier{
		Table:  metrics.Table{Next: p.db, Recorder: p.recorder},
		Copies: s3store.Reports{Client: p.client, Bucket: reportsBucket}, Log: p.cfg.Log,
	}
	announcer := metrics.Announcer{
		Next:     &ingest.Announcer{Changes: p.streams.changes, Log: p.cfg.Log},
		Recorder: p.recorder, Clock: p.cfg.Clock,
	}
	queues := queues(p.webhooks)

	p.stage("gateway", func() error { return p.watchGateway(ctx) })
	p.stage("reconcile", func() error { return p.reconcile(ctx) })
	p.stage("ingest", func() error {
		return p.streams.Consume(ctx, queue.Config{
			Stream: broker.Uploads, MaxMessages: 1, Concurrency: ingestFiles,
			Pause: p.cfg.Limits.RetryInterval, Observe: p.observe(queues[0]),
		}, p.pauseWhileFull(p.disk.checkIngest, readEach(reading, p.cfg.ReadFor)))
	})
	p.stage("apply", func() error {
		return p.streams.Consume(ctx, queue.Config{
			Stream: broker.Updates, MaxMessages: applyMessages, MaxBytes: applyBytes, Concurrency: applyGroups,
			Pause: p.cfg.Limits.RetryInterval, Observe: p.observe(queues[1]),
		}, p.pauseWhileFull(p.disk.checkPublish, applyGroup(applier)))
	})
	for i, e := range p.webhooks {
		p.startWebhook(ctx, e, queues[2+i])
	}
	p.stage("announce", func() error {
		return announcing{
			feed: p.db, announcer: announcer, pause: announcePause, heartbeat: p.heartbeats.Of("announce"), log: p.cfg.Log,
		}.run(ctx)
	})
	p.stage("tidy", func() error { return p.cleaner.Run(ctx) })
	p.stage("queues", func() error { return p.watchQueues(ctx) })
}

// stop stops all stages and waits for them.
func (p *pipeline) stop() {
	p.cancel()
	p.stages.Wait()
}

// stage runs a stage in the background. If the stage ends before stop, the server has failed.
func (p *pipeline) stage(name string, run func() error) {
	heartbeat := p.heartbeats.Of(name)
	p.stages.Go(func() {
		if err := recovered(run); err != nil && !errors.Is(err, context.Canceled) {
			heartbeat.Stop()
			level := slog.LevelError
			if errors.Is(err, queue.ErrStopped) { // the stage queues reports why
				level, err = slog.LevelWarn, fmt.Errorf("%w: %w", ErrBroken, err)
			}
			p.cfg.Log.Log(context.Background(), level, "a stage ended",
				"event", "stage_ended", "stage", name, "error", err)
			p.failures.add(fmt.Errorf("stage %s: %w", name, err))
		}
	})
}

// recovered calls run and turns a panic into an error, so that the other stages can end in order.
func recovered(run func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return run()
}

// watchGateway returns an error if the gateway stops accepting connections although the server is not stopping.
func (p *pipeline) watchGateway(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-p.gateway.Done():
	}
	if p.stopping.Load() {
		return nil
	}
	return errors.New("the bucket accepts no more connections")
}

// watchQueues returns ErrBroken if nothing can be stored in the queues until the next start.
func (p *pipeline) watchQueues(ctx context.Context) error {
	var err error
	select {
	case err = <-p.streams.Broken():
	case <-ctx.Done():
		// Another stage may have ended first, because of the broken queues.
		select {
		case err = <-p.streams.Broken():
		default:
			return nil
		}
	}
	return fmt.Errorf("%w: %w", ErrBroken, err)
}

// observe returns a function that counts the outcomes of a queue's deliveries and reports them as the heartbeat of its
// stage. A dead letter is not reported, because it can be the fault of the message.
func (p *pipeline) observe(q consumer) func(queue.Outcome) {
	label, heartbeat := metrics.Label{Name: "queue", Value: q.label}, p.heartbeats.Of(q.stage)
	return func(o queue.Outcome) {
		switch o {
		case queue.Done:
			heartbeat.Beat(true)
		case queue.Waiting:
			heartbeat.Beat(false)
		case queue.Retried:
			heartbeat.Beat(false)
			p.recorder.Count(metrics.Retries, 1, label)
		case queue.DeadLettered:
			p.recorder.Count(metrics.DeadLetters, 1, label)
		}
	}
}

// pauseWhileFull returns a handler that pauses its queue while check returns an error, which is when the disk is nearly
// full. Messages are then held, which does not count as a try. A failure does not count either if its cause is the
// disk, an overloaded bucket, a lack of file descriptors, or a bucket that is gone because the server is stopping.
func (p *pipeline) pauseWhileFull(check func() error, handle queue.Handler) queue.Handler {
	return func(ctx context.Context, group []queue.Delivery) []error {
		if err := check(); err != nil {
			return slices.Repeat([]error{err}, len(group))
		}
		errs := handle(ctx, group)
		for i, err := range errs {
			if err == nil || errors.Is(err, events.ErrPermanent) {
				continue
			}
			if isOverloaded(err) || outOfDescriptors(err) || p.stopping.Load() || check() != nil {
				errs[i] = fmt.Errorf("%w: %w", events.ErrUnavailable, err)
			}
		}
		return errs
	}
}

// isOverloaded reports whether the bucket rejected a request because it had too many, or no space.
func isOverloaded(err error) bool {
	var response *awshttp.ResponseError
	if !errors.As(err, &response) {
		return false
	}
	status := response.HTTPStatusCode()
	return status == http.StatusServiceUnavailable || status == http.StatusInsufficientStorage
}

// applyGroup returns a handler that applies a group of batches.
func applyGroup(applier *ingest.Applier) queue.Handler {
	return func(ctx context.Context, group []queue.Delivery) []error {
		bodies := make([][]byte, len(group))
		for i, d := range group {
			bodies[i] = d.Body
		}
		return applier.Apply(ctx, bodies)
	}
}

// reconcile publishes the events of objects that are not in the ledger. If the process dies after it has stored an
// object and before it has stored the event, the upload gets no answer, but the uploader can see the object and expects
// its rows to be applied. Events that are published twice do no harm.
func (p *pipeline) reconcile(ctx context.Context) error {
	err := p.gateway.Objects(ctx, func(o events.Object) error {
		if p.cfg.Ignore.Match(o) {
			return nil
		}
		_, err := p.db.Upload(ctx, o.UploadID())
		if !errors.Is(err, events.ErrNotFound) {
			return err
		}
		log := p.cfg.Log.With("upload", o.UploadID(), "key", o.Key)
		log.InfoContext(ctx, "an object is not in the ledger; publishing its event again")
		for {
			if err = p.events.publish(ctx, o); err == nil || errors.Is(err, events.ErrPermanent) {
				return err
			}
			log.DebugContext(ctx, "publishing the event of an object failed; it will be retried", "error", err)
			if !wait(ctx, p.cfg.Limits.RetryInterval) {
				return ctx.Err()
			}
		}
	})
	if err == nil {
		close(p.reconciled)
	}
	return err
}
