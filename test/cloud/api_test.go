package cloud_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/issuer"
	"github.com/flavorless/flavorless/internal/testutil"
)

// testTeam uploads the talk's team and reads it as the talk does.
func testTeam(t *testing.T, d *deployment) {
	all := d.subscribe(t, "all-changes", nil)
	filtered := d.subscribe(t, "pistachio-only", map[string]any{"kind": []string{"changed"},
		"flavor": []string{"pistachio"}})
	uploads := "s3://" + d.Ref("UploadsBucket") + "/uploads/"
	d.aws(t, "s3", "cp", filepath.Join(root, "test/testdata/favorites.csv"), uploads+"the team, 1+1.csv")
	d.checkLive(t, "uploads/the team, 1+1.csv", events.Counts{Rows: 8, Applied: 8, Batches: 1, BatchesApplied: 1})
	got, want := d.request(t, http.MethodGet, "/team", d.token), testdata(t, "team.json")
	if got.status != http.StatusOK || !bytes.Equal(bytes.TrimSpace(got.body), want) {
		t.Fatalf("GET /team = %v, want 200 %s", got, want)
	}

	// The marker of a folder that the S3 console creates and the marker of a finished job are not uploads.
	d.aws(t, "s3api", "put-object", "--bucket", d.Ref("UploadsBucket"), "--key", "uploads/2026/")
	d.aws(t, "s3", "cp", filepath.Join(root, "test/testdata/favorites.csv"), uploads+"2026/_SUCCESS")

	second := filepath.Join(t.TempDir(), "second.json")
	const favorites = `{"andy": "pistachio", "dan": "mint chocolate chip", "eileen": "rocky road", "liz": null,
		"zoë": "pistachio"}`
	if err := os.WriteFile(second, []byte(favorites), 0o600); err != nil {
		t.Fatal(err)
	}
	d.aws(t, "s3", "cp", "--metadata", "on-error=abort", second, uploads)
	d.checkLive(t, "uploads/second.json", events.Counts{Rows: 5, Applied: 5, Batches: 1, BatchesApplied: 1})
	got = d.request(t, http.MethodGet, "/uploads", d.token)
	if got.status != http.StatusOK || bytes.Contains(got.body, []byte("uploads/2026/")) {
		t.Errorf("GET /uploads = %v, want 200 and no upload in uploads/2026/", got)
	}
	if got := d.request(t, http.MethodGet, "/ice-cream/zo%C3%AB", d.token); got.status != http.StatusOK {
		t.Errorf("GET /ice-cream/zoë = %v, want 200", got)
	}
	if got := d.request(t, http.MethodGet, "/ice-cream/liz", d.token); got.status != http.StatusNotFound {
		t.Errorf("GET /ice-cream/liz = %v, want 404 because the second upload removes her", got)
	}
	changes := map[string]bool{
		"andy:  → cookie dough": true, "bill:  → mint chocolate chip": true, "cedric:  → cookie dough": true,
		"dan:  → mint chocolate chip": true, "eileen:  → cookie dough": true, "liz:  → pistachio": true,
		"marija:  → mint chocolate chip": true, "shane:  → rocky road": true, "andy: cookie dough → pistachio": true,
		"eileen: cookie dough → rocky road": true, "liz: pistachio → ": true, "zoë:  → pistachio": true,
	}
	testutil.WaitFor(t, "every change", func() bool { d.receive(t, all); return len(all.changes(t)) >= len(changes) })
	if diff := gocmp.Diff(changes, all.changes(t)); diff != "" {
		t.Errorf("changes of the subscriber (-want +got):\n%s", diff)
	}
	// Its message was published together with one that the other subscriber has received.
	testutil.WaitFor(t, "the filtered change", func() bool { d.receive(t, filtered); return len(filtered.received) > 0 })
	if diff := gocmp.Diff(map[string]bool{"andy: cookie dough → pistachio": true}, filtered.changes(t)); diff != "" {
		t.Errorf("changes of the subscriber with a filter (-want +got):\n%s", diff)
	}
}

// checkLive waits until the last upload of a key is settled, and checks that it is live with these counts.
func (d *deployment) checkLive(t *testing.T, key string, want events.Counts) events.Upload {
	t.Helper()
	u := d.settled(t, key)
	if u.Status != events.Live || u.Counts != want {
		t.Fatalf("upload %s is %s with %+v, failure %+v; want live with %+v", key, u.Status, u.Counts, u.Failure, want)
	}
	return u
}

// testOneToken requests all routes with the same token, in every order. API Gateway caches the policy that the
// authorizer returns for the first route and applies it to the others, so a policy that allows only one route would
// deny them with 403.
func testOneToken(t *testing.T, d *deployment) {
	page := d.request(t, http.MethodGet, "/uploads?limit=1", d.token)
	var list struct{ Uploads []struct{ ID string } }
	if err := json.Unmarshal(page.body, &list); err != nil || len(list.Uploads) != 1 {
		t.Fatalf("GET /uploads?limit=1 = %v, want one upload", page)
	}
	routes := []string{"GET /team", "GET /ice-cream/andy", "GET /uploads", "GET /uploads/" + list.Uploads[0].ID}
	orders := 0
	for order := range permutations(routes) {
		orders++
		token := d.sign(t, "reader", scope, time.Hour) // unique
		before := d.Gateway.AuthorizerInvocations()
		for _, route := range order {
			method, path, _ := strings.Cut(route, " ")
			if got := d.request(t, method, path, token); got.status != http.StatusOK {
				t.Fatalf("%s in the order %v = %v, want 200", route, order, got)
			}
		}
		if n := d.Gateway.AuthorizerInvocations() - before; n != 1 {
			t.Fatalf("the authorizer was invoked %d times for one token, want 1", n)
		}
	}
	if orders != 24 {
		t.Fatalf("tested %d orders, want 24", orders)
	}
}

// permutations returns an iterator over all orders of a list.
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

// testRefusals checks that each refusal is a problem document which pages of the allowed origin can read.
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
		{"token that is no JWT", "GET", "/team", "letmein", 401},
		{"token of another issuer", "GET", "/team", sign(foreign, audience, time.Hour), 401},
		{"token for another audience", "GET", "/team", sign(d.issuer, "others", time.Hour), 401},
		{"token with a wrong signature", "GET", "/ice-cream/andy", d.token[:len(d.token)-8] + "AAAAAAAA", 401},
		{"token without the scope", "GET", "/team", weak, 403},
		{"token without the scope, cached", "GET", "/uploads", weak, 403},
		{"unknown person", "GET", "/ice-cream/nobody", d.token, 404},
		{"unknown upload", "GET", "/uploads/" + strings.Repeat("a", 26), d.token, 404},
		{"unknown route", "GET", "/flavors", "", 404},
		{"unknown route, with a token", "GET", "/flavors/of/all", d.token, 404},
		{"unknown route, with a bad token", "GET", "/flavors", "letmein", 404},
		{"unknown method", "DELETE", "/team", d.token, 405},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := d.request(t, test.method, test.route, test.token)
			if got.status != test.status {
				t.Fatalf("%s %s = %v, want %d", test.method, test.route, got, test.status)
			}
			var problem struct {
				Type, Title, Detail string
				Status              int
			}
			if err := json.Unmarshal(got.body, &problem); err != nil || problem.Status != test.status || problem.Title == "" {
				t.Errorf("body = %s, error %v, want a problem document with status %d", got.body, err, test.status)
			}
			if kind := got.header.Get("Content-Type"); kind != "application/problem+json" {
				t.Errorf("Content-Type = %q, want application/problem+json", kind)
			}
			// A browser sends a preflight request before another method, which fails first.
			if origin := got.header.Get("Access-Control-Allow-Origin"); origin != "*" &&
				test.status != http.StatusMethodNotAllowed {
				t.Errorf("Access-Control-Allow-Origin = %q, want *", origin)
			}
			challenge, want := got.header.Get("WWW-Authenticate"), test.status == 401 || test.status == 403
			if strings.HasPrefix(challenge, "Bearer") != want {
				t.Errorf("WWW-Authenticate = %q, want a Bearer challenge: %t", challenge, want)
			}
		})
	}
}

// testPublic checks that public routes and preflight requests need no token.
func testPublic(t *testing.T, d *deployment) {
	for _, route := range []string{"/openapi.json", "/healthz", "/"} {
		if got := d.request(t, http.MethodGet, route, ""); got.status != http.StatusOK {
			t.Errorf("GET %s = %v, want 200", route, got)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, d.Gateway.URL+"/team", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://page.example")
	req.Header.Set("Access-Control-Request-Method", "GET")
	req.Header.Set("Access-Control-Request-Headers", "authorization")
	got := send(t, req)
	if allowed := got.header.Get("Access-Control-Allow-Headers"); got.status/100 != 2 ||
		!strings.Contains(strings.ToLower(allowed), "authorization") {
		t.Errorf("the preflight request = %v, allowed headers %q, want authorization among them", got, allowed)
	}
}
