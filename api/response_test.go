package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestConditionalRequests(t *testing.T) {
	h := newServer(t, nil)
	h.addUploads(3)
	for _, target := range []string{
		"/team", "/team?limit=2", "/ice-cream/andy", "/uploads", "/uploads/" + uploadID(1), "/openapi.json",
	} {
		tag := h.get(t, target).wantStatus(t, http.StatusOK).header.Get("ETag")
		bare := strings.Trim(tag, `"`)
		for _, test := range []struct {
			name, ifNoneMatch string
			status            int
		}{
			{"the tag", tag, 304},
			{"weak", "W/" + tag, 304},
			{"in a list", `"x", W/"y,z" ,` + tag + `, "w"`, 304},
			{"in a list without spaces", `"x",` + tag, 304},
			{"anything", "*", 304},
			{"anything, spaced", " * ", 304},
			{"of the compressed one", `"` + bare + `-gzip"`, 304},
			{"another", `"x"`, 200},
			{"without quotes", bare, 200},
			{"half quoted", `"` + bare, 200},
			{"a part", `"` + bare[1:] + `"`, 200},
			{"empty", "", 200},
			{"a star in a list", `"x", *`, 200},
			{"after garbage", `x, ` + tag, 200},
		} {
			t.Run(target+" "+test.name, func(t *testing.T) {
				a := h.get(t, target, "If-None-Match", test.ifNoneMatch).wantStatus(t, test.status)
				if test.status == http.StatusNotModified {
					if a.body != "" || a.header.Get("Content-Type") != "" {
						t.Errorf("304 has body %q, type %q, want none", a.body, a.header.Get("Content-Type"))
					}
					if got := a.header.Get("ETag"); got == "" || a.header.Get("Cache-Control") == "" {
						t.Errorf("headers of 304 = %v, want ETag and Cache-Control", a.header)
					}
				}
			})
		}
	}
	t.Run("two headers", func(t *testing.T) {
		tag := h.get(t, "/team").header.Get("ETag")
		h.get(t, "/team", "If-None-Match", `"x"`, "If-None-Match", tag).wantStatus(t, http.StatusNotModified)
	})
	t.Run("no token, no 304", func(t *testing.T) {
		h.do(t, http.MethodGet, "/team", "If-None-Match", "*").wantStatus(t, http.StatusUnauthorized)
	})
	t.Run("a change changes the tag", func(t *testing.T) {
		tag := h.get(t, "/team").header.Get("ETag")
		h.store.set(t, "andy", "vanilla")
		h.get(t, "/team", "If-None-Match", tag).wantStatus(t, http.StatusOK)
	})
	t.Run("a successor changes the tag of a full page", func(t *testing.T) {
		a := h.get(t, "/team?limit=8")
		h.store.set(t, "zoe", "lemon")
		b := h.get(t, "/team?limit=8", "If-None-Match", a.header.Get("ETag")).wantStatus(t, http.StatusOK)
		if a.body != b.body || b.header.Get("Link") == "" {
			t.Errorf("second page = %q, Link %q, want the same page with a Link", b.body, b.header.Get("Link"))
		}
	})
	t.Run("a 304 keeps the link", func(t *testing.T) {
		a := h.get(t, "/team?limit=2")
		b := h.get(t, "/team?limit=2", "If-None-Match", a.header.Get("ETag")).wantStatus(t, http.StatusNotModified)
		b.wantHeader(t, "Link", a.header.Get("Link"))
	})
}

func TestCompression(t *testing.T) {
	h := newServer(t, nil)
	for n := range 100 {
		h.store.set(t, fmt.Sprint("person ", n), "vanilla")
	}
	plain := h.get(t, "/team").wantHeader(t, "Content-Encoding", "")
	zipped := h.get(t, "/team", "Accept-Encoding", "gzip").wantHeader(t, "Content-Encoding", "gzip")
	if plain.body != zipped.body {
		t.Errorf("bodies of %d and %d bytes differ, want the same", len(plain.body), len(zipped.body))
	}
	tag := strings.TrimSuffix(plain.header.Get("ETag"), `"`) + `-gzip"`
	zipped.wantHeader(t, "ETag", tag)
	for name, tag := range map[string]string{"compressed": tag, "plain": plain.header.Get("ETag")} {
		t.Run("304 with the tag of the "+name+" response", func(t *testing.T) {
			h.get(t, "/team", "Accept-Encoding", "gzip", "If-None-Match", tag).
				wantStatus(t, http.StatusNotModified).wantHeader(t, "ETag", tag).wantHeader(t, "Content-Encoding", "")
		})
	}
	t.Run("short responses are not compressed", func(t *testing.T) {
		h.get(t, "/team?limit=3", "Accept-Encoding", "gzip").wantHeader(t, "Content-Encoding", "")
	})
	t.Run("no compression if the client refuses it", func(t *testing.T) {
		h.get(t, "/team", "Accept-Encoding", "gzip;q=0").wantHeader(t, "Content-Encoding", "")
	})
	t.Run("the OpenAPI document is compressed", func(t *testing.T) {
		h.do(t, http.MethodGet, "/openapi.json", "Accept-Encoding", "gzip").wantHeader(t, "Content-Encoding", "gzip")
	})
}
