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
	"github.com/flavorless/flavorless/internal/issuer"
	"github.com/flavorless/flavorless/internal/jwks"
	"github.com/flavorless/flavorless/internal/local/control"
	"github.com/flavorless/flavorless/internal/metrics"
	"github.com/flavorless/flavorless/internal/metrics/tokens"
	"github.com/flavorless/flavorless/internal/version"
	"github.com/flavorless/flavorless/internal/webhook"
)

// Server is the running house.
type Server struct {
	cfg     Config
	info    Info
	folder  *folder
	creds   credentials
	control string

	listener net.Listener
	http     *http.Server
	db       *sqlite.DB
	streams  *streams
	gateway  *gateway.Gateway
	webhooks []*webhook.Endpoint

	open            context.Context // for readers, until close //nolint:containedctx // it is the server's
	close           context.CancelFunc
	registry        *prometheus.Registry
	recorder        metrics.Recorder
	metricsListener net.Listener // nil if the metrics have no address of their own
	metricsHTTP     *http.Server // likewise
	metricsURL      string
	followers       atomic.Int64 // of the changes, over HTTP

	vitals      vitals
	stages      sync.WaitGroup
	reconciled  chan struct{} // closed when what lay in the bucket at the start is known
	connections *connections  // of the API

	stopStages context.CancelFunc
	failed     chan error
	stopping   atomic.Bool
	stop       sync.Once
	stopErr    error
}

// ErrBroken: the queues could not be written, because something filled the disk to its very end. Nothing is lost. Stop the
// server, and start another one.
var ErrBroken = errors.New("the queues are out of order")

// Start starts everything, in the order in which it is needed, and returns when all is ready. What it could not finish in
// an earlier life, it goes on with. The errors that only the user can mend are ErrInUse, ErrConfig, and those of the
// operating system about the folder and the addresses.
func Start(ctx context.Context, cfg Config) (_ *Server, err error) {
	if cfg, err = cfg.checked(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, control: rand.Text(), failed: make(chan error, 16), reconciled: make(chan struct{}), stopStages: func() {}}
	s.open, s.close = context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
		}
	}()
	if s.folder, err = openFolder(cfg.Dir); err != nil {
		return nil, err
	}
	if err = s.folder.tighten(ctx, cfg.Log); err != nil {
		return nil, err
	}
	if err = s.folder.untell(); err != nil { // of a life that was killed: it leads nowhere, or to strangers
		return nil, fmt.Errorf("data folder %s: %w", s.folder.dir, err)
	}
	if s.creds, err = credentialsOf(s.folder.dir); err != nil {
		return nil, err
	}
	if s.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.API); err != nil {
		return nil, fmt.Errorf("the API's address %s: %w", cfg.API, err)
	}
	if err = s.listenMetrics(ctx); err != nil {
		return nil, err
	}
	s.measure()
	verifier, keys, err := s.verifier()
	if err != nil {
		return nil, err
	}
	if s.db, err = sqlite.Open(sqlite.Config{
		Path: s.folder.path(databaseFile), Clock: cfg.Clock, Logger: cfg.Log, TombstoneRetention: cfg.Retention.Removed,
	}); err != nil {
		return nil, err
	}
	webhooks, err := s.openWebhooks()
	if err != nil {
		return nil, err
	}
	if s.streams, err = startStreams(ctx, broker.Config{
		Dir: s.folder.path("streams"), Addr: cfg.NATS, Webhooks: webhooks, Logger: cfg.Log,
		Subscriber: broker.Credential{User: s.creds.NATSUser, Password: s.creds.NATSPassword},
		ChangesAge: cfg.Retention.Changes, ChangesBytes: cfg.Retention.ChangesBytes, Room: s.roomToWork,
		MaxConnections: cfg.Limits.subscribers,
	}); err != nil {
		return nil, err
	}
	if s.gateway, err = gateway.Start(gateway.Config{
		Dir: s.folder.path("bucket"), Addr: cfg.S3, AccessKey: s.creds.AccessKey, SecretKey: s.creds.SecretKey, Region: region,
		Origins: s.cfg.Origins, Buckets: []string{uploadsBucket, reportsBucket}, ReadOnly: []string{reportsBucket}, Bucket: uploadsBucket, Prefix: uploadsPrefix,
		OnStored: s.stored, Now: cfg.Clock, Logger: cfg.Log, MaxObject: cfg.Limits.MaxUpload, CheckSpace: s.roomToStore,
		MaxConnections: cfg.Limits.MaxConnections, MaxRequests: cfg.Limits.MaxRequests, ClientTimeout: cfg.Limits.Patience,
	}); err != nil {
		return nil, err
	}
	if err = s.serveAPI(verifier, keys); err != nil {
		return nil, err
	}
	s.startStages(context.WithoutCancel(ctx))
	s.info = Info{
		PID: os.Getpid(), API: reachable("http", s.listener.Addr().String()), S3: reachable("http", s.gateway.Addr()),
		NATS: reachable("nats", s.streams.Addr()), Metrics: s.metricsURL, Bucket: uploadsBucket, ReportsBucket: reportsBucket, Region: region,
		AccessKey: s.creds.AccessKey, SecretKey: s.creds.SecretKey, NATSUser: s.creds.NATSUser, NATSPassword: s.creds.NATSPassword,
		Audience: cfg.Audience, Scope: cfg.RequiredScope, Development: cfg.development(), Ignore: cfg.Ignore, Control: s.control,
	}
	if cfg.development() {
		s.info.Audience = audience
	}
	if err = s.folder.tell(s.info); err != nil {
		return nil, fmt.Errorf("data folder %s: %w", s.folder.dir, err)
	}
	return s, nil
}

// Info tells how to reach the server.
func (s *Server) Info() Info { return s.info }

// Failed gives an error when a part of the house ended by itself. The others go on until Stop.
func (s *Server) Failed() <-chan error { return s.failed }

// S3 returns a client with the server's own credential, which may also write to the reports bucket.
func (s *Server) S3() *s3.Client {
	own := s.gateway.ServerCredential()
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(reachable("http", s.gateway.Addr())), Region: region, UsePathStyle: true,
		Credentials: awscredentials.NewStaticCredentialsProvider(own.AccessKey, own.SecretKey, ""),
	})
}

func (s *Server) serveAPI(verifier *api.Verifier, keys http.Handler) error {
	compressed, err := compress.New()
	if err != nil {
		return err
	}
	handler, err := api.New(api.Config{
		Favorites: s.db, Uploads: s.db, Changes: changeLog{s.streams, s.open, &s.followers}, Verifier: tokens.Verifier{Next: verifier, Recorder: s.recorder},
		AllowedOrigins: s.cfg.Origins, Compress: compressed, Version: version.Get().Version, Health: s.health, Clock: s.cfg.Clock, Logger: s.cfg.Log,
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle(control.Path, control.Handler{Queues: s.streams, Names: s.deadQueues(), Secret: s.control, Log: s.cfg.Log})
	if keys != nil {
		mux.Handle(issuer.JWKSPath, keys)
	}
	s.serveMetrics(mux)
	patience := s.cfg.Limits.Patience
	limited := limitConnections(s.listener, s.cfg.Limits.MaxConnections)
	s.connections = limited
	s.http = &http.Server{ // what it reads are headers: bodies are left alone
		Handler:           beside{mux, metrics.HTTP{Next: handler, Recorder: s.recorder, Clock: time.Now}},
		ReadHeaderTimeout: patience / 12, ReadTimeout: patience / 2, WriteTimeout: patience, IdleTimeout: patience / 2,
		MaxHeaderBytes: 32 << 10, // the URL among them
		ConnState:      limited.state,
		ErrorLog:       s.httpLog(),
	}
	go func() {
		if err := s.http.Serve(limited); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("the API ended: %w", err)
		}
	}()
	return nil
}

// keysTimeout is how long the keys of the development issuer are waited for: they are in this very process, and late only
// when the machine is busy.
const keysTimeout = 20 * time.Second

// verifier checks tokens of the identity provider, or else of the development issuer, whose keys it then returns to be
// served. Those are fetched from there like any others: there is one way to verify a token.
func (s *Server) verifier() (*api.Verifier, http.Handler, error) {
	set := jwks.Config{URI: s.cfg.JWKSURI, Clock: s.cfg.Clock, Logger: s.cfg.Log, Observe: s.keysFetched()}
	config := api.VerifierConfig{Issuer: s.cfg.Issuer, Audience: s.cfg.Audience, RequiredScope: s.cfg.RequiredScope, Clock: s.cfg.Clock}
	var served http.Handler
	if s.cfg.development() {
		is, err := issuer.Open(issuer.Config{Dir: IssuerDir(s.folder.dir), Clock: s.cfg.Clock})
		if err != nil {
			return nil, nil, err
		}
		served, config.Issuer, config.Audience = is, is.Name(), audience
		set.URI = "http://localhost" + issuer.JWKSPath
		set.Timeout = keysTimeout
		set.Client = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, s.listener.Addr().String())
		}}}
	}
	keys, err := jwks.New(set)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	config.Keys = keys
	verifier, err := api.NewVerifier(config)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return verifier, served, nil
}

// keysFetched counts fetches of the issuer's keys, and takes them as its pulse.
func (s *Server) keysFetched() func(jwks.FetchResult) {
	count, keys := tokens.ObserveFetches(s.recorder), s.vitals.pulse("keys")
	return func(f jwks.FetchResult) {
		count(f)
		keys.beat(s.cfg.Clock(), f.Err != nil)
	}
}

// Stop ends everything in the order in which work flows, so that each part can still hand on what it has: first no more
// uploads, then the stages, then what they work on. Calling it again returns the first call's result.
func (s *Server) Stop(ctx context.Context) error {
	s.stop.Do(func() { s.stopErr = s.stopAll(ctx) })
	return s.stopErr
}

func (s *Server) stopAll(ctx context.Context) error {
	s.stopping.Store(true)
	var errs []error
	if s.gateway != nil {
		errs = append(errs, s.gateway.Drain(ctx))
	}
	s.stopStages()
	s.stages.Wait()
	if s.gateway != nil { // the stages read its directory until here
		errs = append(errs, s.gateway.Stop(ctx))
	}
	s.close() // or the API would wait for those who follow the changes
	if s.http != nil {
		errs = append(errs, s.http.Shutdown(ctx))
	}
	if s.listener != nil {
		_ = s.listener.Close() // again, if the API had it
	}
	if s.metricsHTTP != nil {
		errs = append(errs, s.metricsHTTP.Shutdown(ctx))
	}
	if s.metricsListener != nil {
		_ = s.metricsListener.Close() // likewise
	}
	if s.streams != nil {
		s.streams.Stop()
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	if s.folder != nil {
		errs = append(errs, s.folder.untell(), s.folder.close())
	}
	return errors.Join(errs...)
}

// Uploads lists the newest uploads of the ledger, without asking the API.
func (s *Server) Uploads(ctx context.Context, before string, limit int) ([]events.Upload, error) {
	return s.db.Uploads(ctx, before, limit)
}

// Unannounced gives how many records of changes wait in the outbox: 0 or more than 0 is all that can be told from it.
func (s *Server) Unannounced(ctx context.Context) (int, error) {
	records, err := s.db.Pending(ctx, 1)
	return len(records), err
}
