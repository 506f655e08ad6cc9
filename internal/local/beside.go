package local

import (
	"net/http"
	"path"
	"time"
)

// beside serves what the mux has at exactly the path of the request, and leaves everything else to the API: below the mux,
// GET /ice-cream/.. would be redirected to GET /, but somebody may be called that.
type beside struct {
	mux *http.ServeMux
	api http.Handler
}

// bodyPatience is how long the server waits for the rest of a request's body after its answer. No request needs a body, but
// net/http reads the rest of it, so a client that sends none would hold the connection until the read timeout.
const bodyPatience = time.Second

// ServeHTTP implements http.Handler.
func (b beside) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyPatience))
	}
	if _, pattern := b.mux.Handler(r); pattern != "" && path.Clean(r.URL.Path) == r.URL.Path {
		b.mux.ServeHTTP(w, r)
		return
	}
	b.api.ServeHTTP(w, r)
}
