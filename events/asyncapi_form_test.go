package events_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
)

// constantsOf returns the string constants of a type, a list for each const declaration.
func constantsOf(t *testing.T, typ string) (groups [][]string) {
	t.Helper()
	files, err := fs.Glob(os.DirFS("."), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if file.Name.Name != "events" {
			continue
		}
		for _, decl := range file.Decls {
			decl, ok := decl.(*ast.GenDecl)
			if !ok || decl.Tok != token.CONST {
				continue
			}
			var group []string
			for _, spec := range decl.Specs {
				spec := spec.(*ast.ValueSpec)
				if id, _ := spec.Type.(*ast.Ident); (id == nil) != (typ == "") || id != nil && id.Name != typ {
					continue
				}
				for _, v := range spec.Values {
					if lit, ok := v.(*ast.BasicLit); ok && lit.Kind == token.STRING {
						group = append(group, constant.StringVal(constant.MakeFromLiteral(lit.Value, token.STRING, 0)))
					}
				}
			}
			if group != nil {
				groups = append(groups, group)
			}
		}
	}
	return groups
}

func TestDocumentAndCodeAgree(t *testing.T) {
	d := readDocument(t)
	same := func(what string, code, doc []string) {
		t.Helper()
		if diff := cmp.Diff(code, doc); diff != "" {
			t.Errorf("%s (-code +document):\n%s", what, diff)
		}
	}
	// listed returns the codes in the list of a description, such as: - `code`: why
	listed := func(pointer string) []string {
		var codes []string
		for _, m := range regexp.MustCompile("(?m)^- `(\\w+)`: .").FindAllStringSubmatch(d.at(t, pointer).(string), -1) {
			codes = append(codes, m[1])
		}
		return codes
	}

	types := slices.Concat(constantsOf(t, "")...)
	types = slices.DeleteFunc(types, func(s string) bool { return !strings.HasPrefix(s, "flavorless.") })
	var names []string
	for _, m := range d.at(t, "/components/messages").(map[string]any) {
		names = append(names, m.(map[string]any)["name"].(string))
	}
	slices.Sort(types)
	slices.Sort(names)
	same("types", types, names)

	kinds := constantsOf(t, "Kind")[0]
	same("kinds", kinds, d.strings(t, "/components/schemas/Kind/enum"))
	same("kinds in words", kinds, listed("/components/schemas/Kind/description"))
	same("kinds of subjects", kinds, d.strings(t, "/channels/changes/parameters/kind/enum"))

	codes := constantsOf(t, "Code")
	if len(codes) != 2 {
		t.Fatalf("got %d lists of codes, want 2: of rows and of files", len(codes))
	}
	same("codes of rows", codes[0], d.strings(t, "/components/schemas/RowCode/enum"))
	same("codes of rows in words", codes[0], listed("/components/schemas/RowCode/description"))
	same("codes of files", codes[1], d.strings(t, "/components/schemas/FileCode/enum"))
	same("codes of files in words", codes[1], listed("/components/schemas/FileCode/description"))

	var body struct{ Data struct{ Columns []string } }
	if err := json.Unmarshal(readGolden(t, "batch.json"), &body); err != nil {
		t.Fatal(err)
	}
	same("columns", body.Data.Columns, d.strings(t, "/components/schemas/Batch/properties/columns/const"))

	same("subject of updates", []string{encode(goldenBatches(t)["batch"]).Subject},
		[]string{d.at(t, "/channels/updates/address").(string)})
	var subjects, addresses []string
	for _, kind := range kinds {
		subjects = append(subjects, events.Change{Kind: events.Kind(kind)}.Message().Subject)
		addresses = append(addresses, strings.Replace(d.at(t, "/channels/changes/address").(string), "{kind}", kind, 1))
	}
	same("subjects of changes", subjects, addresses)

	for pointer, want := range map[string]int64{
		"/components/schemas/Name/maxLength":                    events.MaxName,
		"/components/schemas/Batch/properties/first/maximum":    events.MaxOffset,
		"/components/schemas/Reject/properties/offset/maximum":  events.MaxOffset,
		"/components/schemas/Reject/properties/raw/maxLength":   events.MaxRaw,
		"/components/schemas/Failure/properties/offset/maximum": events.MaxOffset,
	} {
		if got, err := d.at(t, pointer).(json.Number).Int64(); err != nil || got != want {
			t.Errorf("%s is %d, want %d (%v)", pointer, got, want, err)
		}
	}
}

// TestDocumentIsAsyncAPI checks the document against the AsyncAPI 3.0 specification, as far as the document uses it.
// https://www.asyncapi.com/docs/reference/specification/v3.0.0
func TestDocumentIsAsyncAPI(t *testing.T) {
	d := readDocument(t)
	// fields checks the names of an object's fields; ! marks required ones.
	fields := func(where string, v any, names string) map[string]any {
		t.Helper()
		m, ok := v.(map[string]any)
		if !ok {
			t.Fatalf("%s is not an object", where)
		}
		allowed := map[string]bool{}
		for name := range strings.FieldsSeq(names) {
			name, required := strings.CutSuffix(name, "!")
			if allowed[name] = true; required && m[name] == nil {
				t.Errorf("%s has no %s", where, name)
			}
		}
		for name := range m {
			if !allowed[name] {
				t.Errorf("%s: unknown field %s", where, name)
			}
		}
		return m
	}
	mapOf := func(where string, v any, each func(where, name string, v any)) {
		t.Helper()
		m, _ := v.(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if !regexp.MustCompile(`^[A-Za-z0-9._-]+$`).MatchString(name) {
				t.Errorf("%s: invalid name %q", where, name)
			}
			each(where+"/"+name, name, m[name])
		}
	}
	// placeholders checks that the placeholders of a text, such as {kind}, are the keys of v.
	placeholders := func(where, text string, v any) {
		t.Helper()
		m, _ := v.(map[string]any)
		got := []string{}
		for _, p := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(text, -1) {
			got = append(got, p[1])
		}
		slices.Sort(got)
		if want := slices.Sorted(maps.Keys(m)); !slices.Equal(got, want) {
			t.Errorf("%s: %s has placeholders %v, want %v", where, text, got, want)
		}
	}
	// references checks that a list has only references under one place, and returns them.
	references := func(where string, v any, under string) (targets []string) {
		t.Helper()
		list, _ := v.([]any)
		for _, r := range list {
			target, _ := fields(where, r, "$ref!")["$ref"].(string)
			if !strings.HasPrefix(target, "#"+under) {
				t.Errorf("%s: %s is not under %s", where, target, under)
			}
			targets = append(targets, target)
		}
		return targets
	}
	const about = " title summary description tags externalDocs bindings"

	root := fields("the document", d.root, "asyncapi! id info! servers defaultContentType channels operations components")
	if root["asyncapi"] != "3.0.0" {
		t.Errorf("asyncapi = %v, want 3.0.0", root["asyncapi"])
	}
	info := fields("/info", root["info"], "title! version! termsOfService contact license description tags externalDocs")
	fields("/info/license", info["license"], "name! url")
	mapOf("/servers", root["servers"], func(where, _ string, v any) {
		s := fields(where, v, "host! protocol! protocolVersion pathname variables security"+about)
		placeholders(where, s["host"].(string), s["variables"])
		mapOf(where+"/variables", s["variables"], func(where, _ string, v any) {
			fields(where, v, "enum default description examples")
		})
	})
	mapOf("/channels", root["channels"], func(where, _ string, v any) {
		c := fields(where, v, "address! messages! servers parameters"+about)
		placeholders(where, c["address"].(string), c["parameters"])
		references(where+"/servers", c["servers"], "/servers/")
		mapOf(where+"/parameters", c["parameters"], func(where, _ string, v any) {
			fields(where, v, "enum default description examples location")
		})
		mapOf(where+"/messages", c["messages"], func(where, _ string, v any) {
			references(where, []any{v}, "/components/messages/")
		})
	})
	sent := map[string]bool{}
	mapOf("/operations", root["operations"], func(where, _ string, v any) {
		o := fields(where, v, "action! channel! messages security traits reply"+about)
		if o["action"] != "send" && o["action"] != "receive" {
			t.Errorf("%s: action = %v, want send or receive", where, o["action"])
		}
		channel := references(where+"/channel", []any{o["channel"]}, "/channels/")[0]
		for _, m := range references(where+"/messages", o["messages"], strings.TrimPrefix(channel, "#")+"/messages/") {
			sent[m] = sent[m] || o["action"] == "send"
		}
	})
	if len(sent) != 3 || slices.Contains(slices.Collect(maps.Values(sent)), false) {
		t.Errorf("sent messages = %v, want one on each of 3 channels", sent)
	}
	components := fields("/components", root["components"], "messages schemas")
	mapOf("/components/messages", components["messages"], func(where, _ string, v any) {
		m := fields(where, v, "headers payload correlationId contentType name! examples! traits"+about)
		for i, e := range m["examples"].([]any) {
			fields(fmt.Sprint(where, "/examples/", i), e, "headers payload name summary")
		}
		for _, part := range []string{"headers", "payload"} {
			references(where+"/"+part, []any{m[part]}, "/components/schemas/")
		}
	})
	used := map[string]bool{"Reject": true, "ReportEnd": true,
		"Failure": true} // in buckets and in the API, not in messages
	var walk func(where string, v any)
	walk = func(where string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				if _, found := d.find(strings.TrimPrefix(ref, "#")); !found || !strings.HasPrefix(ref, "#/") {
					t.Errorf("%s: reference %s has no target", where, ref)
				}
				used[strings.TrimPrefix(ref, "#/components/schemas/")] = true
			}
			for name, v := range v {
				walk(where+"/"+name, v)
			}
		case []any:
			for i, v := range v {
				walk(fmt.Sprint(where, "/", i), v)
			}
		}
	}
	walk("", d.root)
	mapOf("/components/schemas", components["schemas"], func(where, name string, v any) {
		d.schema(t, where)
		s := v.(map[string]any)
		if !used[name] {
			t.Errorf("%s is not used", where)
		}
		// The schema of an object lists all members and the required ones.
		if s["type"] == "object" {
			if s["additionalProperties"] != false {
				t.Errorf("%s allows undocumented members", where)
			}
			for _, name := range stringsOf(t, s["required"]) {
				if _, ok := s["properties"].(map[string]any)[name]; !ok {
					t.Errorf("%s requires %s, which it does not describe", where, name)
				}
			}
		}
	})
}
