package test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"golang.org/x/net/http/httpguts"
	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/issuer"
	"github.com/flavorless/flavorless/internal/local"
	"github.com/flavorless/flavorless/internal/testutil"
)

// TestAnswersAreDocumented sends a running house thousands of requests over real sockets, good ones and terrible ones, drawn
// from api/openapi.yaml: for every path and method there, whatever is added to it. Each answer has to be one that the
// document has, and none may be the server's fault.
func TestAnswersAreDocumented(t *testing.T) {
	house := startDocumented(t)
	seen := map[string]int{}
	requests := rapid.SliceOfN(house.request(), 30, 30)
	rapid.Check(t, func(rt *rapid.T) {
		for _, r := range requests.Draw(rt, "requests") {
			a, err := house.exchange(r.wire())
			if err != nil {
				rt.Fatalf("%v: %s", err, r)
			}
			if a != nil {
				seen[house.check(rt, r, a)]++
			}
		}
	})
	// That it is worth its time: each operation was answered with 200, and refused.
	for path, item := range house.doc.Paths.Map() {
		for method, operation := range item.Operations() {
			for status := range operation.Responses.Map() {
				if what := method + " " + path + " " + status; (status == "200" || status == "400" || status == "401") && seen[what] == 0 {
					t.Errorf("no answer was %s", what)
				}
			}
		}
	}
}

// TestWire sends what nobody would draw. (Raw bytes are fuzzed by FuzzRequest in package api: what a whole house covers of the
// code differs from run to run, and leads a fuzzer astray.)
func TestWire(t *testing.T) {
	house := startDocumented(t)
	for _, raw := range []string{
		"GET /team HTTP/1.1\r\nHost: x\r\nAuthorization: TOKEN\r\n\r\n", "GET /ice-cream/.. HTTP/1.1\r\nHost: x\r\nAuthorization: TOKEN\r\n\r\n",
		"HEAD //team HTTP/1.1\r\nHost: x\r\n\r\n", "GET /uploads?limit=1&before=%zz HTTP/1.0\r\nAuthorization: TOKEN\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
		"GET /healthz HTTP/1.1\r\nHost: x\r\nExpect: y\r\n\r\n", "POST /team HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"GET /ice-cream/%00 HTTP/1.1\nHost: x\nAuthorization: TOKEN\n\n", "GET http://x/openapi.json?x HTTP/1.1\r\nHost: y\r\n\r\n",
		"GET /ice-cream/a%2fb HTTP/1.1\r\nHost: x\r\nAuthorization: TOKEN\r\nAuthorization: TOKEN\r\nAccept-Encoding: gzip\r\nRange: bytes=0-0\r\n\r\n",
	} {
		t.Run(raw[:strings.IndexAny(raw, "\r\n")], func(t *testing.T) {
			wire := []byte(strings.ReplaceAll(raw, "TOKEN", "Bearer "+house.token))
			a, err := house.exchange(wire)
			if err != nil {
				t.Fatal(err)
			}
			if a != nil {
				house.check(t, request{raw: wire}, a)
			}
		})
	}
}

// documented is a house with some people and uploads, and what is known of it.
type documented struct {
	*pipeline
	doc     *openapi3.T
	people  map[string]string
	uploads []string // ids
	tokens  map[string]string
}

// names have been trouble elsewhere.
var names = []string{
	"andy", "..", ".", "a/b", "/", "//", "a//b", "../team", "100%", "%2F", "%", "a+b", "a b", "Zoë", "日本", "🍦", "a?b#c", "a;b", "a&b=c", `"q"`, `back\slash`, "<b>", "team", "uploads",
	"{person}", "*", ":", "\u200d", "x\u200by", strings.Repeat("x", events.MaxName), strings.Repeat("é", events.MaxName/2),
}

func startDocumented(t testing.TB) *documented {
	t.Helper()
	h := &documented{pipeline: startPipeline(t), people: map[string]string{}}
	var err error
	if h.doc, err = openapi3.NewLoader().LoadFromFile("../api/openapi.yaml"); err == nil {
		err = h.doc.Validate(context.Background())
	}
	if err != nil {
		t.Fatal(err)
	}
	var rows bytes.Buffer
	for i, name := range names {
		h.people[name] = fmt.Sprintf("flavor <%d>", i)
		line, err := json.Marshal(map[string]string{"person": name, "flavor": h.people[name]})
		if err != nil {
			t.Fatal(err)
		}
		rows.Write(append(line, '\n'))
	}
	for key, body := range map[string]string{
		"uploads/all + 100%.ndjson": rows.String(), "uploads/bad.csv": "person,flavor\nx,\n,y\n", "uploads/broken.json": `{"andy"`, "uploads/é.txt": "?",
	} {
		h.put(key, []byte(body), nil)
		h.uploads = append(h.uploads, h.settled(key).ID)
	}
	h.tokens = map[string]string{"good": h.token}
	sign := func(at time.Time, audience string) string {
		is, err := issuer.Open(issuer.Config{Dir: local.IssuerDir(h.dir), Clock: func() time.Time { return at }})
		if err != nil {
			t.Fatal(err)
		}
		token, err := is.Sign(issuer.Grant{Subject: "test", Audience: audience, TTL: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	h.tokens["expired"] = sign(time.Now().Add(-2*time.Hour), h.Info().Audience)
	h.tokens["of tomorrow"] = sign(time.Now().Add(24*time.Hour), h.Info().Audience)
	h.tokens["of another audience"] = sign(time.Now(), "x")
	header, payload, _ := strings.Cut(h.token, ".")
	h.tokens["unsigned"] = "eyJhbGciOiJub25lIn0." + strings.Split(payload, ".")[0] + "."
	h.tokens["tampered with"] = header + "." + strings.Replace(payload, "e", "f", 1)
	return h
}

// answer is what came back, decompressed.
type answer struct {
	*http.Response
	body   []byte
	stream bool // the body goes on; this is the beginning
}

const (
	answerTime = testutil.Timeout      // more than any answer takes
	streamTime = 10 * time.Millisecond // how long a stream is listened to
	mostBody   = 16 << 20
	mostHeader = 32 << 10 // that is sure to be read
)

// exchange sends raw bytes and reads one answer; nil if the server takes them for the end of the connection.
func (h *documented) exchange(raw []byte) (*answer, error) {
	conn, err := net.DialTimeout("tcp", strings.TrimPrefix(h.Info().API, "http://"), answerTime)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return nil, err
	}
	_, bad := parse(raw)
	if _, err := conn.Write(raw); err != nil {
		return nil, hangUp(bad, raw, err)
	}
	method, _, _ := strings.Cut(strings.TrimLeft(string(raw[:min(len(raw), 100)]), "\r\n"), " ")
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, &http.Request{Method: method})
	for err == nil && res.StatusCode == http.StatusContinue {
		res, err = http.ReadResponse(in, &http.Request{Method: method})
	}
	if errors.Is(err, io.ErrUnexpectedEOF) && in.Buffered() == 0 {
		return nil, nil //nolint:nilnil // closed without a word, as net/http does with what is not HTTP at all
	}
	if err != nil {
		return nil, hangUp(bad, raw, fmt.Errorf("reading the answer: %w", err))
	}
	a := &answer{Response: res, stream: strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream")}
	if a.stream {
		if err := conn.SetReadDeadline(time.Now().Add(streamTime)); err != nil {
			return nil, err
		}
		a.body, _ = io.ReadAll(io.LimitReader(res.Body, mostBody))
		return a, nil
	}
	if res.ContentLength < 0 && res.Close && res.Header.Get("X-Content-Type-Options") == "" { // of net/http, which waits before it closes
		a.body, _ = in.Peek(in.Buffered())
		return a, nil
	}
	var body io.Reader = res.Body
	if res.Header.Get("Content-Encoding") == "gzip" && method != http.MethodHead {
		if body, err = gzip.NewReader(body); err != nil {
			return nil, err
		}
	}
	if a.body, err = io.ReadAll(io.LimitReader(body, mostBody)); err != nil {
		return nil, hangUp(bad, raw, fmt.Errorf("reading the answer's body: %w", err))
	}
	return a, nil
}

// hangUp forgives a server that closes the connection upon what is no request, or is too long, before all of it has been
// sent: its answer is lost then.
func hangUp(bad error, raw []byte, err error) error {
	if (bad != nil || len(raw) > mostHeader) && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)) {
		return nil
	}
	return err
}

// request is one of those that are drawn, or raw bytes.
type request struct {
	method, target, version string
	headers                 [][2]string
	body                    string
	raw                     []byte
}

func (r request) String() string {
	text := string(r.wire())
	if _, payload, ok := strings.Cut(text, "."); ok && len(payload) > 300 { // tokens are long, and of no interest
		text = regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.[\w-]+`).ReplaceAllStringFunc(text, func(token string) string { return "…" + token[len(token)-5:] })
	}
	return fmt.Sprintf("%.1000q", text)
}

func (r request) wire() []byte {
	if r.raw != nil {
		return r.raw
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s %s\r\n", r.method, r.target, r.version)
	for _, h := range r.headers {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	b.WriteString("\r\n" + r.body)
	return b.Bytes()
}

var hostHeader = regexp.MustCompile(`(?im)^host:[ \t]*(.*?)[ \t]*$`)

// parse reads a request as the server does.
func parse(raw []byte) (*http.Request, error) {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return nil, err
	}
	for name, values := range r.Header {
		if !httpguts.ValidHeaderFieldName(name) || slices.ContainsFunc(values, func(v string) bool { return !httpguts.ValidHeaderFieldValue(v) }) {
			return nil, fmt.Errorf("header %q can't be", name)
		}
	}
	head, _, _ := bytes.Cut(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
	hosts := hostHeader.FindAllSubmatch(head, -1) // http.ReadRequest has taken them out
	for _, host := range hosts {
		if !httpguts.ValidHostHeader(string(host[1])) {
			return nil, errors.New("a host that can't be")
		}
	}
	switch expect := r.Header.Get("Expect"); {
	case len(hosts) > 1, len(hosts) == 0 && r.ProtoAtLeast(1, 1) && r.Method != http.MethodConnect:
		return nil, errors.New("no host, or several")
	case expect != "" && !strings.EqualFold(expect, "100-continue"):
		return nil, errors.New("it expects what nobody does")
	case r.ProtoMajor != 1:
		return nil, errors.New("another version")
	}
	if _, err := url.ParseRequestURI(r.RequestURI); err != nil && r.Method != http.MethodConnect {
		return nil, err
	}
	return r, nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
