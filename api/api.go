package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/flavorless/flavorless/events"
)

// favorites is the part of the table that the API reads.
type favorites interface {
	// Team returns at most limit people who have a favorite, sorted by the bytes of their names. It returns only people
	// whose names are greater than after.
	Team(ctx context.Context, after string, limit int) ([]events.Favorite, error)

	// Lookup returns the favorite of a person, strongly consistent. It fails with events.ErrNotFound if there is none.
	Lookup(ctx context.Context, person string) (events.Favorite, error)
}

// uploads is the part of the upload ledger that the API reads.
type uploads interface {
	// Uploads returns at most limit uploads, newest first. If before is not empty, it returns only uploads that are older
	// than the upload with that id, and fails with events.ErrNotFound if there is none with that id.
	Uploads(ctx context.Context, before string, limit int) ([]events.Upload, error)

	// Upload returns the upload with that id. It fails with events.ErrNotFound if there is none.
	Upload(ctx context.Context, id string) (events.Upload, error)
}

// changes is the part of the log of announced changes that the API reads.
type changes interface {
	// Changes returns the changes from a start on, in the order of the log: those that are stored, and then new ones until
	// ctx ends or the log yields an error. Position is the position before the first of them. Changes fails with
	// events.ErrOutOfRetention if the log no longer has the start.
	Changes(ctx context.Context, from events.Start) (
		position uint64, log iter.Seq2[events.LoggedChange, error], err error,
	)
}

// verifier decides who may read: a *Verifier.
type verifier interface {
	// Verify checks the value of an Authorization header. See Verifier.Verify for its errors.
	Verify(ctx context.Context, authorization string) (Claims, error)
}

// Config configures the API. Favorites, Uploads and Verifier are required.
type Config struct {
	Favorites favorites
	Uploads   uploads
	Verifier  verifier

	// AllowedOrigins are the web origins whose pages may use the API, such as https://flavors.example; "*" allows all. If
	// there are none, browsers allow only pages of the API's own origin.
	AllowedOrigins []string

	// BasePath is the path prefix of the URLs that clients see, such as /prod for a stage of API Gateway. Links begin with
	// it. It may be empty.
	BasePath string

	// Compress, if non-nil, wraps the handlers of long responses so that they compress. It must add GzipSuffix to the
	// entity tags of compressed responses. Leave it nil behind a gateway that compresses.
	Compress func(http.Handler) http.Handler

	// Changes, if non-nil, is the log that GET /changes serves. Leave it nil where clients can subscribe to the changes
	// topic.
	Changes      changes
	MaxFollowers int           // concurrent requests of GET /changes; default: DefaultMaxFollowers
	Heartbeat    time.Duration // interval of position events on GET /changes; default: DefaultHeartbeat

	Version string                           // of the program, for GET / and GET /healthz; may be empty
	Health  func(ctx context.Context) Health // called by GET /healthz; default: always healthy
	Clock   func() time.Time                 // default: time.Now
	Logger  *slog.Logger                     // default: no logs
}

// Defaults of Config.
const (
	DefaultMaxFollowers = 256
	DefaultHeartbeat    = 15 * time.Second
)

// handler is the API without CORS.
type handler struct {
	Config
	routes    map[string]routeHandler // by escaped path, up to where a parameter begins
	followers chan struct{}           // semaphore of GET /changes
}

type routeHandler struct {
	http.Handler

	path string // of the route
}

// route is one path of the API. All routes allow GET, HEAD and OPTIONS only.
type route struct {
	path       string   // the last segment may be a {parameter}
	open       bool     // whether no token is needed
	compress   bool     // whether responses can be long
	params     []string // query parameters
	listParams []string // query parameters that may be repeated
	endpoint   endpoint
}

// parameter is the name of the path parameter for r.PathValue, whatever the route calls it.
const parameter = "parameter"

// endpoint computes the response to an authorized request. It writes nothing.
type endpoint func(r *http.Request, q query, claims Claims) (response, error)

func (h *handler) routeTable() []route {
	return []route{
		{path: "/", open: true, endpoint: h.startPage},
		{path: "/team", compress: true, params: []string{"after", "limit"}, endpoint: h.team},
		{path: "/ice-cream/{person}", endpoint: h.favorite},
		{path: "/uploads", compress: true, params: []string{"before", "limit"}, endpoint: h.listUploads},
		{path: "/uploads/{id}", compress: true, endpoint: h.upload},
		{path: "/changes", params: []string{"since"}, listParams: []string{"person", "flavor", "kind"}, endpoint: h.changes},
		{path: "/openapi.json", open: true, compress: true, endpoint: document()},
		{path: "/healthz", open: true, endpoint: h.health},
	}
}

// New returns the API's handler. It fails if the configuration is invalid; in particular, it never serves without a
// Verifier.
func New(config Config) (http.Handler, error) {
	switch {
	case config.Favorites == nil:
		return nil, errors.New("configuring the API: Favorites is required")
	case config.Uploads == nil:
		return nil, errors.New("configuring the API: Uploads is required")
	case config.Verifier == nil:
		return nil, errors.New("configuring the API: Verifier is required")
	case config.BasePath != "" && config.BasePath[0] != '/':
		return nil, fmt.Errorf("configuring the API: the base path %q must begin with a slash", config.BasePath)
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.Compress == nil {
		config.Compress = varyByEncoding
	}
	if config.Clock == nil {
		config.Clock = time.Now
	}
	config.MaxFollowers = cmp.Or(config.MaxFollowers, DefaultMaxFollowers)
	config.Heartbeat = cmp.Or(config.Heartbeat, DefaultHeartbeat)
	config.BasePath = strings.TrimSuffix(config.BasePath, "/")

	h := &handler{Config: config, routes: map[string]routeHandler{}, followers: make(chan struct{}, config.MaxFollowers)}
	for _, route := range h.routeTable() {
		var serve http.Handler = h.serve(route)
		if route.compress {
			serve = config.Compress(serve)
		}
		prefix, _, _ := strings.Cut(route.path, "{")
		h.routes[prefix] = routeHandler{serve, route.path}
	}
	return withCORS(h, config.AllowedOrigins)
}

// varyByEncoding tells caches that a gateway may compress the response.
func varyByEncoding(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Accept-Encoding")
		next.ServeHTTP(w, r)
	})
}
