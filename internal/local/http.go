package local

import (
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"path"
	"time"
)

// httpServer is a running HTTP server on a listener with a bounded number of connections.
type httpServer struct {
	*http.Server

	listener *limitedListener
}

// serveHTTP serves requests until Shutdown. The timeouts of a request derive from the one for clients: a whole answer
// may take as long. A connection may be idle between two requests for the time idle.
func serveHTTP(
	l net.Listener, handler http.Handler, maxConnections int, timeout, idle time.Duration, log *slog.Logger,
	failures *failures,
) *httpServer {
	limited := limitConnections(l, maxConnections)
	s := &httpServer{listener: limited, Server: &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: timeout / 12, ReadTimeout: timeout / 2, WriteTimeout: timeout, IdleTimeout: idle,
		MaxHeaderBytes: 32 << 10, // including the URL
		ConnState:      limited.connState,
		ErrorLog:       warnLog(log),
	}}
	go func() {
		if err := s.Serve(limited); !errors.Is(err, http.ErrServerClosed) {
			failures.add(fmt.Errorf("serving HTTP on %s: %w", l.Addr(), err))
		}
	}()
	return s
}

// warnLog returns a logger for the packages that need one of the old kind.
func warnLog(to *slog.Logger) *log.Logger { return slog.NewLogLogger(to.Handler(), slog.LevelWarn) }

// router serves the mux for exactly the paths that it has, and the API for all others. The API can't be a handler of
// the mux, which would redirect GET /ice-cream/.. to GET /, although a person may have that name.
type router struct {
	mux *http.ServeMux
	api http.Handler
}

// bodyTimeout is how long the server waits for the rest of a request's body after its answer. No request needs a body,
// but net/http reads the rest of it, so a client that sends none would hold the connection until the read timeout.
const bodyTimeout = time.Second

// ServeHTTP implements [http.Handler].
func (h router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
	}
	if _, pattern := h.mux.Handler(r); pattern != "" && path.Clean(r.URL.Path) == r.URL.Path {
		h.mux.ServeHTTP(w, r)
		return
	}
	h.api.ServeHTTP(w, r)
}
