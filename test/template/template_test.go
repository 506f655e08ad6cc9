package template_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// template is a CloudFormation template, with what rules check.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-anatomy.html
type template struct {
	Resources map[string]*resource // by logical id
}

type resource struct {
	Type                                string
	DependsOn                           any // one id or several
	DeletionPolicy, UpdateReplacePolicy string
	Properties                          map[string]any
}

func parse(t testing.TB, src []byte) *template {
	t.Helper()
	parsed := new(template)
	if err := json.Unmarshal(src, parsed); err != nil {
		t.Fatalf("parsing the template: %v", err)
	}
	return parsed
}

// of returns the logical ids of the resources of a type, sorted.
func (t *template) of(typ string) []string {
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(t.Resources)) {
		if t.Resources[id].Type == typ {
			ids = append(ids, id)
		}
	}
	return ids
}

// is reports whether id is a resource of that type.
func (t *template) is(id, typ string) bool {
	r := t.Resources[id]
	return r != nil && r.Type == typ
}

// get returns the value at a path of a resource's properties, or nil.
func (t *template) get(id string, path ...string) any {
	r := t.Resources[id]
	if r == nil {
		return nil
	}
	return at(r.Properties, path...)
}

// at returns the value at a path of a decoded JSON object, or nil.
func at(v any, path ...string) any {
	for _, name := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

// list returns a value as a list: in CloudFormation a single value means a list of one.
func list(v any) []any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return v
	}
	return []any{v}
}

func texts(v any) []string {
	var all []string
	for _, x := range list(v) {
		all = append(all, text(x))
	}
	return all
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func number(v any, otherwise float64) float64 {
	if n, ok := v.(float64); ok {
		return n
	}
	return otherwise
}

// target returns the logical id in a Ref, a Fn::GetAtt, or the beginning of a Fn::Sub, or else "".
func target(v any) string {
	if id := text(at(v, "Ref")); id != "" {
		return id
	}
	if attribute := list(at(v, "Fn::GetAtt")); len(attribute) > 0 {
		return text(attribute[0])
	}
	if ids := substituted(v); len(ids) > 0 && strings.HasPrefix(text(at(v, "Fn::Sub")), "${"+ids[0]) {
		return ids[0]
	}
	return ""
}

var substitution = regexp.MustCompile(`\$\{([A-Za-z0-9]+)[.}]`)

// substituted returns the logical ids in a Fn::Sub.
func substituted(v any) []string {
	var ids []string
	for _, m := range substitution.FindAllStringSubmatch(text(at(v, "Fn::Sub")), -1) {
		ids = append(ids, m[1])
	}
	return ids
}

// mentioned returns the logical ids that a value refers to, at any depth.
func mentioned(v any) map[string]bool {
	found := map[string]bool{}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			if id := target(v); id != "" {
				found[id] = true
			}
			for _, id := range substituted(v) {
				found[id] = true
			}
			for _, x := range v {
				walk(x)
			}
		}
	}
	walk(v)
	return found
}

// spelled returns a value as text: a string, Fn::Sub, Fn::Join, Ref or Fn::GetAtt, with references as ${…}.
func spelled(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case map[string]any:
		if s := text(v["Fn::Sub"]); s != "" {
			return s
		}
		if join := list(v["Fn::Join"]); len(join) == 2 {
			var parts []string
			for _, part := range list(join[1]) {
				parts = append(parts, spelled(part))
			}
			return strings.Join(parts, text(join[0]))
		}
		if id := text(v["Ref"]); id != "" {
			return "${" + id + "}"
		}
		if attribute := texts(v["Fn::GetAtt"]); len(attribute) > 0 {
			return "${" + strings.Join(attribute, ".") + "}"
		}
	}
	return ""
}

// violations are what a rule finds.
type violations []string

func (v *violations) add(format string, args ...any) { *v = append(*v, fmt.Sprintf(format, args...)) }
