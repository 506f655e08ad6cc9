package api_test

import (
	"bytes"
	"context"
	"flag"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/api"
)

var update = flag.Bool("update", false, "write openapi.json from openapi.yaml")

func TestDocumentIsGenerated(t *testing.T) {
	source, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	converted, err := yaml.YAMLToJSON(source)
	if err != nil {
		t.Fatal(err)
	}
	want := jsontext.Value(bytes.TrimSpace(converted))
	if err := want.Indent(jsontext.WithIndent("  ")); err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile("openapi.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("openapi.json differs from openapi.yaml; run go generate ./api (-want +got):\n%s", diff)
	}
}

// document is openapi.json, loaded and validated once.
var document = sync.OnceValues(func() (*openapi3.T, error) {
	openapi3filter.RegisterBodyDecoder("text/event-stream", openapi3filter.PlainBodyDecoder)
	doc, err := openapi3.NewLoader().LoadFromFile("openapi.json")
	if err != nil {
		return nil, err
	}
	return doc, doc.Validate(context.Background())
})

func loadDocument(t testing.TB) *openapi3.T {
	t.Helper()
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// validate checks that the OpenAPI document describes the status, the headers and the body of a response.
func validate(t testing.TB, r *http.Request, a response) {
	t.Helper()
	doc := loadDocument(t)
	item := pathItem(doc, r.URL.EscapedPath())
	operation := &openapi3.Operation{Responses: openapi3.NewResponsesWithCapacity(1)}
	switch {
	case r.Method == http.MethodOptions:
		return
	case item == nil: // no such route
		operation.Responses.Set("404", doc.Components.Responses["NotFound"])
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		operation = item.Get
	default:
		operation.Responses.Set("405", doc.Components.Responses["MethodNotAllowed"])
	}
	if operation.Responses.Status(a.status) == nil { // the filter accepts any 304 and any response to HEAD
		t.Errorf("%s %s: status %d is not documented", r.Method, r.URL, a.status)
		return
	}
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: r, Route: &routers.Route{Spec: doc, PathItem: item, Method: r.Method, Operation: operation},
		},
		Status: a.status, Header: a.header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	input.SetBodyBytes([]byte(a.body))
	if err := openapi3filter.ValidateResponse(context.Background(), input); err != nil {
		t.Errorf("%s %s: status %d is not as documented: %v", r.Method, r.URL, a.status, err)
	}
}

func pathItem(doc *openapi3.T, escaped string) *openapi3.PathItem {
	segments := strings.Split(escaped, "/")
	for path, item := range doc.Paths.Map() {
		template := strings.Split(path, "/")
		if slices.EqualFunc(template, segments, func(want, got string) bool {
			return want == got || strings.HasPrefix(want, "{") && got != ""
		}) {
			return item
		}
	}
	return nil
}

func TestDocumentDescribesTheRoutes(t *testing.T) {
	documented := map[string]bool{}
	for path, item := range loadDocument(t).Paths.Map() {
		for method, operation := range item.Operations() {
			if method != http.MethodGet {
				t.Errorf("%s %s is documented, want GET only", method, path)
			}
			documented[path] = operation.Security != nil && len(*operation.Security) == 0
		}
	}
	if diff := cmp.Diff(api.Paths(), documented); diff != "" {
		t.Errorf("routes, and whether they are open (-handlers +document):\n%s", diff)
	}
}

// TestEveryDocumentedStatus provokes each documented status. testServer.do compares the responses with the document.
func TestEveryDocumentedStatus(t *testing.T) {
	seen := map[string]bool{}
	send := func(t *testing.T, h *testServer, path, target string, headers ...string) response {
		t.Helper()
		a := h.do(t, http.MethodGet, target, headers...)
		seen[path+" "+strconv.Itoa(a.status)] = true
		return a
	}
	targets := map[string]string{
		"/":     "/",
		"/team": "/team?limit=2", "/ice-cream/{person}": "/ice-cream/andy", "/uploads": "/uploads?limit=2",
		"/uploads/{id}": "/uploads/" + uploadID(1), "/changes": "/changes?kind=created",
		"/openapi.json": "/openapi.json", "/healthz": "/healthz",
	}
	for path, open := range api.Paths() {
		t.Run(path, func(t *testing.T) {
			target := targets[path]
			h := newServer(t, nil)
			h.addUploads(3)
			token := []string{"Authorization", h.issuer.bearer(t)}
			a := send(t, h, path, target, token...)
			if tag := a.header.Get("ETag"); tag != "" {
				send(t, h, path, target, append(token, "If-None-Match", tag)...)
			}
			send(t, h, path, strings.Split(target, "?")[0]+"?flavour=x", token...)
			h.store.err = context.DeadlineExceeded
			send(t, h, path, target, token...)
			h.store.err, h.store.panics = nil, "broken"
			send(t, h, path, target, token...)

			down := newServer(t, func(c *api.Config) {
				c.Health = func(context.Context) api.Health { return api.Health{Down: true} }
			})
			panicking := newServer(t, func(c *api.Config) { c.Health = func(context.Context) api.Health { panic("broken") } })
			send(t, down, path, target, "Authorization", down.issuer.bearer(t))
			send(t, panicking, path, target, "Authorization", panicking.issuer.bearer(t))
			if open {
				return
			}
			send(t, h, path, target)
			scoped := newServer(t, nil)
			scoped.require(t, "flavors.read")
			send(t, scoped, path, target, "Authorization", scoped.issuer.bearer(t))
		})
	}
	h := newServer(t, nil)
	token := h.issuer.bearer(t)
	send(t, h, "/ice-cream/{person}", "/ice-cream/nobody", "Authorization", token)
	send(t, h, "/uploads", "/uploads?before="+uploadID(9), "Authorization", token)
	send(t, h, "/uploads/{id}", "/uploads/"+uploadID(9), "Authorization", token)
	send(t, h, "/changes", "/changes", "Authorization", token, "Last-Event-ID", "9")
	withoutChanges := newServer(t, func(c *api.Config) { c.Changes = nil })
	send(t, withoutChanges, "/changes", "/changes", "Authorization", withoutChanges.issuer.bearer(t))

	documented := map[string]bool{}
	for path, item := range loadDocument(t).Paths.Map() {
		for status := range item.Get.Responses.Map() {
			documented[path+" "+status] = true
		}
	}
	if diff := cmp.Diff(documented, seen); diff != "" {
		t.Errorf("statuses (-documented +seen):\n%s", diff)
	}
}
