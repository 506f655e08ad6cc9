package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/issuer"
	"github.com/flavorless/flavorless/internal/local"
)

// TestAnswersAreDocumented sends a server thousands of requests over real sockets, valid and hostile ones, which are
// drawn from api/openapi.yaml for every path and method in it. Each response must be one that the document has, and
// none may have a status of 500 or more.
func TestAnswersAreDocumented(t *testing.T) {
	t.Parallel()
	d := startDocumented(t)
	seen := map[string]int{}
	requests := rapid.SliceOfN(d.request(), 30, 30)
	rapid.Check(t, func(rt *rapid.T) {
		for _, r := range requests.Draw(rt, "requests") {
			a, err := d.exchange(r.wire())
			if err != nil {
				rt.Fatalf("%v: %s", err, r)
			}
			if a != nil {
				seen[d.check(rt, r, a)]++
			}
		}
	})
	if testing.Short() { // rapid draws a fifth of the requests then
		return
	}
	// The requests are varied enough if each operation succeeded and was refused.
	for path, item := range d.doc.Paths.Map() {
		for method, operation := range item.Operations() {
			for status := range operation.Responses.Map() {
				expected := status == "200" || status == "400" || status == "401"
				if response := method + " " + path + " " + status; expected && seen[response] == 0 {
					t.Errorf("no response was %s", response)
				}
			}
		}
	}
}

// TestWire sends requests that TestAnswersAreDocumented does not draw. FuzzRequest in package api fuzzes raw bytes;
// it cannot use a whole server, whose code coverage differs from run to run.
func TestWire(t *testing.T) {
	d := startDocumented(t)
	for _, raw := range []string{
		"GET /team HTTP/1.1\r\nHost: x\r\nAuthorization: TOKEN\r\n\r\n",
		"GET /ice-cream/.. HTTP/1.1\r\nHost: x\r\nAuthorization: TOKEN\r\n\r\n",
		"HEAD //team HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /uploads?limit=1&before=%zz HTTP/1.0\r\nAuthorization: TOKEN\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
		"GET /healthz HTTP/1.1\r\nHost: x\r\nExpect: y\r\n\r\n",
		"POST /team HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"GET /ice-cream/%00 HTTP/1.1\nHost: x\nAuthorization: TOKEN\n\n",
		"GET http://x/openapi.json?x HTTP/1.1\r\nHost: y\r\n\r\n",
		"GET /ice-cream/a%2fb HTTP/1.1\r\nHost: x\r\nAuthorization: TOKEN\r\nAuthorization: TOKEN\r\n" +
			"Accept-Encoding: gzip\r\nRange: bytes=0-0\r\n\r\n",
	} {
		t.Run(raw[:strings.IndexAny(raw, "\r\n")], func(t *testing.T) {
			wire := []byte(strings.ReplaceAll(raw, "TOKEN", "Bearer "+d.server.token))
			a, err := d.exchange(wire)
			if err != nil {
				t.Fatal(err)
			}
			if a != nil {
				d.check(t, request{raw: wire}, a)
			}
		})
	}
}

// documented is a server with some people and uploads, and its OpenAPI document.
type documented struct {
	server  *testServer
	doc     *openapi3.T
	people  map[string]string // flavors by person
	uploads []string          // ids
	tokens  map[string]string // by what is wrong with them; "good" is valid
}

// names are people's names that other systems have had trouble with.
var names = []string{
	"andy", "..", ".", "a/b", "/", "//", "a//b", "../team", "100%", "%2F", "%", "a+b", "a b", "Zoë", "日本", "🍦", "a?b#c",
	"a;b", "a&b=c", `"q"`, `back\slash`, "<b>", "team", "uploads", "{person}", "*", ":", "\u200d", "x\u200by",
	strings.Repeat("x", events.MaxName), strings.Repeat("é", events.MaxName/2),
}

func startDocumented(t testing.TB) *documented {
	t.Helper()
	d := &documented{server: startServer(t), people: map[string]string{}}
	var err error
	if d.doc, err = openapi3.NewLoader().LoadFromFile("../api/openapi.yaml"); err == nil {
		err = d.doc.Validate(context.Background())
	}
	if err != nil {
		t.Fatal(err)
	}
	var rows bytes.Buffer
	for i, name := range names {
		d.people[name] = fmt.Sprintf("flavor <%d>", i)
		line, err := json.Marshal(map[string]string{"person": name, "flavor": d.people[name]})
		if err != nil {
			t.Fatal(err)
		}
		rows.Write(append(line, '\n'))
	}
	for key, body := range map[string]string{
		"uploads/all + 100%.ndjson": rows.String(), "uploads/bad.csv": "person,flavor\nx,\n,y\n",
		"uploads/broken.json": `{"andy"`, "uploads/é.txt": "?",
	} {
		d.server.put(key, []byte(body), nil)
		d.uploads = append(d.uploads, d.server.settled(key).ID)
	}
	d.tokens = map[string]string{"good": d.server.token}
	sign := func(at time.Time, audience string) string {
		clock := func() time.Time { return at }
		is, err := issuer.Open(issuer.Config{Dir: local.IssuerDir(d.server.config.Dir), Clock: clock})
		if err != nil {
			t.Fatal(err)
		}
		token, err := is.Sign(issuer.Grant{Subject: "test", Audience: audience, TTL: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	d.tokens["expired"] = sign(time.Now().Add(-2*time.Hour), d.server.Info().Audience)
	d.tokens["of tomorrow"] = sign(time.Now().Add(24*time.Hour), d.server.Info().Audience)
	d.tokens["of another audience"] = sign(time.Now(), "x")
	header, payload, _ := strings.Cut(d.server.token, ".")
	d.tokens["unsigned"] = "eyJhbGciOiJub25lIn0." + strings.Split(payload, ".")[0] + "."
	d.tokens["tampered with"] = header + "." + strings.Replace(payload, "e", "f", 1)
	return d
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
