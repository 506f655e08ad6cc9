package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/accept"
)

// Server is an embedded NATS server with its streams.
type Server struct {
	config      Config
	instance    *instance
	listener    net.Listener // nil if subscribers can't connect
	subscribers *subscribers // nil if subscribers can't connect

	broken chan error // at most one
	end    *end       // of pending publishes: the server stopped, or a stream broke
	ready  bool
	stop   sync.Once
}

// Start starts the server, recovers the stored streams, and returns when everything is ready. If the port is taken, the
// error wraps syscall.EADDRINUSE. If a stored stream can't be opened, it wraps [ErrNotRecovered]: Start never replaces
// such a stream by an empty one.
func Start(ctx context.Context, c Config) (*Server, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("starting the NATS server: %w", err)
	}
	s := &Server{config: c, broken: make(chan error, 1), end: newEnd()}
	if err := s.start(ctx); err != nil {
		s.Stop()
		return nil, fmt.Errorf("starting the NATS server: %w", errors.Join(err, restoreSnapshot(c.Dir)))
	}
	return s, nil
}

func (s *Server) start(ctx context.Context) (err error) {
	c := s.config
	if s.listener, err = listen(ctx, c); err != nil { // before anything is changed
		return err
	}
	for _, prepare := range []func(dir string) error{makePrivate, restoreSnapshot, checkManifest, migrateLog} {
		if err := prepare(c.Dir); err != nil {
			return err
		}
	}
	log := newServerLog(c.Logger, s.fail)
	if s.instance, err = openChecked(ctx, c, log); err != nil {
		return err
	}
	if err := openForwardConsumers(ctx, s.JetStream(), c.Webhooks); err != nil {
		return err
	}
	if err := removeManifest(c.Dir); err != nil {
		return err
	}
	log.started()
	if s.listener != nil {
		r := &responder{account: s.instance.subscribers, connect: s.instance.nats.InProcessConn, bind: s.Bind, log: c.Logger}
		if err := r.start(); err != nil {
			return err
		}
		s.subscribers = newSubscribers(s.listener, s.instance.nats.InProcessConn, c.MaxConnections, c.Logger)
		s.subscribers.start()
	}
	s.ready = true
	c.Logger.DebugContext(ctx, "NATS server ready", "addr", s.Addr(), "dir", c.Dir)
	return nil
}

// listen returns a listener for subscribers, or nil if they can't connect.
func listen(ctx context.Context, c Config) (net.Listener, error) {
	addr := c.Addr
	if addr == "" {
		return nil, nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("reading the address of the NATS server: %w", err)
	}
	if host == "" {
		addr = net.JoinHostPort("127.0.0.1", port)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err // names the address
	}
	return accept.Retry(l, c.Logger), nil
}

// makePrivate creates the data folder if necessary, and denies others access to it.
func makePrivate(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700) //nolint:gosec // it is a folder
}

// Connect returns another connection to the internal account, which Stop flushes and closes, so that slow use of one
// connection does not delay the others. Connect must not be called concurrently.
func (s *Server) Connect(name string) (*nats.Conn, error) { return s.instance.addConnection(name) }

// Conn returns the connection to the internal account that all callers share.
func (s *Server) Conn() *nats.Conn { return s.instance.internal.conn }

// JetStream returns the streams of the internal account.
func (s *Server) JetStream() jetstream.JetStream { return s.instance.internal.streams }

// Dir returns the data folder.
func (s *Server) Dir() string { return s.config.Dir }

// Queues returns the streams that are work queues.
func (s *Server) Queues() []Stream { return s.config.queues() }

// Capacity returns an error if the disk is too full to publish.
func (s *Server) Capacity() error { return s.config.Capacity() }

// Bind returns a context that also ends when the server stops or a stream breaks, because pending publishes are never
// acknowledged then. Its cause wraps [events.ErrUnavailable]: callers should retry.
func (s *Server) Bind(ctx context.Context) (context.Context, context.CancelFunc) {
	return s.end.bind(ctx)
}

// Store publishes one message and waits until it is stored.
func (s *Server) Store(ctx context.Context, m *nats.Msg) error {
	if err := s.Capacity(); err != nil {
		return err
	}
	ctx, cancel := s.Bind(ctx)
	defer cancel()
	if _, err := s.JetStream().PublishMsg(ctx, m); err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	return nil
}

// Addr returns the host:port at which subscribers can connect, or "" if they can't.
func (s *Server) Addr() string {
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// fail reports the first stream that broke, and ends all pending publishes.
func (s *Server) fail(err error) {
	select {
	case s.broken <- err:
		s.end.trigger(fmt.Errorf("%w: %w", events.ErrUnavailable, err))
	default:
	}
}

// Broken returns a channel that gets an error when a stream can't be written, for example because the disk is full to
// its end. The stream accepts nothing more; what it has acknowledged is stored. Stop the server, and start another one.
func (s *Server) Broken() <-chan error { return s.broken }

// Stop writes everything to the disk and ends the server. Consumers and publishers should have ended before, because
// they fail from here on. Further calls do nothing.
func (s *Server) Stop() { s.stop.Do(s.shutdown) }

func (s *Server) shutdown() {
	if s.subscribers != nil {
		s.subscribers.close()
	} else if s.listener != nil {
		_ = s.listener.Close()
	}
	if s.instance != nil {
		s.instance.close()
	}
	s.end.trigger(fmt.Errorf("%w: the NATS server was stopped", events.ErrUnavailable))
	if s.ready {
		if err := writeManifest(s.config.Dir); err != nil {
			s.config.Logger.Warn("manifest not written; the next start can't check that no messages are missing", "error", err)
		}
	}
}
