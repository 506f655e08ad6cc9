package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/events"
)

func TestTeam(t *testing.T) {
	t.Run("golden file", func(t *testing.T) {
		want, err := os.ReadFile("testdata/team.json")
		if err != nil {
			t.Fatal(err)
		}
		a := newServer(t, nil).get(t, "/team").wantStatus(t, http.StatusOK)
		if diff := cmp.Diff(string(want), a.body); diff != "" {
			t.Errorf("body (-want +got):\n%s", diff)
		}
		a.wantHeader(t, "Content-Type", "application/json").wantHeader(t, "Cache-Control", "private, no-cache").
			wantHeader(t, "X-Content-Type-Options", "nosniff").wantHeader(t, "Link", "")
		if got := strings.Join(a.header.Values("Vary"), ", "); got != "Accept-Encoding, Authorization" {
			t.Errorf("Vary = %q, want Accept-Encoding, Authorization", got)
		}
	})
	t.Run("empty", func(t *testing.T) {
		h := newServer(t, nil)
		clear(h.store.favorites)
		if a := h.get(t, "/team").wantStatus(t, http.StatusOK); a.body != "{}\n" {
			t.Errorf("body = %q, want {}", a.body)
		}
	})
	t.Run("no HTML escapes", func(t *testing.T) {
		h := newServer(t, nil)
		clear(h.store.favorites)
		h.store.set(t, `a<b>&"c\`, "crème brûlée 🍨\u2009")
		want := `{"a<b>&\"c\\":"crème brûlée 🍨` + "\u2009" + `"}` + "\n"
		if diff := cmp.Diff(want, h.get(t, "/team").body); diff != "" {
			t.Errorf("body (-want +got):\n%s", diff)
		}
	})
	t.Run("pages", func(t *testing.T) {
		for _, test := range []struct {
			limit int
			base  string
			pages int
		}{{1, "", 8}, {3, "", 3}, {4, "/prod", 2}, {7, "/prod/", 2}, {8, "", 1}, {1000, "", 1}} {
			t.Run(fmt.Sprint(test.limit), func(t *testing.T) {
				h := newServer(t, func(c *api.Config) { c.BasePath = test.base })
				got, pages := map[string]string{}, 0
				for target := fmt.Sprintf("/team?limit=%d", test.limit); target != ""; pages++ {
					a := h.get(t, target).wantStatus(t, http.StatusOK)
					page := map[string]string{}
					if err := json.Unmarshal([]byte(a.body), &page); err != nil {
						t.Fatal(err)
					}
					for person, flavor := range page {
						got[person] = flavor
					}
					target = next(t, a, strings.TrimSuffix(test.base, "/"))
				}
				if len(got) != 8 || pages != test.pages {
					t.Errorf("got %d people on %d pages, want 8 on %d", len(got), pages, test.pages)
				}
			})
		}
	})
	t.Run("names in links", func(t *testing.T) {
		h := newServer(t, nil)
		h.store.set(t, "a&b=c;ü/>\"+%", "x")
		a := h.get(t, "/team?limit=1").wantStatus(t, http.StatusOK)
		a.wantHeader(t, "Link", `</team?after=a%26b%3Dc%3B%C3%BC%2F%3E%22%2B%25&limit=1>; rel="next"`)
		if b := h.get(t, next(t, a, "")).wantStatus(t, http.StatusOK); b.body != `{"andy":"cookie dough"}`+"\n" {
			t.Errorf("next page = %q, want andy", b.body)
		}
	})
	t.Run("long pages end early", func(t *testing.T) {
		h := newServer(t, nil)
		clear(h.store.favorites)
		const people = 10000
		for n := range people {
			h.store.set(t, fmt.Sprintf("%05d%s", n, strings.Repeat(`"`, 250)), strings.Repeat(`\`, 256))
		}
		got, pages := 0, 0
		for target := "/team?limit=10000"; target != ""; pages++ {
			a := h.get(t, target).wantStatus(t, http.StatusOK)
			if len(a.body) > 5<<20 {
				t.Errorf("page has %d bytes, want at most 5 MiB", len(a.body))
			}
			page := map[string]string{}
			if err := json.Unmarshal([]byte(a.body), &page); err != nil {
				t.Fatal(err)
			}
			got += len(page)
			target = next(t, a, "")
		}
		if got != people || pages < 2 {
			t.Errorf("got %d people on %d pages, want %d on several", got, pages, people)
		}
	})
}

// next returns the target of the next page, or "" on the last one.
func next(t *testing.T, a response, base string) string {
	t.Helper()
	link := a.header.Get("Link")
	if link == "" {
		return ""
	}
	target, ok := strings.CutPrefix(link, "<"+base+"/")
	target, ok2 := strings.CutSuffix(target, `>; rel="next"`)
	if !ok || !ok2 {
		t.Fatalf("Link = %s, want one to the next page", link)
	}
	return "/" + target
}

func TestLookup(t *testing.T) {
	h := newServer(t, nil)
	h.store.set(t, "josé maría", "crème", "a/b", "slash", "a+b", "plus", "李", "lychee", "50% off", "percent",
		`"`, "quote", "/", "root", "..", "up")
	for _, test := range []struct{ name, path, want string }{
		{"plain", "andy", `{"person":"andy","flavor":"cookie dough","updated":"2026-11-23T08:19:00.123Z",` +
			`"upload":"` + object().UploadID() + `"}` + "\n"},
		{"NFC, escaped", "jos%C3%A9%20mar%C3%ADa", "josé maría"},
		{"NFD", url.PathEscape("jose\u0301 mari\u0301a"), "josé maría"},
		{"white space around", "%20%C2%A0andy%20", "andy"},
		{"a slash", "a%2Fb", "a/b"},
		{"a plus is no space", "a+b", "a+b"},
		{"Chinese", "%E6%9D%8E", "李"},
		{"a percent sign", "50%25%20off", "50% off"},
		{"a quote", "%22", `"`},
		{"nothing but a slash", "%2F", "/"},
		{"nothing but dots", "..", ".."},
		{"escaped dots", "%2E%2E", ".."},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := h.get(t, "/ice-cream/"+test.path).wantStatus(t, http.StatusOK)
			got := struct{ Person string }{}
			if err := json.Unmarshal([]byte(a.body), &got); err != nil {
				t.Fatal(err)
			}
			if got.Person != test.want && a.body != test.want {
				t.Errorf("got %s, want %s", a.body, test.want)
			}
		})
	}
	for _, test := range []struct {
		name, path string
		status     int
		detail     string
	}{
		{"unknown", "nobody", 404, "this person has no favorite flavor"},
		{"case counts", "Andy", 404, "this person has no favorite flavor"},
		{"only white space", "%20", 400, nameError(t, " ", "person")},
		{"too long", strings.Repeat("x", 257), 400, nameError(t, strings.Repeat("x", 257), "person")},
		{"not UTF-8", "%FF", 400, "person is not UTF-8; percent-encode the bytes of its UTF-8 form"},
		{"a control character", "a%00b", 400, nameError(t, "a\x00b", "person")},
		{"nothing", "", 404, "there is no such route; see GET /openapi.json for all routes"},
		{"two segments", "a/b", 404, "there is no such route; see GET /openapi.json for all routes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := h.get(t, "/ice-cream/"+test.path).wantStatus(t, test.status)
			if got := problemOf(t, a).Detail; got != test.detail {
				t.Errorf("detail = %q, want %q", got, test.detail)
			}
		})
	}
}

// nameError returns the reason for which package events rejects a name.
func nameError(t *testing.T, name, field string) string {
	t.Helper()
	_, bad := events.CleanName(name, field, events.MissingPerson)
	if bad == nil {
		t.Fatalf("CleanName(%q) succeeded, want an error", name)
	}
	return bad.Reason
}

// problem is an RFC 9457 document.
type problem struct {
	Type, Title, Detail, Instance string
	Status                        int
}

// problemOf decodes a response, which must be a problem.
func problemOf(t *testing.T, a response) problem {
	t.Helper()
	a.wantHeader(t, "Content-Type", "application/problem+json").wantHeader(t, "Cache-Control", "no-store").
		wantHeader(t, "X-Content-Type-Options", "nosniff")
	var p problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatal(err)
	}
	if p.Status != a.status || p.Title != http.StatusText(a.status) || p.Type != "about:blank" {
		t.Errorf("problem = %+v, want status %d and its title", p, a.status)
	}
	return p
}
