package api

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/rs/cors"
)

// withCORS lets web pages of the origins use next (https://fetch.spec.whatwg.org/#http-cors-protocol). Pages send the
// token in a header of their own, never automatically as cookies are sent, so credentials are not allowed.
func withCORS(next http.Handler, origins []string) (http.Handler, error) {
	if len(origins) == 0 { // package cors would allow all origins
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
		AllowedHeaders: []string{"Authorization", "If-None-Match", lastEventID},
		ExposedHeaders: []string{"ETag", "Link", "Retry-After", "WWW-Authenticate"},
		MaxAge:         600,
	}).Handler(next), nil
}
