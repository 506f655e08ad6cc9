package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"

	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"
)

const (
	maxParts       = 10_000 // of a multipart upload, as on S3
	maxConnections = 4096
	maxRequests    = 2048 // beyond, clients get 503 SlowDown and retry
)

// server is versitygw's on a listener of ours.
type server struct {
	app      *fiber.App
	listener *listener
	served   chan struct{} // closed when nothing is accepted any more
}

// serve begins to answer on the listener. It owns the listener only if it succeeds.
func serve(cfg Config, st *store, l net.Listener) (*server, error) {
	api, err := s3api.New(st,
		middlewares.RootUserConfig{Access: cfg.AccessKey, Secret: cfg.SecretKey}, cfg.Region,
		auth.NewIAMServiceSingle(auth.Account{Access: cfg.AccessKey, Secret: cfg.SecretKey, Role: auth.RoleAdmin}),
		nil, nil, nil, nil,
		s3api.WithQuiet(), s3api.WithKeepAlive(), s3api.WithMpMaxParts(maxParts),
		s3api.WithConcurrencyLimiter(maxConnections, maxRequests))
	if err != nil {
		return nil, fmt.Errorf("gateway: setting up the server: %w", err)
	}
	app, err := appOf(api)
	if err != nil {
		return nil, err
	}
	s := &server{app: app, listener: &listener{Listener: l, open: map[*conn]struct{}{}}, served: make(chan struct{})}
	go func() {
		defer close(s.served)
		// It ends when the listener is closed, and has nothing else to say.
		_ = app.Listener(s.listener, fiber.ListenConfig{DisableStartupMessage: true})
	}()
	return s, nil
}

// appOf takes the HTTP server out of versitygw's. Its own way to serve takes addresses only: it does not tell which free
// port it got, and on stopping waits ten seconds for connections on which no client has ever asked anything, of which
// Go's HTTP client likes to keep a few. So it is read from a private field; a release that names it otherwise is
// noticed by the first test.
func appOf(api *s3api.S3ApiServer) (*fiber.App, error) {
	field := reflect.ValueOf(api).Elem().FieldByName("app")
	if !field.IsValid() || field.Type() != reflect.TypeFor[*fiber.App]() {
		return nil, errors.New("gateway: this release of versitygw keeps its server elsewhere")
	}
	return (*fiber.App)(field.UnsafePointer()), nil
}

// stop ends the serving: requests under way may finish until ctx ends, then their connections are cut.
func (s *server) stop(ctx context.Context) error {
	// Closed here and not only by the shutdown, which overlooks a listener whose serving is only just beginning.
	err := s.listener.Close()
	s.listener.cut(func(c *conn) bool { return !c.used.Load() })
	shut := s.app.ShutdownWithContext(ctx)
	s.listener.cut(func(*conn) bool { return true })
	<-s.served
	if shut != nil {
		return fmt.Errorf("gateway: stopping the server: %w", shut)
	}
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("gateway: closing the listener: %w", err)
	}
	return nil
}
