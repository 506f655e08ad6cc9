package events_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// document is asyncapi.yaml, decoded as JSON.
type document struct {
	root     map[string]any
	compiler *jsonschema.Compiler
}

func readDocument(t *testing.T) *document {
	t.Helper()
	text, err := os.ReadFile("asyncapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text, err = yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	d := &document{root.(map[string]any), jsonschema.NewCompiler()}
	d.compiler.DefaultDraft(jsonschema.Draft7) // as in AsyncAPI 3.0
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource("asyncapi.json", root); err != nil {
		t.Fatal(err)
	}
	return d
}

// at returns the value at a JSON pointer.
func (d *document) at(t *testing.T, pointer string) any {
	t.Helper()
	v, ok := d.find(pointer)
	if !ok {
		t.Fatalf("the document has no %s", pointer)
	}
	return v
}

func (d *document) find(pointer string) (any, bool) {
	var v any = d.root
	for name := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		m, _ := v.(map[string]any)
		var ok bool
		if v, ok = m[name]; !ok {
			return nil, false
		}
	}
	return v, true
}

func (d *document) strings(t *testing.T, pointer string) []string {
	t.Helper()
	return stringsOf(t, d.at(t, pointer))
}

func stringsOf(t *testing.T, list any) []string {
	t.Helper()
	var s []string
	for _, v := range list.([]any) {
		s = append(s, v.(string))
	}
	return s
}

func (d *document) schema(t *testing.T, pointer string) *jsonschema.Schema {
	t.Helper()
	s, err := d.compiler.Compile("asyncapi.json#" + pointer)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// valid validates JSON against a schema.
func valid(s *jsonschema.Schema, text []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return s.Validate(v)
}
