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
	revalidate = "private, no-cache"   // keep it for this user, but ask each time: a token may have been withdrawn
	noStore    = "no-store"            // errors and health
	public     = "public, max-age=300" // the same for all
)

// reply is a JSON answer.
type reply struct {
	body   []byte
	next   string // URL of the next page; empty on the last
	cache  string // of Cache-Control; empty: revalidate
	tag    string // entity tag; empty: computed from body and next
	status int    // 0: 200; with 503 the client is told when to come again

	stream func(w http.ResponseWriter, r *http.Request) // writes everything itself, in place of the rest
}

// write sends the reply, or a 304 if the client has it already.
func (p reply) write(w http.ResponseWriter, r *http.Request) {
	if p.stream != nil {
		p.stream(w, r)
		return
	}
	header := w.Header()
	if p.cache == "" {
		p.cache = revalidate
	}
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
	_, _ = w.Write(append(p.body, '\n')) // the client may have gone
}

// entityTag gives a strong tag: other bytes, another tag. The link counts, too: a page that has just got a successor
// must not pass for the last one that it was.
func (p reply) entityTag() string {
	h := sha256.New()
	_, _ = h.Write(p.body)
	_, _ = io.WriteString(h, "\n"+p.next)
	return `"` + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16]) + `"`
}

// GzipSuffix is what compression adds to an entity tag: strong tags of different bytes differ (RFC 9110 section
// 8.8.3.3).
const GzipSuffix = "-gzip"

// match tells whether the client has what the tag names (RFC 9110 section 13.1.2), compressed or not, and under which
// tag. The comparison is the weak one, as the section asks for. What is malformed matches nothing.
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
			end := strings.IndexByte(list[1:], '"') // a tag may hold a comma, but no quote
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

// link gives the URL of another page of the route.
func (h *handler) link(path, name, value string, limit int) string {
	values := url.Values{name: {value}, "limit": {strconv.Itoa(limit)}}
	return h.BasePath + path + "?" + values.Encode()
}
