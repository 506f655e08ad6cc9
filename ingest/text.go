package ingest

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/flavorless/flavorless/events"
)

// text makes strings of what a parser has in its buffer. Many share one allocation: a row is packed into a message long
// before the next allocation, so nothing is kept alive for long.
type text struct{ chunk strings.Builder }

const (
	textChunk = 8 << 10
	textLong  = 4 * events.MaxName // beyond, a string gets its own allocation; it will be rejected in any case
)

func (t *text) copy(b []byte) string {
	if len(b) > textLong {
		return string(b)
	}
	if t.chunk.Cap()-t.chunk.Len() < len(b) {
		t.chunk = strings.Builder{}
		t.chunk.Grow(textChunk)
	}
	start := t.chunk.Len()
	t.chunk.Write(b)
	return t.chunk.String()[start:]
}

// of gives what a JSON string says. It may not be valid UTF-8 where the JSON is not; CleanName sees to that.
func (t *text) of(quoted jsontext.Value) (string, *events.RowError) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return t.copy(quoted[1 : len(quoted)-1]), nil
	}
	if !utf8.Valid(quoted) {
		return "", &events.RowError{Code: events.InvalidUTF8, Reason: "the text" + events.NotUTF8}
	}
	b, err := jsontext.AppendUnquote(nil, quoted)
	if err != nil {
		return "", &events.RowError{Code: events.InvalidUTF8, Reason: `a \u escape is half a surrogate pair; write both halves, or the character itself`}
	}
	return string(b), nil
}

func notAString(field string, value jsontext.Value) *events.RowError {
	kind, mend := value.Kind().String(), "put it in double quotes"
	switch value.Kind() {
	case jsontext.KindBeginObject:
		kind, mend = "an object", "give one string"
	case jsontext.KindBeginArray:
		kind, mend = "an array", "give one string"
	case jsontext.KindTrue, jsontext.KindFalse:
		kind = "a boolean"
	case jsontext.KindNumber:
		kind = "a number"
	}
	return &events.RowError{Code: events.NotAString, Reason: fmt.Sprintf("%s is %s, not a string; %s", field, kind, mend)}
}
