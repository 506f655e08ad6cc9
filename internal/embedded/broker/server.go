package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/accept"
)

// Config says where and how the server runs. Zero values get the defaults named here.
type Config struct {
	Dir        string     // where everything is stored; created with mode 0700. No two processes may share it.
	Addr       string     // host:port for clients outside; no host means loopback, port 0 a free one; empty: none can connect
	Subscriber Credential // may read CHANGES; without a user there is no such credential

	ChangesAge   time.Duration // how long CHANGES keeps a change; 7 days
	ChangesBytes int64         // how many bytes of changes CHANGES keeps; 10 GiB
	QueueBytes   int64         // most bytes waiting in each of UPLOADS and UPDATES; beyond, Publish fails. No limit.
	MaxStore     int64         // most bytes of all streams together. No limit.

	Webhooks []string // names of those that have a queue, of letters, digits and hyphens

	MaxConnections int // of subscribers; 256

	// Room tells, by an error, that the disk is too full to write. It is asked before anything is published, and its error
	// is the answer then: a stream that meets the very end of the disk takes nothing more until the server is started anew.
	// Nil always has room.
	Room func() error

	// SyncInterval is how often what was written is forced to disk: a power failure can lose that much. 1 second.
	// SyncAlways does so before each message is acknowledged, at the price of a disk flush a message.
	SyncInterval time.Duration
	SyncAlways   bool

	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.ChangesAge == 0 {
		c.ChangesAge = 7 * 24 * time.Hour
	}
	if c.ChangesBytes == 0 {
		c.ChangesBytes = 10 << 30
	}
	if c.QueueBytes == 0 {
		c.QueueBytes = -1
	}
	if c.MaxStore == 0 {
		c.MaxStore = math.MaxInt64 // the server would take what is free at its start, and not open streams that may grow larger
	}
	c.MaxConnections = cmp.Or(c.MaxConnections, 256)
	if c.Room == nil {
		c.Room = func() error { return nil }
	}
	if c.SyncInterval == 0 {
		c.SyncInterval = time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Server is a running NATS server with its streams.
type Server struct {
	config      Config
	log         *slog.Logger
	nats        *server.Server
	listener    net.Listener // for subscribers; nil without
	subscribers *subscribers // likewise

	// Connections of this process. What waits on one of them, or closes it, does not hold up the others.
	house  *nats.Conn   // internal account
	mirror *nats.Conn   // account of subscribers
	others []*nats.Conn // made by Connect

	internalUser, mirrorUser *server.User

	js       jetstream.JetStream // of house
	mirrorJS jetstream.JetStream // of mirror
	ready    bool
	broken   chan error // at most one
	end      *end       // of what is published: the server stopped, or a stream is broken

	stop sync.Once
}

// closeTimeout bounds how long the last acknowledgements may take to reach the server.
const closeTimeout = 5 * time.Second

// apiTimeout bounds how long the server may take to answer a question about its streams and consumers. It is in this very
// process: it is slow when the machine is, and then there is no use in giving up.
const apiTimeout = 2 * time.Minute

// startTimeout bounds how long the server may take to recover its streams: they are indexed, so that a normal start
// takes milliseconds, but after a crash the index may have to be rebuilt from the blocks.
const startTimeout = 2 * time.Minute

// Start starts the server, recovers what is stored in Dir, and returns when everything is ready. A port that is taken
// gives an error for which errors.Is(err, syscall.EADDRINUSE) holds. It fails with ErrNotRecovered when something that is
// stored can't be opened, rather than go on with a stream that is empty.
func Start(ctx context.Context, c Config) (*Server, error) {
	c = c.withDefaults()
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("starting the NATS server: %w", err)
	}
	c.Dir = dir
	s := &Server{config: c, log: c.Logger, broken: make(chan error, 1), end: newEnd()}
	if err := s.start(ctx); err != nil {
		s.Stop()
		return nil, fmt.Errorf("starting the NATS server: %w", errors.Join(err, restore(c.Dir)))
	}
	return s, nil
}

func (s *Server) start(ctx context.Context) error {
	if err := s.listen(ctx); err != nil {
		return err
	}
	if err := private(s.config.Dir); err != nil {
		return err
	}
	if err := restore(s.config.Dir); err != nil {
		return err
	}
	if err := checkSeal(s.config.Dir); err != nil {
		return err
	}
	if err := moveLog(s.config.Dir); err != nil {
		return err
	}
	log := newServerLog(s.log, s.breaks)
	if err := s.open(ctx, log); err != nil {
		return err
	}
	if err := s.checkMirror(ctx, log); err != nil {
		return err
	}
	if err := openForwardConsumers(ctx, s.js, s.config.Webhooks); err != nil {
		return err
	}
	if err := breakSeal(s.config.Dir); err != nil {
		return err
	}
	log.started()
	if s.listener != nil {
		if err := s.answerSubscribers(); err != nil {
			return err
		}
		s.subscribers = &subscribers{
			listener: s.listener, connect: s.nats.InProcessConn, max: s.config.MaxConnections, log: s.log, open: map[net.Conn]struct{}{},
		}
		s.subscribers.serve()
	}
	s.ready = true
	s.log.DebugContext(ctx, "nats server ready", "addr", s.Addr(), "dir", s.config.Dir)
	return nil
}

// listen takes the address, before anything is touched.
func (s *Server) listen(ctx context.Context) (err error) {
	addr := s.config.Addr
	if addr == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("reading the address of the NATS server: %w", err)
	}
	if host == "" {
		addr = net.JoinHostPort("127.0.0.1", port) // the loopback interface only, unless told otherwise
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return err // names the address
	}
	s.listener = accept.Retry(l, s.log)
	return nil
}

// open starts the server on what is stored, and opens its streams.
func (s *Server) open(ctx context.Context, log *serverLog) error {
	opts, internal, mirror, err := s.config.options()
	if err != nil {
		return err
	}
	s.internalUser, s.mirrorUser = internal, mirror
	stored, err := storedStreams(s.config.Dir)
	if err != nil {
		return err
	}
	if err := keep(s.config.Dir); err != nil {
		return err
	}
	if s.nats, err = server.NewServer(opts); err != nil {
		return err
	}
	s.nats.SetLoggerV2(log, false, false, false)
	s.nats.Start()
	if fatal, _ := log.trouble(); fatal != "" {
		return errors.New(fatal)
	}
	if !s.nats.ReadyForConnections(startTimeout) {
		return errors.New("it did not get ready")
	}
	for _, name := range []string{internalAccount, subscriberAccount} {
		account, err := s.nats.LookupAccount(name)
		if err == nil {
			err = account.EnableJetStream(accountLimits(), nil)
		}
		if err != nil {
			return fmt.Errorf("opening the streams of account %s: %w", name, err)
		}
	}
	for _, c := range []struct {
		conn **nats.Conn
		user *server.User
		name string
	}{{&s.house, internal, "internal"}, {&s.mirror, mirror, "mirror"}} {
		if *c.conn, err = s.connect(c.user, c.name); err != nil {
			return err
		}
	}
	if err := s.openStreams(ctx, stored, log); err != nil {
		return err
	}
	return letGo(s.config.Dir)
}

// private makes the directory and keeps others out of it.
func private(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700) //nolint:gosec // it is a folder
}

func (s *Server) connect(user *server.User, name string) (*nats.Conn, error) {
	conn, err := nats.Connect("",
		nats.InProcessServer(s.nats),
		nats.Name(name),
		nats.Timeout(apiTimeout),
		nats.UserInfo(user.Username, user.Password),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(50*time.Millisecond),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			s.log.Warn("nats connection", "name", name, "error", err)
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("connecting in process: %w", err)
	}
	return conn, nil
}

// Connect returns another connection to the internal account, which Stop flushes and closes. What waits on one connection does
// not delay the others. Connect must not be called concurrently.
func (s *Server) Connect(name string) (*nats.Conn, error) {
	conn, err := s.connect(s.internalUser, name)
	if err == nil {
		s.others = append(s.others, conn)
	}
	return conn, err
}

// Conn returns the connection to the internal account that everything may share.
func (s *Server) Conn() *nats.Conn { return s.house }

// JetStream returns the streams of the internal account.
func (s *Server) JetStream() jetstream.JetStream { return s.js }

// Dir returns the directory where everything is stored.
func (s *Server) Dir() string { return s.config.Dir }

// Capacity returns an error if the disk is too full to publish.
func (s *Server) Capacity() error { return s.config.Room() }

// Bind returns a context that also ends when the server stops or a stream breaks, because pending publishes are never
// acknowledged then. Its cause wraps [events.ErrUnavailable]: callers should retry.
func (s *Server) Bind(ctx context.Context) (context.Context, context.CancelFunc) {
	return s.end.bind(ctx)
}

// Addr is the host:port at which clients can connect; empty when there is none.
func (s *Server) Addr() string {
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// breaks tells of the first stream that is broken. Whoever waits for an answer would get none, so they are not let wait: what
// they have is as good as before, and they are to come again.
func (s *Server) breaks(err error) {
	select {
	case s.broken <- err:
		s.end.because(fmt.Errorf("%w: %w", events.ErrUnavailable, err))
	default:
	}
}

// Broken gives an error when a stream could not be written, the disk being full to its end, say. It takes nothing more
// then; what it has acknowledged is stored. Stop the server, and start another one.
func (s *Server) Broken() <-chan error { return s.broken }

// Stop writes everything to disk and ends the server. End what consumes and publishes first: it would fail from here on.
// A second Stop does nothing.
func (s *Server) Stop() { s.stop.Do(s.shutdown) }

func (s *Server) shutdown() {
	if s.subscribers != nil {
		s.subscribers.close()
	} else if s.listener != nil {
		_ = s.listener.Close()
	}
	s.closeServer()
	s.end.because(fmt.Errorf("%w: the NATS server was stopped", events.ErrUnavailable))
	if s.ready {
		if err := writeSeal(s.config.Dir); err != nil {
			s.log.Warn("the next start can't check that nothing is missing", "error", err)
		}
	}
}

// closeServer ends the server, after everything is on disk.
func (s *Server) closeServer() {
	conns := append([]*nats.Conn{s.house, s.mirror}, s.others...)
	for _, conn := range conns {
		if conn != nil {
			_ = conn.FlushTimeout(closeTimeout) // acknowledgements on their way; those lost are repeated
		}
	}
	for _, conn := range conns {
		if conn != nil {
			conn.Close()
		}
	}
	if s.nats != nil {
		s.nats.Shutdown()
		s.nats.WaitForShutdown()
	}
}
