package api

import (
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
)

// ServeHTTP implements http.Handler. It does not use http.ServeMux, which redirects paths such as /ice-cream/..
// although they may contain a name, and which can't tell a last segment of %2F from an empty one. Like http.ServeMux,
// it sets r.Pattern to the path of the route, or to "" if there is none.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.Method == http.MethodHead {
		w = headWriter{w}
	}
	escaped := r.URL.EscapedPath()
	route, ok := h.routes[escaped]
	if last := strings.LastIndexByte(escaped, '/') + 1; last == len(escaped) {
		ok = ok && route.path == escaped // else the parameter is empty
	} else if !ok {
		route, ok = h.routes[escaped[:last]]
		ok = ok && route.path != escaped[:last] // the route has a parameter
		// net/http unescaped the path when it parsed the request, so this can't fail.
		segment, _ := url.PathUnescape(escaped[last:])
		r.SetPathValue(parameter, segment)
	}
	r.Pattern = ""
	if ok {
		r.Pattern = route.path
	}
	switch {
	case !ok:
		h.writeProblem(w, r, noSuchRoute())
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		route.ServeHTTP(w, r)
	case r.Method == http.MethodOptions: // no CORS preflight: RFC 9110 section 9.3.7
		w.Header().Set("Allow", allow)
		w.WriteHeader(http.StatusNoContent)
	default:
		h.writeProblem(w, r, methodNotAllowed())
	}
}

// allow is the Allow header of every route.
const allow = "GET, HEAD, OPTIONS"

// headWriter drops the body (RFC 9110 section 9.3.2). net/http does that itself, but the Lambda functions don't use its
// server.
type headWriter struct{ http.ResponseWriter }

func (headWriter) Write(b []byte) (int, error) { return len(b), nil }

// serve returns the handler of the route's GET and HEAD requests.
func (h *handler) serve(route route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !route.open {
			// Caches must not serve a response to another token than the one that requested it.
			w.Header().Add("Vary", "Authorization")
		}
		response, err := h.respond(route, r)
		if err != nil {
			h.writeProblem(w, r, h.problemOf(r, err))
			return
		}
		response.write(w, r)
	}
}

// respond authorizes the request, parses its query and calls the endpoint. It returns a panic as an error, which is
// possible because nothing has been written yet.
func (h *handler) respond(route route, r *http.Request) (_ response, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	var claims Claims
	if !route.open {
		if claims, err = h.authorize(r); err != nil {
			return response{}, err
		}
	}
	q, err := parseQuery(r.URL.RawQuery, route.params, route.listParams)
	if err != nil {
		return response{}, err
	}
	return route.endpoint(r, q, claims)
}

// authorize returns the claims of the request's token.
func (h *handler) authorize(r *http.Request) (Claims, error) {
	authorization := ""
	switch values := r.Header["Authorization"]; len(values) {
	case 0:
	case 1:
		authorization = values[0]
	default: // a proxy in front may have checked the other one
		return Claims{}, &AuthError{
			Code: invalidRequest, Description: "the request has more than one Authorization header",
		}
	}
	return h.Verifier.Verify(r.Context(), authorization)
}
