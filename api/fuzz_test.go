package api_test

import (
	"bufio"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/flavorless/flavorless/events"
)

// FuzzQuery checks that GET /team succeeds if and only if each parameter is known, unique and valid, and that the page
// has the right people.
func FuzzQuery(f *testing.F) {
	h := newServer(f, nil)
	for _, q := range []string{
		"", "limit=2", "limit=0", "limit=10001", "limit=+1", "limit=1&limit=1", "after=dan", "after=%",
		"after=%00&limit=3", "Limit=1", "=", "&", "a;b", "after=\u00e9",
	} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		target := &url.URL{Path: "/team", RawQuery: raw}
		r := &http.Request{Method: http.MethodGet, URL: target, Header: http.Header{"Authorization": {h.issuer.bearer(t)}}}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(t.Context()))
		values, err := url.ParseQuery(raw)
		good, limit := err == nil, 1000
		for name, given := range values {
			good = good && (name == "limit" || name == "after") && len(given) == 1
			if name == "limit" {
				limit, err = strconv.Atoi(given[0])
				good = good && err == nil && limit >= 1 && limit <= 10000 && !strings.ContainsAny(given[0], "+-")
			}
		}
		after := values.Get("after")
		if good && after != "" {
			var bad *events.RowError
			after, bad = events.CleanName(after, "after", events.MissingPerson)
			good = bad == nil
		}
		switch {
		case good != (w.Code == http.StatusOK):
			t.Fatalf("%q: status = %d, want success: %t: %s", raw, w.Code, good, w.Body)
		case !good:
			if w.Code != http.StatusBadRequest || w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("%q: status = %d, type %s, want 400 and a problem", raw, w.Code, w.Header().Get("Content-Type"))
			}
			return
		}
		var team map[string]string
		if err := json.Unmarshal(w.Body.Bytes(), &team); err != nil {
			t.Fatal(err)
		}
		for person := range team {
			if person <= after {
				t.Errorf("%q: page has %q, want people after %q", raw, person, after)
			}
		}
		all, link := slices.Sorted(maps.Keys(team)), w.Header().Get("Link")
		if len(team) > limit || link != "" && (len(team) < limit || all[len(all)-1] == "shane") {
			t.Errorf("%q: got %d people and link %q, want at most %d people, no link on the last page",
				raw, len(team), link, limit)
		}
	})
}

// FuzzFollow checks that GET /changes succeeds if and only if the filter and the start are valid.
func FuzzFollow(f *testing.F) {
	h := newChangesServer(f, nil)
	for _, q := range []string{
		"", "person=andy&person=liz&flavor=mint", "kind=created&kind=removed", "kind=Created",
		"since=2026-11-23T08:19:00Z", "since=now", "since=2026-11-23T08:19:00Z&since=x", "person=", "person=%00",
		"limit=1", "%",
	} {
		f.Add(q, "")
		f.Add(q, "7")
	}
	f.Add("since=x", "0")
	f.Add(strings.Repeat("person=a&", 101), "9223372036854775808")
	f.Fuzz(func(t *testing.T, raw, id string) {
		r := &http.Request{Method: http.MethodHead, URL: &url.URL{Path: "/changes", RawQuery: raw},
			Header: http.Header{"Authorization": {h.issuer.bearer(t)}, "Last-Event-Id": {id}}}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(t.Context()))
		values, err := url.ParseQuery(raw)
		good := err == nil
		for name, given := range values {
			for _, value := range given {
				switch name {
				case "person", "flavor":
					_, bad := events.CleanName(value, name, events.MissingPerson)
					good = good && bad == nil && len(given) <= 100
				case "kind":
					good = good && slices.Contains([]string{"created", "changed", "removed"}, value)
				case "since":
					_, err := time.Parse(time.RFC3339, value)
					good = good && (err == nil || id != "") && len(given) == 1
				default:
					good = false
				}
			}
		}
		n, err := strconv.ParseInt(id, 10, 64)
		good = good && (id == "" || err == nil && n >= 0 && strings.Trim(id, "0123456789") == "")
		if want := map[bool]int{true: http.StatusOK, false: http.StatusBadRequest}[good]; w.Code != want {
			t.Errorf("%q from %q: status = %d, want %d: %s", raw, id, w.Code, want, w.Body)
		}
	})
}

// FuzzIfNoneMatch compares the parser with a regular expression: If-None-Match matches if it is a list of tags (RFC
// 9110 section 13.1.2) that has the current tag before any malformed part.
func FuzzIfNoneMatch(f *testing.F) {
	h := newServer(f, nil)
	tag := h.get(f, "/team").header.Get("ETag")
	bare := strings.Trim(tag, `"`)
	list := regexp.MustCompile(`^(?:[ \t,]*(?:W/)?"[^"]*")*?[ \t,]*(?:W/)?"` + regexp.QuoteMeta(bare) + `(?:-gzip)?"`)
	for _, header := range []string{
		"TAG", "W/TAG", `"x", TAG`, "*", " *", `"*"`, `"x`, `x, TAG`, `"a" "b"TAG`, "W/W/TAG", `TAG"`, "",
	} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		header = strings.ReplaceAll(header, "TAG", tag) // random input never matches
		want := http.StatusOK
		if strings.Trim(header, " \t") == "*" || list.MatchString(header) {
			want = http.StatusNotModified
		}
		if a := h.get(t, "/team", "If-None-Match", header); a.status != want {
			t.Errorf("%q: status = %d, want %d", header, a.status, want)
		}
	})
}

// FuzzRequest sends any request that net/http parses. No response may be a 5xx, and errors must be problem documents.
func FuzzRequest(f *testing.F) {
	h := newServer(f, nil)
	h.addUploads(2)
	for _, request := range []string{
		"GET /team HTTP/1.1\r\nHost: x\r\n\r\n", "HEAD /ice-cream/andy HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "GET http://y/ice-cream/a%2Fb?x HTTP/1.0\r\n\r\n",
		"DELETE /uploads/%00 HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /uploads/" + uploadID(1) + " HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\nRange: bytes=0-1\r\n\r\n",
		"GET /ice-cream/%C3%A9/.. HTTP/1.1\r\nHost: x\r\n\r\n", "PRI * HTTP/2.0\r\n\r\n",
		"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n",
		"GET /ice-cream/ HTTP/1.1\r\nHost: x\r\nOrigin: https://flavors.example\r\n\r\n",
		"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx",
	} {
		f.Add(request, true)
	}
	f.Fuzz(func(t *testing.T, raw string, token bool) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
		if err != nil {
			return
		}
		if token {
			r.Header.Set("Authorization", h.issuer.bearer(t))
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch {
		case w.Code >= http.StatusInternalServerError:
			t.Errorf("%s %s: status = %d, want no 5xx: %s", r.Method, r.URL, w.Code, w.Body)
		case w.Code >= http.StatusBadRequest:
			if r.Method == http.MethodHead {
				return
			}
			var p struct {
				Type, Title, Detail string
				Status              int
			}
			err := json.Unmarshal(w.Body.Bytes(), &p)
			if err != nil || p.Status != w.Code || p.Type == "" || p.Title == "" || p.Detail == "" {
				t.Errorf("%s %s: body = %s, want a problem document", r.Method, r.URL, w.Body)
			}
		case !slices.Contains([]int{http.StatusOK, http.StatusNoContent, http.StatusNotModified}, w.Code):
			t.Errorf("%s %s: status = %d, want 200, 204 or 304", r.Method, r.URL, w.Code)
		}
	})
}
