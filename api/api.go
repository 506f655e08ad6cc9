package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/rs/cors"

	"github.com/flavorless/flavorless/events"
)

// favorites is the table, as far as readers need it.
type favorites interface {
	// Team gives at most limit living people, sorted by the bytes of their names, from the first one after the given
	// name on. An empty name is before all.
	Team(ctx context.Context, after string, limit int) ([]events.Favorite, error)

	// Lookup gives the favorite of a person, strongly consistent; events.ErrNotFound if there is none.
	Lookup(ctx context.Context, person string) (events.Favorite, error)
}

// uploads is the upload ledger, as far as readers need it.
type uploads interface {
	// Uploads gives at most limit uploads, newest first, from the first one older than the upload of that id on. An
	// empty id is before all; one that there is not is events.ErrNotFound.
	Uploads(ctx context.Context, before string, limit int) ([]events.Upload, error)

	// Upload gives the upload of that id; events.ErrNotFound if there is none.
	Upload(ctx context.Context, id string) (events.Upload, error)
}

// changes is the log of announced changes, as far as readers need it.
type changes interface {
	// Changes returns what the log has from a start on, in its order, and then what comes, until ctx ends; an error
	// ends it, too. It also returns the position behind which the first of them comes. It fails with
	// events.ErrForgotten where the log does not reach.
	Changes(ctx context.Context, from events.Start) (position uint64, log iter.Seq2[events.LoggedChange, error], err error)
}

// verifier decides who may read: a *Verifier.
type verifier interface {
	// Verify checks the value of an Authorization header. See Verifier.Verify for its errors.
	Verify(ctx context.Context, authorization string) (Claims, error)
}

// Config of the API. Favorites, Uploads and Verifier are required.
type Config struct {
	Favorites favorites
	Uploads   uploads
	Verifier  verifier

	// AllowedOrigins are the web origins whose pages may use the API, such as https://flavors.example; "*" allows all.
	// Without any, browsers keep other origins' pages out.
	AllowedOrigins []string

	// BasePath is what precedes the routes in the URLs that clients see, such as /prod for a stage of API Gateway. Links
	// begin with it. Default: nothing.
	BasePath string

	// Compress makes a handler of answers that can be long compress them. It adds GzipSuffix to their entity tags.
	// Default: nothing does, as behind a gateway that compresses by itself.
	Compress func(http.Handler) http.Handler

	// Changes is followed by GET /changes. Default: there is no such route, as where the changes topic has
	// subscriptions of its own.
	Changes      changes
	MaxFollowers int           // at the same time; 256
	Heartbeat    time.Duration // how often a follower hears something, at least; 15 s
	WriteTimeout time.Duration // how long a follower may take to read what it is sent, before it is dropped; 30 s

	Version string                           // of the program, which GET / and GET /healthz tell everybody; may be empty
	Health  func(ctx context.Context) Health // asked by GET /healthz; default: always well
	Clock   func() time.Time                 // default: time.Now
	Logger  *slog.Logger                     // default: none
}

// handler holds what the endpoints need.
type handler struct {
	Config
	routed    map[string]routed // by escaped path, up to where a parameter begins
	followers chan struct{}     // has one for each
}

// routed is a route's handler, and its path.
type routed struct {
	http.Handler

	path string
}

// route is one path of the API. All of them answer GET and HEAD, and nothing else.
type route struct {
	path     string   // the last segment may be a {parameter}
	open     bool     // to all, without a token
	long     bool     // answers can be
	params   []string // names of the query parameters
	lists    []string // likewise, of those that may be repeated
	endpoint endpoint
}

// parameter is the name under which endpoints find the parameter of their path, if it has one: r.PathValue(parameter).
const parameter = "parameter"

// endpoint computes the reply to a request that may be answered. It writes nothing.
type endpoint func(r *http.Request, q query, who Claims) (reply, error)

func (h *handler) routes() []route {
	return []route{
		{path: "/", open: true, endpoint: h.start},
		{path: "/team", long: true, params: []string{"after", "limit"}, endpoint: h.team},
		{path: "/ice-cream/{person}", endpoint: h.lookup},
		{path: "/uploads", long: true, params: []string{"before", "limit"}, endpoint: h.list},
		{path: "/uploads/{id}", long: true, endpoint: h.upload},
		{path: "/changes", params: []string{"since"}, lists: []string{"person", "flavor", "kind"}, endpoint: h.changes},
		{path: "/openapi.json", open: true, long: true, endpoint: document()},
		{path: "/healthz", open: true, endpoint: h.health},
	}
}

// New returns the API. It refuses to be without a Verifier: nothing but the configuration would tell.
func New(config Config) (http.Handler, error) {
	switch {
	case config.Favorites == nil:
		return nil, errors.New("the API needs Favorites")
	case config.Uploads == nil:
		return nil, errors.New("the API needs Uploads")
	case config.Verifier == nil:
		return nil, errors.New("the API needs a Verifier")
	case config.BasePath != "" && config.BasePath[0] != '/':
		return nil, fmt.Errorf("the base path %q does not begin with a slash", config.BasePath)
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.Compress == nil {
		config.Compress = compressedLater
	}
	if config.Clock == nil {
		config.Clock = time.Now
	}
	config.MaxFollowers = cmp.Or(config.MaxFollowers, 256)
	config.Heartbeat = cmp.Or(config.Heartbeat, 15*time.Second)
	config.WriteTimeout = cmp.Or(config.WriteTimeout, 30*time.Second)
	config.BasePath = strings.TrimSuffix(config.BasePath, "/")

	h := &handler{Config: config, routed: map[string]routed{}, followers: make(chan struct{}, config.MaxFollowers)}
	for _, route := range h.routes() {
		var serve http.Handler = h.serve(route)
		if route.long {
			serve = config.Compress(serve)
		}
		prefix, _, _ := strings.Cut(route.path, "{")
		h.routed[prefix] = routed{serve, route.path}
	}
	return withCORS(h, config.AllowedOrigins)
}

// compressedLater tells caches that an answer may come compressed or not.
func compressedLater(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Accept-Encoding")
		next.ServeHTTP(w, r)
	})
}

// ServeHTTP implements http.Handler. It routes by itself, because http.ServeMux redirects unclean paths, where a name
// may be anything, and can't tell a last segment of %2F from none. As that does, it tells by http.Request.Pattern
// which route was taken, if there was one.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.Method == http.MethodHead {
		w = headWriter{w}
	}
	escaped := r.URL.EscapedPath()
	serve, ok := h.routed[escaped]
	if last := strings.LastIndexByte(escaped, '/') + 1; last == len(escaped) {
		ok = ok && serve.path == escaped // a parameter is never empty
	} else if !ok {
		serve, ok = h.routed[escaped[:last]]
		ok = ok && serve.path != escaped[:last] // it takes a parameter
		// It was unescaped once when the request was parsed, so it can be.
		segment, _ := url.PathUnescape(escaped[last:])
		r.SetPathValue(parameter, segment)
	}
	r.Pattern = ""
	if ok {
		r.Pattern = serve.path
	}
	switch {
	case !ok:
		h.writeProblem(w, r, noSuchRoute())
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		serve.ServeHTTP(w, r)
	case r.Method == http.MethodOptions: // no CORS preflight: RFC 9110 section 9.3.7
		w.Header().Set("Allow", allow)
		w.WriteHeader(http.StatusNoContent)
	default:
		h.writeProblem(w, r, methodNotAllowed())
	}
}

// allow is what can be done with any of our routes.
const allow = "GET, HEAD, OPTIONS"

// headWriter drops the body. net/http does so by itself; not every server is net/http (RFC 9110 section 9.3.2).
type headWriter struct{ http.ResponseWriter }

func (headWriter) Write(b []byte) (int, error) { return len(b), nil }

// withCORS lets pages of these origins in (https://fetch.spec.whatwg.org/#http-cors-protocol). Tokens come in a header
// that the page sets itself, never by themselves as cookies do, so credentials are not allowed.
func withCORS(next http.Handler, origins []string) (http.Handler, error) {
	if len(origins) == 0 { // to rs/cors that would mean all
		return next, nil
	}
	for _, origin := range origins {
		u, err := url.Parse(origin)
		if origin != "*" && (err != nil || u.Host == "" || origin != u.Scheme+"://"+u.Host) {
			return nil, fmt.Errorf("%q is not an origin; write it like https://flavors.example", origin)
		}
	}
	return cors.New(cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: []string{http.MethodGet, http.MethodHead},
		AllowedHeaders: []string{"Authorization", "If-None-Match", "Last-Event-ID"},
		ExposedHeaders: []string{"ETag", "Link", "Retry-After", "WWW-Authenticate"},
		MaxAge:         600,
	}).Handler(next), nil
}
