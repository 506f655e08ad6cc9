package gateway

import (
	"net/http"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"
)

// These are values of the CORS protocol: https://fetch.spec.whatwg.org/#http-cors-protocol
const (
	corsMethods = "GET, HEAD, PUT, POST, DELETE"
	corsMaxAge  = "600" // seconds for which browsers cache the answer to a preflight request
)

// corsExposed are the headers that a page may read in addition to those that it always may.
var corsExposed = strings.Join([]string{
	"ETag", "Content-Range", "Retry-After", "x-amz-id-2", "x-amz-request-id", "x-amz-version-id", "x-amz-checksum-type",
	"x-amz-checksum-crc32", "x-amz-checksum-crc32c", "x-amz-checksum-crc64nvme",
	"x-amz-checksum-sha1", "x-amz-checksum-sha256",
}, ", ")

// allowOrigins lets pages of these web origins use the gateway. It wraps versitygw, so that pages can read errors, too.
// versitygw itself supports one origin, or CORS configurations of buckets, which this gateway does not store. Requests
// are authorized by a signature and never by cookies, so Access-Control-Allow-Credentials is not sent.
func allowOrigins(server *fasthttp.Server, origins []string) {
	if len(origins) == 0 {
		return
	}
	next := server.Handler
	server.Handler = func(c *fasthttp.RequestCtx) {
		origin := string(c.Request.Header.Peek("Origin"))
		allowed := slices.Contains(origins, origin)
		header := &c.Response.Header
		if allowed && c.IsOptions() && len(c.Request.Header.Peek("Access-Control-Request-Method")) > 0 {
			header.Set("Access-Control-Allow-Methods", corsMethods)
			// Any header may be part of a signature, so all headers that the page asks for are allowed.
			if names := c.Request.Header.Peek("Access-Control-Request-Headers"); len(names) > 0 {
				header.SetBytesV("Access-Control-Allow-Headers", names)
			}
			header.Set("Access-Control-Max-Age", corsMaxAge)
			header.Add("Vary", "Access-Control-Request-Headers")
			c.SetStatusCode(http.StatusNoContent)
			if c.Request.Header.ContentLength() != 0 { // nobody reads the body
				c.SetConnectionClose()
			}
		} else {
			next(c)
		}
		header.Add("Vary", "Origin")
		if allowed {
			header.Set("Access-Control-Allow-Origin", origin)
			header.Set("Access-Control-Expose-Headers", corsExposed)
		}
	}
}
