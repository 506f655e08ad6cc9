package fakeaws

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// value is the value of an attribute, of type S, N or B. Its JSON is an object such as {"S": "text"}.
type value struct {
	kind byte
	text string
}

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (v *value) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	var one map[string]string
	if d.PeekKind() != '{' {
		return fmt.Errorf("an attribute value must be an object")
	}
	// Without reflection, because a million rows have four million values.
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	kind, err := d.ReadToken()
	if err != nil {
		return err
	}
	name := kind.String()
	if !slices.Contains([]string{"S", "N", "B"}, name) {
		return fmt.Errorf("values of type %s are not implemented", name)
	}
	text, err := d.ReadToken()
	if err != nil {
		return err
	}
	v.kind, v.text = name[0], text.String()
	if d.PeekKind() != '}' {
		return json.UnmarshalDecode(d, &one)
	}
	_, err = d.ReadToken()
	return err
}

// MarshalJSONTo implements json.MarshalerTo.
func (v value) MarshalJSONTo(e *jsontext.Encoder) error {
	for _, t := range []jsontext.Token{jsontext.BeginObject, jsontext.String(string(v.kind)), jsontext.String(v.text),
		jsontext.EndObject} {
		if err := e.WriteToken(t); err != nil {
			return err
		}
	}
	return nil
}

func (v value) number() (int64, error) { return strconv.ParseInt(v.text, 10, 64) }

// size returns the size that DynamoDB bills: the bytes of UTF-8, and for a number one byte for two digits plus one.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
func (v value) size() int {
	switch v.kind {
	case 'N':
		return (len(strings.TrimRight(v.text, "0"))+1)/2 + 1
	case 'B':
		return len(v.text) / 4 * 3
	}
	return len(v.text)
}

// attribute is an element of an item, which is a list because a map takes three times as much memory.
type attribute struct {
	name  string
	value value
}

type item []attribute

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (it *item) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return fmt.Errorf("an item must be an object: %w", err)
	}
	for d.PeekKind() != '}' {
		var a attribute
		t, err := d.ReadToken()
		if err != nil {
			return err
		}
		a.name = t.String()
		if err := a.value.UnmarshalJSONFrom(d); err != nil {
			return err
		}
		*it = append(*it, a)
	}
	_, err := d.ReadToken()
	return err
}

// MarshalJSONTo implements json.MarshalerTo.
func (it item) MarshalJSONTo(e *jsontext.Encoder) error {
	if err := e.WriteToken(jsontext.BeginObject); err != nil {
		return err
	}
	for _, a := range it {
		if err := e.WriteToken(jsontext.String(a.name)); err != nil {
			return err
		}
		if err := a.value.MarshalJSONTo(e); err != nil {
			return err
		}
	}
	return e.WriteToken(jsontext.EndObject)
}

func (it item) get(name string) (value, bool) {
	for _, a := range it {
		if a.name == name {
			return a.value, true
		}
	}
	return value{}, false
}

// with returns a copy of the item with the value.
func (it item) with(name string, v value) item {
	changed := it.without(name)
	return append(changed, attribute{name, v})
}

func (it item) without(name string) item {
	kept := make(item, 0, len(it)+1)
	for _, a := range it {
		if a.name != name {
			kept = append(kept, a)
		}
	}
	return kept
}

func (it item) size() int {
	n := 0
	for _, a := range it {
		n += len(a.name) + a.value.size()
	}
	return n
}
