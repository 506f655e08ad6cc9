package cloud_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/flavorless/flavorless/internal/issuer"
)

// testReading asks all routes with the same token, in every order. The policy that the authorizer returns for the first
// of them is what API Gateway decides by for the others: one that is for that route alone would be the "403 hell".
func testReading(t *testing.T, d *deployment) {
	page := d.ask(t, http.MethodGet, "/uploads?limit=1", d.token)
	var list struct{ Uploads []struct{ ID string } }
	if err := json.Unmarshal(page.body, &list); err != nil || len(list.Uploads) != 1 {
		t.Fatalf("GET /uploads: %d %s", page.status, page.body)
	}
	routes := []string{"GET /team", "GET /ice-cream/andy", "GET /uploads", "GET /uploads/" + list.Uploads[0].ID}
	orders := 0
	for order := range permutations(routes) {
		orders++
		token := d.sign(t, "reader", scope, time.Hour) // no two are the same
		asked := d.Gateway.Asked()
		for _, route := range order {
			method, path, _ := strings.Cut(route, " ")
			if got := d.ask(t, method, path, token); got.status != http.StatusOK {
				t.Fatalf("%s in the order %v: %d %s", route, order, got.status, got.body)
			}
		}
		if asked = d.Gateway.Asked() - asked; asked != 1 {
			t.Fatalf("the authorizer was asked %d times for one token", asked)
		}
	}
	if orders != 24 {
		t.Fatalf("%d orders", orders)
	}
}

// permutations gives every order of a list.
func permutations(list []string) func(func([]string) bool) {
	var from func(done, left []string, yield func([]string) bool) bool
	from = func(done, left []string, yield func([]string) bool) bool {
		if len(left) == 0 {
			return yield(done)
		}
		for i := range left {
			rest := append(append([]string{}, left[:i]...), left[i+1:]...)
			if !from(append(append([]string{}, done...), left[i]), rest, yield) {
				return false
			}
		}
		return true
	}
	return func(yield func([]string) bool) { from(nil, list, yield) }
}

// testRefusals: each is a problem document that pages of the allowed origin can read, with the same status everywhere.
func testRefusals(t *testing.T, d *deployment) {
	foreign, err := issuer.Open(issuer.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	sign := func(i *issuer.Issuer, audience string, ttl time.Duration) string {
		token, err := i.Sign(issuer.Grant{Subject: "reader", Audience: audience, Scope: scope, TTL: ttl})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	weak := d.sign(t, "reader", "other:scope", time.Hour)
	for _, test := range []struct {
		name, method, route, token string
		status                     int
	}{
		{"no token", "GET", "/team", "", 401},
		{"no token, another route", "GET", "/uploads", "", 401},
		{"no JWT", "GET", "/team", "letmein", 401},
		{"a foreign issuer's", "GET", "/team", sign(foreign, audience, time.Hour), 401},
		{"for another audience", "GET", "/team", sign(d.issuer, "others", time.Hour), 401},
		{"a changed one", "GET", "/ice-cream/andy", d.token[:len(d.token)-8] + "AAAAAAAA", 401},
		{"without the scope", "GET", "/team", weak, 403},
		{"without the scope, from the cache", "GET", "/uploads", weak, 403},
		{"no such person", "GET", "/ice-cream/nobody", d.token, 404},
		{"no such upload", "GET", "/uploads/" + strings.Repeat("a", 26), d.token, 404},
		{"no such route", "GET", "/flavors", "", 404},
		{"no such route, with a token", "GET", "/flavors/of/all", d.token, 404},
		{"no such route, with a bad token", "GET", "/flavors", "letmein", 404},
		{"no such method", "DELETE", "/team", d.token, 405},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := d.ask(t, test.method, test.route, test.token)
			if got.status != test.status {
				t.Fatalf("%d %s", got.status, got.body)
			}
			var problem struct {
				Type, Title, Detail string
				Status              int
			}
			if err := json.Unmarshal(got.body, &problem); err != nil || problem.Status != test.status || problem.Title == "" {
				t.Errorf("not a problem document: %s (%v)", got.body, err)
			}
			if kind := got.header.Get("Content-Type"); kind != "application/problem+json" {
				t.Errorf("Content-Type %q", kind)
			}
			// A browser asks before it sends another method, and is told no then.
			if origin := got.header.Get("Access-Control-Allow-Origin"); origin != "*" && test.status != http.StatusMethodNotAllowed {
				t.Errorf("Access-Control-Allow-Origin %q: no page can read the answer", origin)
			}
			if challenge := got.header.Get("WWW-Authenticate"); (test.status == 401 || test.status == 403) != strings.HasPrefix(challenge, "Bearer") {
				t.Errorf("WWW-Authenticate %q", challenge)
			}
		})
	}
}

// testOpen: what is open to all needs no token, and neither does a browser that asks first.
func testOpen(t *testing.T, d *deployment) {
	for _, route := range []string{"/openapi.json", "/healthz", "/"} {
		if got := d.ask(t, http.MethodGet, route, ""); got.status != http.StatusOK {
			t.Errorf("GET %s: %d %s", route, got.status, got.body)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, d.Gateway.URL+"/team", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://page.example")
	req.Header.Set("Access-Control-Request-Method", "GET")
	req.Header.Set("Access-Control-Request-Headers", "authorization")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if allowed := res.Header.Get("Access-Control-Allow-Headers"); res.StatusCode/100 != 2 || !strings.Contains(strings.ToLower(allowed), "authorization") {
		t.Errorf("the preflight request: %d, allowed headers %q", res.StatusCode, allowed)
	}
}
