package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/valyala/fasthttp"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"
	"github.com/versity/versitygw/s3err"

	"github.com/flavorless/flavorless/internal/accept"
)

const (
	maxParts    = 10_000  // of a multipart upload, as on S3
	maxDocument = 4 << 20 // bytes of a body that is not an object; a completion of maxParts parts has 2 MiB

	// spareConnections are added to fasthttp's limit, because it may still be closing connections that the listener no
	// longer counts.
	spareConnections = 64
)

// server is versitygw's HTTP server on our listener.
type server struct {
	app      *fiber.App
	listener *listener
	served   chan struct{} // closed when no more connections are accepted
}

// serve starts to serve the listener. The caller still owns the listener if serve fails.
func serve(cfg Config, st *store, l net.Listener) (*server, error) {
	defaultApp, err := newApp(cfg, st, defaultRegion)
	if err != nil {
		return nil, err
	}
	app, err := newApp(cfg, st, cfg.Region, s3api.WithMiddleware("/", forRegion(defaultRegion, defaultApp.Handler())))
	if err != nil {
		return nil, err
	}
	s := &server{
		app: app, served: make(chan struct{}),
		listener: &listener{
			Listener: accept.Retry(l, cfg.Logger), timeout: cfg.ClientTimeout, max: cfg.MaxConnections,
			open: map[*conn]struct{}{},
		},
	}
	s.configure(cfg.ClientTimeout)
	allowOrigins(app.Server(), cfg.Origins)
	go func() {
		defer close(s.served)
		// Listener returns when the listener is closed; stop reports the error of that.
		_ = app.Listener(s.listener, fiber.ListenConfig{DisableStartupMessage: true})
	}()
	return s, nil
}

// defaultRegion is the region that clients sign for if none is configured. Requests for it are always served.
const defaultRegion = "us-east-1"

// newApp returns a server for requests that are signed for a region. Each of versitygw's servers accepts one region.
func newApp(cfg Config, st *store, region string, options ...s3api.Option) (*fiber.App, error) {
	root := middlewares.RootUserConfig{Access: st.server.AccessKey, Secret: st.server.SecretKey}
	api, err := s3api.New(st, root, region, newAccounts(st.uploader),
		nil, nil, nil, nil,
		append(options, s3api.WithQuiet(), s3api.WithKeepAlive(), s3api.WithMpMaxParts(maxParts),
			s3api.WithConcurrencyLimiter(2*cfg.MaxConnections+spareConnections, cfg.MaxRequests),
			s3api.WithMiddleware("/", limitDocuments), s3api.WithMiddleware("/", allowOnlyOperations))...)
	if err != nil {
		return nil, fmt.Errorf("setting up the server: %w", err)
	}
	return appOf(api)
}

// forRegion passes requests that are signed for a region to handle.
func forRegion(region string, handle fasthttp.RequestHandler) fiber.Handler {
	return func(c fiber.Ctx) error {
		credential := string(c.Request().URI().QueryArgs().Peek("X-Amz-Credential"))
		if credential == "" {
			_, credential, _ = strings.Cut(c.Get(fiber.HeaderAuthorization), "Credential=")
		}
		// The credential is <access key>/<day>/<region>/…
		if parts := strings.Split(credential, "/"); len(parts) < 3 || parts[2] != region {
			return c.Next() //nolint:wrapcheck // the server's own
		}
		handle(c.RequestCtx())
		return nil
	}
}

// configure changes defaults of versitygw's HTTP server. Forms are not parsed in advance, which would read them into
// memory and temporary files before the client is authenticated. Idle connections end. A connection that breaks off
// within a request's head is not printed to stderr.
func (s *server) configure(timeout time.Duration) {
	server := s.app.Server()
	server.DisablePreParseMultipartForm = true
	server.IdleTimeout = min(idleTimeout, timeout/2)
	server.ConnState = s.listener.state
	handle := server.ErrorHandler
	server.ErrorHandler = func(c *fasthttp.RequestCtx, err error) {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			c.SetStatusCode(fiber.StatusRequestTimeout)
			return
		}
		handle(c, err)
	}
}

// limitDocuments refuses long bodies of requests that don't upload data. versitygw reads such a body into memory before
// it authenticates the client.
func limitDocuments(c fiber.Ctx) error {
	length := c.Request().Header.ContentLength() // negative if unknown
	noBody := length < 0 && c.Request().BodyStream() == nil
	if length >= 0 && length <= maxDocument || noBody || hasStreamedBody(c) {
		return c.Next() //nolint:wrapcheck // the server's own
	}
	return refuse(c, s3err.GetEntityTooLargeErr(int64(max(length, 0)), maxDocument))
}

// hasStreamedBody reports whether a request's body is an object, a part of an object, or a browser's form.
func hasStreamedBody(c fiber.Ctx) bool {
	_, key, _ := strings.Cut(strings.TrimPrefix(c.Path(), "/"), "/")
	switch c.Method() {
	case fiber.MethodPut:
		for name := range c.Queries() {
			if name != "partNumber" && name != "uploadId" && name != "x-id" && !isHoisted(name) {
				return false // ?tagging, ?acl, …
			}
		}
		return key != ""
	case fiber.MethodPost:
		return key == "" && strings.HasPrefix(strings.ToLower(c.Get(fiber.HeaderContentType)), fiber.MIMEMultipartForm)
	}
	return false
}

// stop stops serving. Requests in flight may finish until ctx ends; then their connections are closed.
func (s *server) stop(ctx context.Context) error {
	// The shutdown also closes the listener, but not if serving has only just begun.
	err := s.listener.Close()
	s.listener.closeWhere(func(c *conn) bool { return !c.used.Load() })
	shut := s.app.ShutdownWithContext(ctx)
	s.listener.closeWhere(func(*conn) bool { return true })
	<-s.served
	if shut != nil {
		return fmt.Errorf("stopping the S3 gateway: %w", shut)
	}
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("closing the listener of the S3 gateway: %w", err)
	}
	return nil
}
