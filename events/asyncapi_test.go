package events_test

import (
	"bytes"
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

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
)

// document is asyncapi.yaml, as JSON decodes it.
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
	d.compiler.DefaultDraft(jsonschema.Draft7) // that of AsyncAPI 3.0
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource("asyncapi.json", root); err != nil {
		t.Fatal(err)
	}
	return d
}

// at gives what stands at a JSON pointer.
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

// valid holds JSON against a schema.
func valid(s *jsonschema.Schema, text []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

// messageSchemas checks messages of both types.
type messageSchemas map[string]struct{ attributes, body *jsonschema.Schema }

func (d *document) messageSchemas(t *testing.T) messageSchemas {
	t.Helper()
	schemas := messageSchemas{}
	for name, m := range d.at(t, "/components/messages").(map[string]any) {
		s := schemas[m.(map[string]any)["name"].(string)]
		s.attributes = d.schema(t, "/components/messages/"+name+"/headers")
		s.body = d.schema(t, "/components/messages/"+name+"/payload")
		schemas[m.(map[string]any)["name"].(string)] = s
	}
	return schemas
}

func (s messageSchemas) check(m events.Message) error {
	schemas, ok := s[m.Attributes["type"]]
	if !ok {
		return fmt.Errorf("no message %q", m.Attributes["type"])
	}
	if err := valid(schemas.body, m.Body); err != nil {
		return fmt.Errorf("body: %w\n%s", err, m.Body)
	}
	attributes, err := json.Marshal(m.Attributes)
	if err != nil {
		return err
	}
	if err := valid(schemas.attributes, attributes); err != nil {
		return fmt.Errorf("attributes: %w\n%s", err, attributes)
	}
	return nil
}

func TestDocumentDescribesMessages(t *testing.T) {
	schemas := readDocument(t).messageSchemas(t)
	for name, m := range goldenMessages(t) {
		t.Run(name, func(t *testing.T) {
			m.Body = readGolden(t, name+".json")
			if err := schemas.check(m); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("any batch", rapid.MakeCheck(func(t *rapid.T) {
		if err := schemas.check(encode(batch().Draw(t, "batch"))); err != nil {
			t.Fatal(err)
		}
	}))
	t.Run("any change", rapid.MakeCheck(func(t *rapid.T) {
		if err := schemas.check(change().Draw(t, "change").Message()); err != nil {
			t.Fatal(err)
		}
	}))
}

// What the decoders refuse, the document refuses as well, where a schema can.
func TestDocumentRefusesBadMessages(t *testing.T) {
	schemas := readDocument(t).messageSchemas(t)
	for _, tt := range []struct {
		typ, golden string
		edits       map[string]edit
	}{
		{events.UpdatesType, "batch.json", badBatches()},
		{events.ChangeType, "change-changed.json", badChanges()},
	} {
		for name, e := range tt.edits {
			if !e.schema {
				continue
			}
			t.Run(tt.typ+"/"+name, func(t *testing.T) {
				body := e.apply(t, readGolden(t, tt.golden))
				if valid(schemas[tt.typ].body, body) == nil {
					t.Errorf("valid by the document:\n%.1000s", body)
				}
			})
		}
	}
	// An undocumented member fails.
	for name, e := range map[string]edit{
		"beside the data": {old: `"data":`, new: `"traceparent":"00-x","data":`},
		"in the data":     {old: `"data":{`, new: `"data":{"new":1,`},
	} {
		t.Run("undocumented "+name, func(t *testing.T) {
			for typ, golden := range map[string]string{events.UpdatesType: "batch.json", events.ChangeType: "change-created.json"} {
				if valid(schemas[typ].body, e.apply(t, readGolden(t, golden))) == nil {
					t.Errorf("%s: an undocumented member is valid", typ)
				}
			}
		})
	}
	t.Run("attributes", func(t *testing.T) {
		for name, m := range goldenMessages(t) {
			for attribute := range m.Attributes {
				without := m
				without.Attributes = maps.Clone(m.Attributes)
				delete(without.Attributes, attribute)
				if schemas.check(without) == nil {
					t.Errorf("%s is valid without %s", name, attribute)
				}
				without.Attributes[attribute], without.Attributes["new"] = m.Attributes[attribute], "x"
				if schemas.check(without) == nil {
					t.Errorf("%s is valid with an undocumented attribute", name)
				}
			}
		}
	})
}

func TestDocumentDescribesRejects(t *testing.T) {
	d := readDocument(t)
	reject, failure := d.schema(t, "/components/schemas/Reject"), d.schema(t, "/components/schemas/Failure")
	for line := range bytes.Lines(readGolden(t, "rejects.ndjson")) {
		if err := valid(reject, line); err != nil {
			t.Errorf("%v\n%s", err, line)
		}
	}
	var upload struct{ Failure json.RawMessage }
	if err := json.Unmarshal(readGolden(t, "upload-failed.json"), &upload); err != nil {
		t.Fatal(err)
	}
	if err := valid(failure, upload.Failure); err != nil {
		t.Error(err)
	}
}

// An example is what the encoders make of what the decoders read in it.
func TestDocumentExamples(t *testing.T) {
	d := readDocument(t)
	schemas := d.messageSchemas(t)
	decode := map[string]func([]byte) (events.Message, error){
		events.UpdatesType: func(body []byte) (events.Message, error) {
			b, err := events.DecodeBatch(body)
			if err != nil {
				return events.Message{}, err
			}
			return encode(b), nil
		},
		events.ChangeType: func(body []byte) (events.Message, error) {
			c, err := events.DecodeChange(body)
			return c.Message(), err
		},
	}
	for name, m := range d.at(t, "/components/messages").(map[string]any) {
		m := m.(map[string]any)
		for _, e := range m["examples"].([]any) {
			e := e.(map[string]any)
			t.Run(name+"/"+e["name"].(string), func(t *testing.T) {
				body, err := json.Marshal(e["payload"])
				if err != nil {
					t.Fatal(err)
				}
				made, err := decode[m["name"].(string)](body)
				if err != nil {
					t.Fatal(err)
				}
				if err := schemas.check(made); err != nil {
					t.Error(err)
				}
				payload, err := jsonschema.UnmarshalJSON(bytes.NewReader(made.Body))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(payload, e["payload"]); diff != "" {
					t.Errorf("payload, -encoded +documented:\n%s", diff)
				}
				headers := map[string]string{}
				for name, v := range e["headers"].(map[string]any) {
					headers[name] = v.(string)
				}
				if diff := cmp.Diff(made.Attributes, headers); diff != "" {
					t.Errorf("headers, -encoded +documented:\n%s", diff)
				}
			})
		}
	}
	for name, s := range d.at(t, "/components/schemas").(map[string]any) {
		s, _ := s.(map[string]any)
		examples, _ := s["examples"].([]any)
		for _, e := range examples {
			if err := d.schema(t, "/components/schemas/"+name).Validate(e); err != nil {
				t.Errorf("example of schema %s: %v", name, err)
			}
		}
	}
}

// constantsOf reads the package's string constants, one list for each const declaration that has some of that type.
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
			t.Errorf("%s, -code +document:\n%s", what, diff)
		}
	}
	// listed gives the codes that a description explains: - `code`: why
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
		t.Fatalf("there are %d lists of codes, want those of rows and those of files", len(codes))
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

	same("subject of updates", []string{encode(goldenBatches(t)["batch"]).Subject}, []string{d.at(t, "/channels/updates/address").(string)})
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

// TestDocumentIsAsyncAPI holds the document against what AsyncAPI 3.0 says of the objects that it uses.
// https://www.asyncapi.com/docs/reference/specification/v3.0.0
func TestDocumentIsAsyncAPI(t *testing.T) {
	d := readDocument(t)
	// fields checks an object: ! marks what is required.
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
				t.Errorf("%s: there is no field %s", where, name)
			}
		}
		return m
	}
	mapOf := func(where string, v any, each func(where, name string, v any)) {
		t.Helper()
		m, _ := v.(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if !regexp.MustCompile(`^[A-Za-z0-9._-]+$`).MatchString(name) {
				t.Errorf("%s: %q can't be a name", where, name)
			}
			each(where+"/"+name, name, m[name])
		}
	}
	// placeholders of a text, such as {kind}, have to be the keys of v.
	placeholders := func(where, text string, v any) {
		t.Helper()
		m, _ := v.(map[string]any)
		got := []string{}
		for _, p := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(text, -1) {
			got = append(got, p[1])
		}
		slices.Sort(got)
		if want := slices.Sorted(maps.Keys(m)); !slices.Equal(got, want) {
			t.Errorf("%s: %s has placeholders %v, described are %v", where, text, got, want)
		}
	}
	// references of a list have to lie under one place.
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
		t.Errorf("asyncapi is %v", root["asyncapi"])
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
			t.Errorf("%s: action is %v", where, o["action"])
		}
		channel := references(where+"/channel", []any{o["channel"]}, "/channels/")[0]
		for _, m := range references(where+"/messages", o["messages"], strings.TrimPrefix(channel, "#")+"/messages/") {
			sent[m] = sent[m] || o["action"] == "send"
		}
	})
	if len(sent) != 2 || slices.Contains(slices.Collect(maps.Values(sent)), false) {
		t.Errorf("messages sent: %v, want one on each channel", sent)
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
	used := map[string]bool{"Reject": true, "Failure": true} // by objects in buckets, not by messages
	var walk func(where string, v any)
	walk = func(where string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				if _, found := d.find(strings.TrimPrefix(ref, "#")); !found || !strings.HasPrefix(ref, "#/") {
					t.Errorf("%s: %s leads nowhere", where, ref)
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
		// A schema of an object names every member, and which of them are always there.
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
