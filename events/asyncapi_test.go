package events_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
)

// messageSchemas are the schemas of messages, by type.
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
		return fmt.Errorf("the document has no message %q", m.Attributes["type"])
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

// TestDocumentRefusesBadMessages checks that schemas refuse what decoders refuse, as far as a schema can.
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
					t.Errorf("the schema accepts:\n%.1000s", body)
				}
			})
		}
	}
	// Schemas refuse undocumented members, although decoders ignore them.
	for name, e := range map[string]edit{
		"beside the data": {old: `"data":`, new: `"traceparent":"00-x","data":`},
		"in the data":     {old: `"data":{`, new: `"data":{"new":1,`},
	} {
		t.Run("undocumented "+name, func(t *testing.T) {
			for typ, golden := range map[string]string{events.UpdatesType: "batch.json",
				events.ChangeType: "change-created.json"} {
				if valid(schemas[typ].body, e.apply(t, readGolden(t, golden))) == nil {
					t.Errorf("%s: an undocumented member is valid", typ)
				}
			}
		})
	}
	// Every member is required.
	t.Run("missing members", func(t *testing.T) {
		for name, m := range goldenMessages(t) {
			for member := range members(t, m.Body) {
				if valid(schemas[m.Attributes["type"]].body, without(t, m.Body, member)) == nil {
					t.Errorf("%s is valid without %s", name, member)
				}
			}
		}
	})
	t.Run("attributes", func(t *testing.T) {
		for name, m := range goldenMessages(t) {
			for attribute := range m.Attributes {
				edited := m
				edited.Attributes = maps.Clone(m.Attributes)
				delete(edited.Attributes, attribute)
				if schemas.check(edited) == nil {
					t.Errorf("%s is valid without %s", name, attribute)
				}
				edited.Attributes[attribute], edited.Attributes["new"] = m.Attributes[attribute], "x"
				if schemas.check(edited) == nil {
					t.Errorf("%s is valid with an undocumented attribute", name)
				}
			}
		}
	})
}

// members returns the names of the members of an event, and those of its data as "data.x".
func members(t *testing.T, body []byte) map[string]bool {
	t.Helper()
	var event map[string]any
	if err := json.Unmarshal(body, &event); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for name := range event {
		names[name] = true
	}
	for name := range event["data"].(map[string]any) {
		names["data."+name] = true
	}
	return names
}

func without(t *testing.T, body []byte, member string) []byte {
	t.Helper()
	var event map[string]any
	if err := json.Unmarshal(body, &event); err != nil {
		t.Fatal(err)
	}
	if name, ok := strings.CutPrefix(member, "data."); ok {
		delete(event["data"].(map[string]any), name)
	} else {
		delete(event, member)
	}
	body, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestDocumentDescribesRejects(t *testing.T) {
	d := readDocument(t)
	reject, failure := d.schema(t, "/components/schemas/Reject"), d.schema(t, "/components/schemas/Failure")
	for line := range bytes.Lines(readGolden(t, "rejects.ndjson")) {
		if err := valid(reject, line); err != nil {
			t.Errorf("line %s: %v, want a valid reject", line, err)
		}
	}
	end, err := json.Marshal(events.ReportEnd{Truncated: true, Omitted: 1, Message: "why"})
	if err != nil {
		t.Fatal(err)
	}
	if err := valid(d.schema(t, "/components/schemas/ReportEnd"), end); err != nil {
		t.Error(err)
	}
	if err := valid(reject, end); err == nil {
		t.Error("the schema of rejects accepts the end of a report, want an error")
	}
	var upload struct{ Failure json.RawMessage }
	if err := json.Unmarshal(readGolden(t, "upload-failed.json"), &upload); err != nil {
		t.Fatal(err)
	}
	if err := valid(failure, upload.Failure); err != nil {
		t.Error(err)
	}
}

// TestDocumentExamples decodes the examples and compares them with the encoded values.
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
		events.ContinuationType: func(body []byte) (events.Message, error) {
			s, err := events.DecodeContinuation(body)
			if err != nil {
				return events.Message{}, err
			}
			return s.Message()
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
					t.Errorf("payload (-encoded +documented):\n%s", diff)
				}
				headers := map[string]string{}
				for name, v := range e["headers"].(map[string]any) {
					headers[name] = v.(string)
				}
				if diff := cmp.Diff(made.Attributes, headers); diff != "" {
					t.Errorf("headers (-encoded +documented):\n%s", diff)
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
