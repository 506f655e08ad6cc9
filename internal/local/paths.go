package local

import "net/http"

// paths serves each path by its own handler, and all others by that of "". (http.ServeMux would redirect GET /ice-cream/..
// to GET /; but somebody may be called that.)
type paths map[string]http.Handler

// Handle sets the handler of one exact path.
func (p paths) Handle(path string, h http.Handler) { p[path] = h }

// HandleFunc sets the handler of one exact path.
func (p paths) HandleFunc(path string, h http.HandlerFunc) { p[path] = h }

// ServeHTTP implements http.Handler.
func (p paths) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h, ok := p[r.URL.EscapedPath()]
	if !ok {
		h = p[""]
	}
	h.ServeHTTP(w, r)
}
