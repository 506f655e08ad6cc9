package ingest

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/flavorless/flavorless/events"
)

// stringPool makes strings that share allocations. Rows are packed into messages soon, so no string keeps a large
// allocation alive for long.
type stringPool struct{ chunk strings.Builder }

const (
	poolChunk  = 8 << 10
	poolMaxLen = 4 * events.MaxName // longer strings get their own allocation; their rows are rejected anyway
)

// copy returns b as a string.
func (t *stringPool) copy(b []byte) string {
	if len(b) > poolMaxLen {
		return string(b)
	}
	if t.chunk.Cap()-t.chunk.Len() < len(b) {
		t.chunk = strings.Builder{}
		t.chunk.Grow(poolChunk)
	}
	start := t.chunk.Len()
	t.chunk.Write(b)
	return t.chunk.String()[start:]
}

// unquote returns the text of a JSON string. If the string has no escapes, the text may be invalid UTF-8, which
// CleanName refuses later.
func (t *stringPool) unquote(src *source, quoted jsontext.Value) (string, *events.RowError) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return t.copy(quoted[1 : len(quoted)-1]), nil
	}
	if !utf8.Valid(quoted) {
		return "", src.invalidText("the text")
	}
	b, err := jsontext.AppendUnquote(nil, quoted)
	if err != nil {
		return "", rowError(events.InvalidUTF8,
			`a \u escape is half of a surrogate pair; write both halves, or the character itself`)
	}
	return string(b), nil
}

func notAString(name string, value jsontext.Value) *events.RowError {
	kind, fix := value.Kind().String(), "put it in double quotes"
	switch value.Kind() {
	case jsontext.KindBeginObject:
		kind, fix = "an object", "write one string"
	case jsontext.KindBeginArray:
		kind, fix = "an array", "write one string"
	case jsontext.KindTrue, jsontext.KindFalse:
		kind = "a boolean"
	case jsontext.KindNumber:
		kind = "a number"
	}
	return rowError(events.NotAString, "%s is %s, not a string; %s", name, kind, fix)
}
