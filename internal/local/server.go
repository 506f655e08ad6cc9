package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/compress"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/gateway"
	"github.com/flavorless/flavorless/internal/embedded/sqlite"
	"github.com/flavorless/flavorless/internal/extsort"
	"github.com/flavorless/flavorless/internal/issuer"
	"github.com/flavorless/flavorless/internal/local/control"
	"github.com/flavorless/flavorless/internal/local/health"
	"github.com/flavorless/flavorless/internal/local/retention"
	"github.com/flavorless/flavorless/internal/metrics"
	"github.com/flavorless/flavorless/internal/metrics/prom"
	"github.com/flavorless/flavorless/internal/metrics/tokens"
	"github.com/flavorless/flavorless/internal/version"
	"github.com/flavorless/flavorless/internal/webhook"
)

// Server is a running server.
type Server struct {
	cfg    Config
	info   Info
	folder *folder
	creds  credentials
	secret string // for the control endpoint
	disk   diskSpace

	listener        net.Listener // of the API
	metricsListener net.Listener // nil if the metrics have no address of their own
	registry        *prometheus.Registry
	recorder        metrics.Recorder
	heartbeats      *health.Heartbeats
	followers       atomic.Int64 // clients that follow the changes now
	failures        *failures

	db       *sqlite.DB
	streams  *streams
	webhooks []*webhook.Endpoint
	events   objectEvents
	gateway  *gateway.Gateway
	api      *httpServer
	metrics  *httpServer // nil if the metrics have no address of their own
	cleaner  *retention.Cleaner
	pipeline *pipeline

	stopping chan struct{} // closed when the clients that follow the changes have to leave
	stop     sync.Once
	stopErr  error
}

// ErrBroken means that the queues could not be written because the disk was completely full. Nothing is lost. The
// caller should stop the server and start a new one.
var ErrBroken = errors.New("the queues can't be written")

// Start starts a server and returns when all of its parts are ready. It continues the work that an earlier process on
// the same folder left unfinished. The errors that the user can fix are ErrInUse, ErrConfig, and those of the operating
// system for the folder and the addresses.
func Start(ctx context.Context, cfg Config) (_ *Server, err error) {
	if cfg, err = cfg.checked(); err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	s := &Server{
		cfg: cfg, secret: rand.Text(), failures: newFailures(), stopping: make(chan struct{}),
		registry: registry, recorder: prom.New(registry), heartbeats: health.NewHeartbeats(cfg.Clock),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
		}
	}()
	// Take what only one process can have, before anything is changed.
	if err = s.openFolder(ctx); err != nil {
		return nil, err
	}
	if err = s.listen(ctx); err != nil {
		return nil, err
	}
	verifier, keys, err := s.verifier()
	if err != nil {
		return nil, err
	}
	// Open the stores, then what works on them.
	if err = s.openStores(ctx); err != nil {
		return nil, err
	}
	if err = s.startGateway(); err != nil {
		return nil, err
	}
	if err = s.serveAPI(verifier, keys); err != nil {
		return nil, err
	}
	s.startPipeline(context.WithoutCancel(ctx))
	// Now that everything is ready, let clients find it.
	s.info = s.describe()
	if err = s.folder.writeInfo(s.info); err != nil {
		return nil, fmt.Errorf("data folder %s: %w", s.folder.dir, err)
	}
	return s, nil
}

func (s *Server) openFolder(ctx context.Context) (err error) {
	if s.folder, err = openFolder(s.cfg.Dir); err != nil {
		return err
	}
	if err = s.folder.tighten(ctx, s.cfg.Log); err != nil {
		return err
	}
	// If the last process was killed, its file still names addresses that now may belong to somebody else.
	if err = s.folder.removeInfo(); err != nil {
		return fmt.Errorf("data folder %s: %w", s.folder.dir, err)
	}
	s.disk = diskSpace{dir: s.folder.dir, read: s.cfg.Limits.FreeDisk, reserve: s.cfg.Limits.MinFree}
	s.disk.warn(ctx, s.cfg.Log)
	s.creds, err = credentialsOf(s.folder.dir)
	return err
}

func (s *Server) listen(ctx context.Context) (err error) {
	var config net.ListenConfig
	if s.listener, err = config.Listen(ctx, "tcp", s.cfg.API); err != nil {
		return fmt.Errorf("listening for the API on %s: %w", s.cfg.API, err)
	}
	if s.cfg.Metrics == "" {
		return nil
	}
	if s.metricsListener, err = config.Listen(ctx, "tcp", s.cfg.Metrics); err != nil {
		return fmt.Errorf("listening for metrics on %s: %w", s.cfg.Metrics, err)
	}
	return nil
}

func (s *Server) openStores(ctx context.Context) (err error) {
	if err := extsort.Prepare(s.folder.path(sortingDir)); err != nil {
		return err
	}
	if s.db, err = sqlite.Open(sqlite.Config{
		Path: s.folder.path(databaseFile), Clock: s.cfg.Clock, Logger: s.cfg.Log, TombstoneRetention: s.cfg.Retention.Removed,
	}); err != nil {
		return err
	}
	if s.webhooks, err = openWebhooks(s.cfg, s.creds.WebhookKey); err != nil {
		return err
	}
	names := make([]string, len(s.webhooks))
	for i, e := range s.webhooks {
		names[i] = e.Name()
	}
	if s.streams, err = startStreams(ctx, broker.Config{
		Dir: s.folder.path("streams"), Addr: s.cfg.NATS, Webhooks: names, Logger: s.cfg.Log,
		Subscriber: broker.Credential{User: s.creds.NATSUser, Password: s.creds.NATSPassword},
		ChangesAge: s.cfg.Retention.Changes, ChangesBytes: s.cfg.Retention.ChangesBytes, Capacity: s.disk.checkPublish,
		MaxConnections: s.cfg.Limits.subscribers,
	}); err != nil {
		return err
	}
	registerProcess(s.registry, &s.followers)
	s.registry.MustRegister(&gauges{
		db: s.db, streams: s.streams, queues: queues(s.webhooks), disk: s.disk, clock: s.cfg.Clock, log: s.cfg.Log,
		errors: map[string]int{},
	})
	return nil
}

func (s *Server) startGateway() (err error) {
	s.events = objectEvents{
		ignore: s.cfg.Ignore, topic: s.streams.uploads, heartbeat: s.heartbeats.Of("gateway"),
	}
	s.gateway, err = gateway.Start(gateway.Config{
		Dir: s.folder.path("bucket"), Addr: s.cfg.S3, Region: region,
		AccessKey: s.creds.AccessKey, SecretKey: s.creds.SecretKey,
		Origins: s.cfg.Origins, Buckets: []string{uploadsBucket, reportsBucket}, ReadOnly: []string{reportsBucket},
		Bucket: uploadsBucket, Prefix: uploadsPrefix, OnStored: s.events.publish, Now: s.cfg.Clock, Logger: s.cfg.Log,
		MaxObject: s.cfg.Limits.MaxUpload, CheckSpace: s.disk.checkStore, MaxConnections: s.cfg.Limits.MaxConnections,
		MaxRequests: s.cfg.Limits.MaxRequests, ClientTimeout: s.cfg.Limits.ClientTimeout,
	})
	return err
}

// serveAPI serves the API, and next to it the control endpoint, the keys of the development issuer, and the metrics.
func (s *Server) serveAPI(verifier *api.Verifier, keys http.Handler) error {
	compressor, err := compress.New()
	if err != nil {
		return err
	}
	queues := queues(s.webhooks)
	checker := health.New(health.Config{
		Heartbeats: s.heartbeats, Table: s.db, Queues: s.streams, Stages: stages(queues), FreeDisk: s.disk.free,
		MinFree: s.cfg.Limits.MinFree, Clock: s.cfg.Clock, Log: s.cfg.Log,
	})
	handler, err := api.New(api.Config{
		Favorites: s.db, Uploads: s.db, Changes: changeLog{s.streams, s.stopping, &s.followers},
		Verifier:       tokens.Verifier{Next: verifier, Recorder: s.recorder},
		AllowedOrigins: s.cfg.Origins, Compress: compressor, Version: version.Get().Version, Health: checker.Check,
		Clock: s.cfg.Clock, Logger: s.cfg.Log,
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle(control.Path, control.Handler{
		Queues: s.streams, DeadQueues: deadQueues(queues), Secret: s.secret, Log: s.cfg.Log,
	})
	if keys != nil {
		mux.Handle(issuer.JWKSPath, keys)
	}
	switch {
	case s.metricsListener != nil:
		own := http.NewServeMux()
		own.Handle("GET "+MetricsPath, s.metricsHandler(isLoopback(s.metricsListener)))
		s.metrics = serveHTTP(s.metricsListener, own, maxScrapers, metricsTimeout, metricsIdle, s.cfg.Log, s.failures)
	case isLoopback(s.listener):
		mux.Handle("GET "+MetricsPath, s.metricsHandler(true))
	default:
		s.cfg.Log.Info("metrics are not served, because other machines can reach the API's address; " +
			"give the metrics an address of their own")
	}
	s.api = serveHTTP(s.listener, router{mux, metrics.HTTP{Next: handler, Recorder: s.recorder, Clock: time.Now}},
		s.cfg.Limits.MaxConnections, s.cfg.Limits.ClientTimeout, s.cfg.Limits.ClientTimeout/2, s.cfg.Log, s.failures)
	return nil
}

func (s *Server) startPipeline(ctx context.Context) {
	reconciled := make(chan struct{})
	s.cleaner = retention.New(retention.Config{
		Policy: s.cfg.Retention, Table: s.db, Queues: s.streams,
		Bucket: s.gateway, Uploads: uploadsBucket, Reports: reportsBucket,
		Reconciled: reconciled, Publish: s.events.publish, Clock: s.cfg.Clock, Log: s.cfg.Log,
	})
	s.pipeline = &pipeline{
		cfg: s.cfg, db: s.db, streams: s.streams, gateway: s.gateway, client: s.S3(), events: s.events,
		webhooks: s.webhooks, disk: s.disk, cleaner: s.cleaner, recorder: s.recorder, heartbeats: s.heartbeats,
		failures: s.failures, reconciled: reconciled, sorting: s.folder.path(sortingDir),
	}
	s.pipeline.start(ctx)
}

func (s *Server) describe() Info {
	info := Info{
		PID: os.Getpid(), API: reachable("http", s.listener.Addr().String()), S3: reachable("http", s.gateway.Addr()),
		NATS: reachable("nats", s.streams.Addr()), Bucket: uploadsBucket, ReportsBucket: reportsBucket, Region: region,
		AccessKey: s.creds.AccessKey, SecretKey: s.creds.SecretKey,
		NATSUser: s.creds.NATSUser, NATSPassword: s.creds.NATSPassword,
		Audience: s.cfg.Audience, Scope: s.cfg.RequiredScope, Development: s.cfg.development(), Ignore: s.cfg.Ignore,
		Control: s.secret,
	}
	if info.Development {
		info.Audience = developmentAudience
	}
	switch {
	case s.metricsListener != nil:
		info.Metrics = reachable("http", s.metricsListener.Addr().String()) + MetricsPath
	case isLoopback(s.listener):
		info.Metrics = info.API + MetricsPath
	}
	return info
}

// Info returns how to reach the server.
func (s *Server) Info() Info { return s.info }

// Failed returns a channel that is closed when a part of the server has ended by itself; see [Server.Err]. The other
// parts run until Stop.
func (s *Server) Failed() <-chan struct{} { return s.failures.first }

// Err returns the errors of all parts that have ended by themselves, or nil.
func (s *Server) Err() error { return s.failures.all() }

// S3 returns a client with the server's own credentials, which can also write to the reports bucket.
func (s *Server) S3() *s3.Client {
	own := s.gateway.ServerCredential()
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(reachable("http", s.gateway.Addr())), Region: region, UsePathStyle: true,
		Credentials: awscredentials.NewStaticCredentialsProvider(own.AccessKey, own.SecretKey, ""),
	})
}

// Uploads returns the newest uploads of the ledger, without using the API.
func (s *Server) Uploads(ctx context.Context, before string, limit int) ([]events.Upload, error) {
	return s.db.Uploads(ctx, before, limit)
}

// Stop stops the server. Further calls return the result of the first one.
func (s *Server) Stop(ctx context.Context) error {
	s.stop.Do(func() { s.stopErr = s.stopAll(ctx) })
	return s.stopErr
}

// stopAll stops all parts in the order in which work flows, so that each one can finish what it has: first new uploads,
// then the stages, and at last the stores that they use. Parts that were not started are nil.
func (s *Server) stopAll(ctx context.Context) error {
	var errs []error
	if s.pipeline != nil {
		s.pipeline.stopping.Store(true)
	}
	if s.gateway != nil {
		errs = append(errs, s.gateway.Drain(ctx))
	}
	if s.pipeline != nil {
		s.pipeline.stop()
	}
	if s.gateway != nil { // the stages read its objects until here
		errs = append(errs, s.gateway.Stop(ctx))
	}
	close(s.stopping) // otherwise Shutdown would wait for clients that follow the changes
	for _, server := range []*httpServer{s.api, s.metrics} {
		if server != nil {
			errs = append(errs, server.Shutdown(ctx))
		}
	}
	for _, listener := range []net.Listener{s.listener, s.metricsListener} {
		if listener != nil {
			_ = listener.Close() // a server has closed it already, if it was started
		}
	}
	if s.streams != nil {
		s.streams.Stop()
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	if s.folder != nil {
		errs = append(errs, s.folder.removeInfo(), s.folder.close())
	}
	return errors.Join(errs...)
}
