package ingest

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

const jsonSpace = " \t\r\n"

// syntaxFault says what is wrong where jsontext found a syntax error, and what to do about it. Text begins at the row or before
// it, and reaches to the end of the character at index at, where jsontext places the error. The fault lies back bytes before.
//
// The sentences of jsontext quote a character as far as its buffer holds it, so they depend on where reading began, and they
// quote control characters as they are. The result of syntaxFault depends on text alone.
func syntaxFault(err *jsontext.SyntacticError, text []byte, at int) (back int, what string) {
	before, after := bytes.TrimRight(text[:at], jsonSpace), text[at:]
	said := err.Err.Error()
	if len(after) == 0 {
		return 0, said + "; fix it there"
	}
	const trailing, double = "a comma stands before the closing bracket; remove the comma", "a comma follows a comma; remove one"
	switch rest := bytes.TrimLeft(after[1:], jsonSpace); {
	case after[0] == ',' && len(rest) > 0 && closes(rest[0]):
		return 0, trailing
	case closes(after[0]) && bytes.HasSuffix(before, []byte(",")):
		return at - len(before) + 1, trailing
	case after[0] == ',' && (bytes.HasSuffix(before, []byte(",")) || len(rest) > 0 && rest[0] == ','):
		return 0, double
	case after[0] == '\\' && len(after) > 1:
		if after[1] == 'u' {
			return 0, `four hexadecimal digits have to follow \u; fix it there`
		}
		name, _ := character(after[1:])
		return 0, fmt.Sprintf(`a backslash stands before %s; write \\ for a backslash`, name)
	}
	where, ok := whereInvalid(said)
	if !ok {
		return 0, said + "; fix it there"
	}
	name, advice := character(after)
	switch {
	case after[0] < ' ' && strings.HasPrefix(where, "in string"):
		where = "in a string"
		advice = fmt.Sprintf(`write it as \u%04x, or remove it`, after[0])
	case advice == "":
		advice = "fix it there"
	}
	return 0, fmt.Sprintf("invalid character %s %s; %s", name, where, advice)
}

func closes(c byte) bool { return c == ']' || c == '}' }

// whereInvalid returns the end of a sentence of jsontext about an invalid character: that which follows the character.
func whereInvalid(said string) (string, bool) {
	rest, ok := strings.CutPrefix(said, "invalid character ")
	if !ok {
		return "", false
	}
	for _, where := range []string{" at start ", " after ", " in string", " in literal ", " in number "} {
		if i := strings.Index(rest, where); i >= 0 {
			return rest[i+1:], true
		}
	}
	return "", false
}
