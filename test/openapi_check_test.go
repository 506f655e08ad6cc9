package test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/flavorless/flavorless/events"
)

// checker is a *testing.T or a *rapid.T.
type checker interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// check compares a response with the document, and with the people and tokens of the server. It returns the method,
// the path as the document has it, and the status.
func (d *documented) check(t checker, sent request, a *answer) string {
	t.Helper()
	r, err := parse(sent.wire())
	if err != nil || len(sent.wire()) > maxHeader {
		return d.checkRefused(t, sent, a)
	}
	if a.StatusCode >= 500 {
		t.Errorf("%s: status %d: %s", sent, a.StatusCode, a.body)
	}
	if r.Method == http.MethodOptions && r.RequestURI == "*" { // net/http itself responds
		if a.StatusCode != http.StatusOK || len(a.body) > 0 {
			t.Errorf("%s: status %d, body %q; want 200 and no body", sent, a.StatusCode, a.body)
		}
		return "OPTIONS *"
	}
	if a.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%s: the response is not from the API: status %d, %v %s", sent, a.StatusCode, a.Header, a.body)
	}
	path, item := d.pathItem(r.URL.EscapedPath())
	operation := &openapi3.Operation{Responses: openapi3.NewResponsesWithCapacity(1)}
	component := func(status, name string) { operation.Responses.Set(status, d.doc.Components.Responses[name]) }
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	switch {
	case item == nil:
		component("404", "NotFound")
	case item.GetOperation(method) != nil:
		operation = item.GetOperation(method)
		d.checkMeaning(t, sent, r, path, operation, a)
	case r.Method == http.MethodOptions:
		if a.StatusCode != http.StatusNoContent || a.Header.Get("Allow") == "" || len(a.body) > 0 {
			t.Errorf("%s: status %d, Allow %q, body %q; want 204, an Allow header, and no body",
				sent, a.StatusCode, a.Header.Get("Allow"), a.body)
		}
		return "OPTIONS " + path
	default:
		component("405", "MethodNotAllowed")
	}
	if operation.Responses.Status(a.StatusCode) == nil { // ValidateResponse does not check the status of 304 and HEAD
		t.Errorf("%s: status %d is not documented: %s", sent, a.StatusCode, a.body)
		return ""
	}
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: r, Route: &routers.Route{Spec: d.doc, PathItem: item, Method: r.Method, Operation: operation},
		},
		Status: a.StatusCode, Header: a.Header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, ExcludeResponseBody: a.stream},
	}
	input.SetBodyBytes(a.body)
	if err := openapi3filter.ValidateResponse(context.Background(), input); err != nil {
		t.Errorf("%s: status %d is not as documented: %v", sent, a.StatusCode, err)
	}
	if a.stream {
		checkStream(t, sent, operation.Responses.Status(a.StatusCode), a)
	}
	if a.StatusCode >= http.StatusBadRequest && r.Method != http.MethodHead {
		var p struct{ Status int }
		err, media := json.Unmarshal(a.body, &p), a.Header.Get("Content-Type")
		if err != nil || p.Status != a.StatusCode || media != "application/problem+json" {
			t.Errorf("%s: status %d has no problem document: Content-Type %q, body %s", sent, a.StatusCode, media, a.body)
		}
	}
	return r.Method + " " + path + " " + strconv.Itoa(a.StatusCode)
}

// checkStream checks that a stream is documented as one, and that the lines that were read are fields or comments.
// https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
func checkStream(t checker, sent request, documented *openapi3.ResponseRef, a *answer) {
	t.Helper()
	if documented.Value.Content.Get("text/event-stream") == nil {
		t.Errorf("%s: the response is a stream, which is not documented", sent)
	}
	for line := range strings.Lines(string(a.body)) {
		name, _, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if strings.HasSuffix(line, "\n") && !slices.Contains([]string{"", "id", "event", "data", "retry"}, name) {
			t.Errorf("%s: the line %q does not belong in an event stream", sent, line)
		}
	}
}

// checkRefused checks the response to a request that is malformed or too long. As the document's introduction says,
// net/http responds before the API does; it may be more lenient than parse.
func (d *documented) checkRefused(t checker, sent request, a *answer) string {
	t.Helper()
	statuses := []int{400, 417, 431, 501, 505}
	fromAPI := a.Header.Get("X-Content-Type-Options") == "nosniff" && a.StatusCode < 500
	if !fromAPI && !slices.Contains(statuses, a.StatusCode) {
		t.Errorf("%s: status %d, want one of %v: %v %s", sent, a.StatusCode, statuses, a.Header, a.body)
	}
	if len(a.body) > 4096 && a.StatusCode >= 400 {
		t.Errorf("%s: status %d with a body of %d bytes, want at most 4096", sent, a.StatusCode, len(a.body))
	}
	return "refused " + strconv.Itoa(a.StatusCode)
}

// checkMeaning checks that requests without a valid token are refused, that requests with one are not, and that
// people are found.
func (d *documented) checkMeaning(
	t checker, sent request, r *http.Request, path string, operation *openapi3.Operation, a *answer,
) {
	t.Helper()
	given := r.Header["Authorization"]
	scheme, token, _ := strings.Cut(strings.Join(given, "\x00"), " ")
	good := len(given) == 1 && strings.EqualFold(scheme, "Bearer") && strings.Trim(token, " ") == d.server.token
	open := operation.Security != nil && len(*operation.Security) == 0
	if refused := a.StatusCode == http.StatusUnauthorized; refused == (good || open) {
		t.Errorf("%s: status %d with a good token: %t, open to all: %t: %s", sent, a.StatusCode, good, open, a.body)
		return
	}
	if r.Method == http.MethodHead && len(a.body) > 0 {
		t.Errorf("%s: the response to HEAD has a body: %s", sent, a.body)
	}
	if path != "/ice-cream/{person}" || !good || r.URL.RawQuery != "" || r.Header.Get("If-None-Match") != "" {
		return
	}
	escaped := r.URL.EscapedPath()
	name, err := url.PathUnescape(escaped[strings.LastIndexByte(escaped, '/')+1:])
	if err != nil {
		t.Fatalf("%s: %v", sent, err)
	}
	person, bad := events.CleanName(name, "person", events.MissingPerson)
	flavor, known := d.people[person]
	want := http.StatusOK
	switch {
	case bad != nil:
		want = http.StatusBadRequest
	case !known:
		want = http.StatusNotFound
	}
	if a.StatusCode != want {
		t.Errorf("%s: status %d, want %d: %s", sent, a.StatusCode, want, a.body)
		return
	}
	if want == http.StatusOK && r.Method == http.MethodGet {
		var got struct{ Person, Flavor string }
		err := json.Unmarshal(a.body, &got)
		if err != nil || got.Person != person || got.Flavor != flavor {
			t.Errorf("%s: got %s, want %q and %q", sent, a.body, person, flavor)
		}
	}
}

// pathItem returns the path of the document that a request is for, or nil.
func (d *documented) pathItem(escaped string) (string, *openapi3.PathItem) {
	segments := strings.Split(escaped, "/")
	for path, item := range d.doc.Paths.Map() {
		matches := func(want, got string) bool { return want == got || strings.HasPrefix(want, "{") && got != "" }
		if slices.EqualFunc(strings.Split(path, "/"), segments, matches) {
			return path, item
		}
	}
	return "", nil
}
