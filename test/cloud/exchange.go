package cloud

import (
	"cmp"
	"context"
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// exchange is one request and all that is known of it.
type exchange struct {
	w       http.ResponseWriter
	r       *http.Request
	id      string
	path    string // without the stage, as it was sent
	route   route
	params  map[string]string
	context map[string]any // of the authorizer
}

func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := &exchange{w: w, r: r, id: strings.ToLower(rand.Text())}
	w.Header().Set("X-Amzn-Requestid", e.id)
	path, ok := strings.CutPrefix(r.URL.EscapedPath(), "/"+g.stage)
	if !ok || path != "" && path[0] != '/' {
		http.Error(w, `{"message":"Forbidden"}`, http.StatusForbidden) // of no API of ours
		return
	}
	e.path = cmp.Or(path, "/")
	m := g.match(e)
	if m == nil {
		if r.Header.Get("Authorization") != "" { // taken for a signature, and found to be none
			g.respond(e, "INVALID_SIGNATURE", "Invalid key=value pair (missing equal-sign) in Authorization header")
			return
		}
		g.respond(e, "MISSING_AUTHENTICATION_TOKEN", "Missing Authentication Token")
		return
	}
	if a := g.authorizers[m.AuthorizerId]; a != nil {
		context, problem, message := a.allows(g, e)
		if problem != "" {
			g.respond(e, problem, message)
			return
		}
		e.context = context
	}
	g.proxy(e, m)
}

// match finds the route of a request, the most literal one first, and its method.
func (g *Gateway) match(e *exchange) *method {
	var sent []string
	if e.path != "/" {
		sent = strings.Split(e.path[1:], "/")
	}
	found := -1
	for i, one := range g.routes {
		params, ok := one.match(sent)
		if ok && (found < 0 || one.before(g.routes[found])) {
			found, e.params, e.route = i, params, one
		}
	}
	if found < 0 {
		return nil
	}
	if m := e.route.methods[e.r.Method]; m != nil {
		return m
	}
	return e.route.methods["ANY"]
}

// match gives the parameters of a path, unescaped once.
func (r route) match(sent []string) (params map[string]string, ok bool) {
	for i, segment := range r.segments {
		name, is := strings.CutPrefix(segment, "{")
		name = strings.TrimSuffix(name, "}")
		greedy, rest := strings.CutSuffix(name, "+")
		switch {
		case i >= len(sent):
			return nil, false
		case !is && segment != sent[i]:
			return nil, false
		case !is:
			continue
		case params == nil:
			params = map[string]string{}
		}
		value := sent[i]
		if rest {
			value = strings.Join(sent[i:], "/")
		}
		unescaped, err := url.PathUnescape(value)
		if err != nil || value == "" {
			return nil, false
		}
		params[greedy] = unescaped
		if rest {
			return params, true
		}
	}
	return params, len(sent) == len(r.segments)
}

// before says whether a route is the more literal one of two that match.
func (r route) before(other route) bool {
	rank := func(segments []string, i int) int {
		switch {
		case i >= len(segments):
			return 3
		case strings.HasSuffix(segments[i], "+}"):
			return 2
		case strings.HasPrefix(segments[i], "{"):
			return 1
		}
		return 0
	}
	for i := range max(len(r.segments), len(other.segments)) {
		if a, b := rank(r.segments, i), rank(other.segments, i); a != b {
			return a < b
		}
	}
	return false
}

// integrationLimit is how long an integration may take.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
const integrationLimit = 29 * time.Second

func (m *method) limit() time.Duration {
	if m.Integration.TimeoutInMillis > 0 {
		return time.Duration(m.Integration.TimeoutInMillis) * time.Millisecond
	}
	return integrationLimit
}

// invokeWithin waits no longer than the gateway does; the function goes on by itself.
func invokeWithin(ctx context.Context, f *Function, payload []byte, limit time.Duration) (done Invocation, ok bool) {
	answer := make(chan Invocation, 1)
	go func() { answer <- f.Invoke(context.WithoutCancel(ctx), payload) }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case done = <-answer:
		return done, true
	case <-timer.C:
		return done, false
	}
}
