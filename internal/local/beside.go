package local

import (
	"net/http"
	"path"
)

// beside serves what the mux has at exactly the path of the request, and leaves everything else to the API: below the mux,
// GET /ice-cream/.. would be redirected to GET /, but somebody may be called that.
type beside struct {
	mux *http.ServeMux
	api http.Handler
}

// ServeHTTP implements http.Handler.
func (b beside) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, pattern := b.mux.Handler(r); pattern != "" && path.Clean(r.URL.Path) == r.URL.Path {
		b.mux.ServeHTTP(w, r)
		return
	}
	b.api.ServeHTTP(w, r)
}
