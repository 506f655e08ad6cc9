package test

import (
	"bytes"
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

// checker is a test, or one run of a property.
type checker interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// check holds an answer against the document, and against what is known of the house. It returns what it was an example of:
// method, path and status as the document has them.
func (h *documented) check(t checker, sent request, a *answer) string {
	t.Helper()
	r, err := parse(sent.wire())
	if err != nil || len(sent.wire()) > mostHeader {
		return h.checkRefused(t, sent, a)
	}
	if a.StatusCode >= 500 {
		t.Errorf("%s: status %d: %s", sent, a.StatusCode, a.body)
	}
	if r.Method == http.MethodOptions && r.RequestURI == "*" { // about the server as a whole: net/http says 200, and no more
		if a.StatusCode != http.StatusOK || len(a.body) > 0 {
			t.Errorf("%s: status %d: %s", sent, a.StatusCode, a.body)
		}
		return "OPTIONS *"
	}
	if a.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%s: the answer is not from the API: status %d, %v %s", sent, a.StatusCode, a.Header, a.body)
	}
	path, item := h.pathItem(r.URL.EscapedPath())
	operation := &openapi3.Operation{Responses: openapi3.NewResponsesWithCapacity(1)}
	component := func(status, name string) { operation.Responses.Set(status, h.doc.Components.Responses[name]) }
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	switch {
	case item == nil:
		component("404", "NotFound")
	case item.GetOperation(method) != nil:
		operation = item.GetOperation(method)
		h.checkMeaning(t, sent, r, path, operation, a)
	case r.Method == http.MethodOptions:
		if a.StatusCode != http.StatusNoContent || a.Header.Get("Allow") == "" || len(a.body) > 0 {
			t.Errorf("%s: status %d, allow %q: %s", sent, a.StatusCode, a.Header.Get("Allow"), a.body)
		}
		return "OPTIONS " + path
	default:
		component("405", "MethodNotAllowed")
	}
	if operation.Responses.Status(a.StatusCode) == nil { // the filter takes 304 and HEAD for granted
		t.Errorf("%s: status %d is not documented: %s", sent, a.StatusCode, a.body)
		return ""
	}
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: r, Route: &routers.Route{Spec: h.doc, PathItem: item, Method: r.Method, Operation: operation},
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
		if err := json.Unmarshal(a.body, &p); err != nil || p.Status != a.StatusCode || a.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: status %d is no problem document: %q %s", sent, a.StatusCode, a.Header.Get("Content-Type"), a.body)
		}
	}
	return r.Method + " " + path + " " + strconv.Itoa(a.StatusCode)
}

// checkStream: it is documented as one, and as far as it was listened to, its lines are fields or comments.
// https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
func checkStream(t checker, sent request, documented *openapi3.ResponseRef, a *answer) {
	t.Helper()
	if documented.Value.Content.Get("text/event-stream") == nil {
		t.Errorf("%s: a stream, which is not documented", sent)
	}
	for line := range strings.Lines(string(a.body)) {
		name, _, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if strings.HasSuffix(line, "\n") && !slices.Contains([]string{"", "id", "event", "data", "retry"}, name) {
			t.Errorf("%s: %q is no line of an event stream", sent, line)
		}
	}
}

// checkRefused is for what is not HTTP, or too long: net/http answers it before anybody is asked, as the document's
// introduction says. It may be more lenient than parse.
func (h *documented) checkRefused(t checker, sent request, a *answer) string {
	t.Helper()
	statuses := []int{400, 417, 431, 501, 505}
	if ours := a.Header.Get("X-Content-Type-Options") == "nosniff" && a.StatusCode < 500; !ours && !slices.Contains(statuses, a.StatusCode) {
		t.Errorf("%s: status %d, %v %s", sent, a.StatusCode, a.Header, a.body)
	}
	if len(a.body) > 4096 && a.StatusCode >= 400 {
		t.Errorf("%s: status %d with %d bytes", sent, a.StatusCode, len(a.body))
	}
	return "refused " + strconv.Itoa(a.StatusCode)
}

// checkMeaning: who has no token gets nothing, who has one is not refused for it, and a person who is there is found.
func (h *documented) checkMeaning(t checker, sent request, r *http.Request, path string, operation *openapi3.Operation, a *answer) {
	t.Helper()
	given := r.Header["Authorization"]
	scheme, token, _ := strings.Cut(strings.Join(given, "\x00"), " ")
	good := len(given) == 1 && strings.EqualFold(scheme, "Bearer") && strings.Trim(token, " ") == h.token
	open := operation.Security != nil && len(*operation.Security) == 0
	if refused := a.StatusCode == http.StatusUnauthorized; refused == (good || open) {
		t.Errorf("%s: good token: %v, open to all: %v, and yet status %d: %s", sent, good, open, a.StatusCode, a.body)
		return
	}
	if r.Method == http.MethodHead && len(a.body) > 0 {
		t.Errorf("%s: HEAD has a body: %s", sent, a.body)
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
	flavor, known := h.people[person]
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
		if err := json.NewDecoder(bytes.NewReader(a.body)).Decode(&got); err != nil || got.Person != person || got.Flavor != flavor {
			t.Errorf("%s: got %s, want %q and %q", sent, a.body, person, flavor)
		}
	}
}

// pathItem finds the path of the document that a request is for.
func (h *documented) pathItem(escaped string) (string, *openapi3.PathItem) {
	segments := strings.Split(escaped, "/")
	for path, item := range h.doc.Paths.Map() {
		if slices.EqualFunc(strings.Split(path, "/"), segments, func(want, got string) bool {
			return want == got || strings.HasPrefix(want, "{") && got != ""
		}) {
			return path, item
		}
	}
	return "", nil
}
