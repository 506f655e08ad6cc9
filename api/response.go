package api

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Values of Cache-Control (RFC 9111 section 5.2.2).
const (
	revalidate = "private, no-cache"   // one user's cache, which must ask before each use: a token may have been revoked
	noStore    = "no-store"            // errors and health
	public     = "public, max-age=300" // the same for everybody
)

// response is a JSON response, or a stream.
type response struct {
	body   []byte
	next   string // URL of the next page; empty on the last
	cache  string // Cache-Control; default: revalidate
	tag    string // entity tag; default: computed from body and next
	status int    // default: 200; 503 gets a Retry-After header

	stream func(w http.ResponseWriter, r *http.Request) // if non-nil, writes the whole response
}

// write sends the response, or a 304 if the client has it already.
func (p response) write(w http.ResponseWriter, r *http.Request) {
	if p.stream != nil {
		p.stream(w, r)
		return
	}
	header := w.Header()
	p.cache = cmp.Or(p.cache, revalidate)
	header.Set("Cache-Control", p.cache)
	if p.next != "" {
		header.Set("Link", "<"+p.next+`>; rel="next"`) // RFC 8288
	}
	if p.cache != noStore {
		if p.tag == "" {
			p.tag = p.entityTag()
		}
		if tag, ok := match(r.Header.Values("If-None-Match"), p.tag); ok {
			header.Set("ETag", tag)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		header.Set("ETag", p.tag)
	}
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(p.body)+1))
	if p.status == http.StatusServiceUnavailable {
		header.Set("Retry-After", strconv.Itoa(retryAfter))
	}
	w.WriteHeader(cmp.Or(p.status, http.StatusOK))
	_, _ = w.Write(append(p.body, '\n')) // the client may have disconnected
}

// entityTag returns a strong tag of the body and the link: a last page that gets a successor must get another tag.
func (p response) entityTag() string {
	h := sha256.New()
	_, _ = h.Write(p.body)
	_, _ = io.WriteString(h, "\n"+p.next)
	return `"` + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16]) + `"`
}

// GzipSuffix is what compression adds to an entity tag, because strong tags of different bytes must differ (RFC 9110
// section 8.8.3.3).
const GzipSuffix = "-gzip"

// match reports whether the client has the response with that tag, compressed or not, and returns the tag that the
// client has. It compares weakly, as RFC 9110 section 13.1.2 requires. A malformed header matches nothing.
func match(ifNoneMatch []string, tag string) (string, bool) {
	compressed := tag[:len(tag)-1] + GzipSuffix + `"`
	for _, list := range ifNoneMatch {
		if strings.Trim(list, " \t") == "*" {
			return tag, true
		}
		for {
			list = strings.TrimLeft(list, " \t,")
			list = strings.TrimPrefix(list, "W/")
			if !strings.HasPrefix(list, `"`) {
				break
			}
			end := strings.IndexByte(list[1:], '"') // a tag may contain a comma, but no quote
			if end < 0 {
				break
			}
			switch candidate := list[:end+2]; candidate {
			case tag, compressed:
				return candidate, true
			}
			list = list[end+2:]
		}
	}
	return "", false
}

// link returns the URL of a page of a route. The query parameter name has the value at which the page starts.
func (h *handler) link(path, name, value string, limit int) string {
	values := url.Values{name: {value}, "limit": {strconv.Itoa(limit)}}
	return h.BasePath + path + "?" + values.Encode()
}
