package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
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
	maxDocument = 4 << 20 // bytes of a body that is no object: a completion of so many parts has 2 MiB
	spare       = 64      // connections that the server may still be ending when the listener counts them no more
)

// server is versitygw's on a listener of ours.
type server struct {
	app      *fiber.App
	listener *listener
	served   chan struct{} // closed when nothing is accepted any more
}

// serve begins to answer on the listener. It owns the listener only if it succeeds.
func serve(cfg Config, st *store, l net.Listener) (*server, error) {
	usual, err := newApp(cfg, st, usualRegion)
	if err != nil {
		return nil, err
	}
	app, err := newApp(cfg, st, cfg.Region, s3api.WithMiddleware("/", forRegion(usualRegion, usual.Handler())))
	if err != nil {
		return nil, err
	}
	s := &server{
		app: app, served: make(chan struct{}),
		listener: &listener{Listener: accept.Retry(l, cfg.Logger), patience: cfg.ClientTimeout, max: cfg.MaxConnections, open: map[*conn]struct{}{}},
	}
	s.mend(cfg.ClientTimeout)
	allowOrigins(app.Server(), cfg.Origins)
	go func() {
		defer close(s.served)
		// It ends when the listener is closed, and has nothing else to say.
		_ = app.Listener(s.listener, fiber.ListenConfig{DisableStartupMessage: true})
	}()
	return s, nil
}

// usualRegion is what clients sign for that were not told a region. Requests for it are served as well.
const usualRegion = "us-east-1"

// newApp makes versitygw's server for requests that are signed for a region. Each of its servers takes one region only.
func newApp(cfg Config, st *store, region string, options ...s3api.Option) (*fiber.App, error) {
	api, err := s3api.New(st,
		middlewares.RootUserConfig{Access: st.server.AccessKey, Secret: st.server.SecretKey}, region, newAccounts(st.uploader),
		nil, nil, nil, nil,
		append(options, s3api.WithQuiet(), s3api.WithKeepAlive(), s3api.WithMpMaxParts(maxParts),
			s3api.WithConcurrencyLimiter(2*cfg.MaxConnections+spare, cfg.MaxRequests),
			s3api.WithMiddleware("/", smallDocuments), s3api.WithMiddleware("/", onlyOffered))...)
	if err != nil {
		return nil, fmt.Errorf("gateway: setting up the server: %w", err)
	}
	return appOf(api)
}

// forRegion gives requests that are signed for a region to a handler of their own.
func forRegion(region string, handle fasthttp.RequestHandler) fiber.Handler {
	return func(c fiber.Ctx) error {
		credential := string(c.Request().URI().QueryArgs().Peek("X-Amz-Credential"))
		if credential == "" {
			_, credential, _ = strings.Cut(c.Get(fiber.HeaderAuthorization), "Credential=")
		}
		if parts := strings.Split(credential, "/"); len(parts) < 3 || parts[2] != region { // access key, day, region, …
			return c.Next() //nolint:wrapcheck // the server's own
		}
		handle(c.RequestCtx())
		return nil
	}
}

// mend changes what versitygw leaves as it is by default: a browser's form would be read as a whole, into memory and
// temporary files, before it is known from whom it is; idle connections would stay open; and it would be printed that a
// connection ended in the midst of a request's head, when there is nobody left to answer.
func (s *server) mend(patience time.Duration) {
	app := s.app
	app.Server().DisablePreParseMultipartForm = true
	app.Server().IdleTimeout = min(idleTimeout, patience/2)
	app.Server().ConnState = s.listener.state
	handle := app.Server().ErrorHandler
	app.Server().ErrorHandler = func(c *fasthttp.RequestCtx, err error) {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			c.SetStatusCode(fiber.StatusRequestTimeout)
			return
		}
		handle(c, err)
	}
}

// smallDocuments refuses long bodies where S3 takes documents: versitygw reads them as a whole, before it knows from whom
// they are. What an object is made of is streamed.
func smallDocuments(c fiber.Ctx) error {
	length := c.Request().Header.ContentLength() // negative: unknown
	if length >= 0 && length <= maxDocument || streamed(c) {
		return c.Next() //nolint:wrapcheck // the server's own
	}
	if length < 0 && c.Request().BodyStream() == nil { // there is none
		return c.Next() //nolint:wrapcheck // likewise
	}
	return refuse(c, s3err.GetEntityTooLargeErr(int64(max(length, 0)), maxDocument))
}

// streamed tells whether a request's body is data: of an object, of a part of one, or a browser's form.
func streamed(c fiber.Ctx) bool {
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
