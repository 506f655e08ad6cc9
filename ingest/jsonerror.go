package ingest

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

const jsonSpace = " \t\r\n"

const textOrNull = "put text in double quotes, or write null"

// syntaxFault describes the fault at an index of text, where jsontext reports a syntax error, and how to fix it. Text
// begins in the state start and includes the whole character at the index. The fault is back bytes before the index.
//
// It replaces the messages of jsontext, which depend on where its buffer ends and therefore on where reading began.
func (s *source) syntaxFault(text []byte, at int, start jsonState) (back int, what string) {
	before, after := text[:at], text[at:]
	if len(after) == 0 {
		return 0, "the JSON is incomplete; complete it"
	}
	state := start.after(before)
	if state.expected == endOfString {
		return 0, s.stringFault(after)
	}
	name, advice := s.jsonCharacter(after)
	or := func(other string) string {
		if advice != "" {
			return advice
		}
		return other
	}
	word := before[len(bytes.TrimRightFunc(before, isWord)):]
	if len(word) > 0 && (isWord(rune(after[0])) || !jsontext.Value(word).IsValid()) {
		return 0, fmt.Sprintf("the value that begins with %s is invalid at %s; %s", quote(string(word)), name, or(textOrNull))
	}
	if back, what = commaFault(before, after, state); what != "" {
		return back, what
	}
	found := func(instead, fix string) string { return "found " + name + " instead of " + instead + "; " + or(fix) }
	bracket := state.closing()
	missing := "the closing bracket " + bracket + " is missing before " + name + "; add it"
	switch wrongBracket := closes(after[0]); state.expected {
	case document:
		what = found("an object or an array", removeIt)
	case nothing:
		what = name + " follows the end of the JSON value; " + or("a JSON file holds one object or one array")
	case colon:
		what = found("a colon after the name of a member", insert(after, "=：", "a colon"))
	case comma:
		fix := insert(after, ";，、", "a comma")
		if isWord(rune(after[0])) && (len(before) == 0 || bytes.HasSuffix(before, []byte{'"'})) { // directly after a value
			fix = `put text in double quotes, and write \" for a quote inside`
		}
		what = found("a comma or the closing bracket "+bracket, fix)
		if wrongBracket {
			what = missing
		}
	case memberValue:
		switch {
		case wrongBracket || after[0] == ',':
			what = "a value is missing before " + name + "; write a string in double quotes, or null"
		case opens(after[0]):
			what = tooDeep
		default:
			what = found("a value", textOrNull)
		}
	case memberName:
		what = found("the name of a member", "put names in double quotes")
		if wrongBracket {
			what = missing
		}
	case element:
		fix := textOrNull
		if len(state.open) == 1 { // the array of rows
			fix = "write an object"
		}
		switch {
		case wrongBracket:
			what = missing
		case opens(after[0]):
			what = tooDeep
		default:
			what = found("an element of the array", fix)
		}
	}
	return 0, what
}

const tooDeep = "arrays and objects are nested more than 10000 levels deep; reduce the nesting"

func closes(c byte) bool { return c == ']' || c == '}' }

func opens(c byte) bool { return c == '[' || c == '{' }

// jsonCharacter is like character, with advice for characters that begin comments in other languages.
func (s *source) jsonCharacter(text []byte) (name, advice string) {
	name, advice = s.character(text)
	if advice == "" && (text[0] == '/' || text[0] == '#') {
		advice = "if it begins a comment, remove the comment, because JSON has none"
	}
	return name, advice
}

// isWord reports whether r occurs in numbers and words such as true, false and null.
func isWord(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r == '+' || r == '-' || r == '.'
}

// insert returns advice to add a missing character, or to replace one that is often mistaken for it.
func insert(after []byte, mistaken, missing string) string {
	if r, _ := utf8.DecodeRune(after); strings.ContainsRune(mistaken, r) {
		return "write " + missing + " instead"
	}
	return "add " + missing
}

// stringFault describes the fault at the beginning of after, which is inside of a string.
func (s *source) stringFault(after []byte) string {
	switch {
	case after[0] != '\\':
		name, _ := s.character(after)
		return fmt.Sprintf(`a string contains %s; write it as \u%04x, or remove it`, name, after[0])
	case len(after) > 1 && after[1] != 'u':
		name, _ := s.character(after[1:])
		return fmt.Sprintf(`a backslash precedes %s; write \\ for a backslash`, name)
	}
	return `\u is not followed by four hexadecimal digits; correct the escape`
}

// commaFault describes a superfluous comma at the beginning of after, or right before it. What is "" if there is none.
func commaFault(before, after []byte, state jsonState) (back int, what string) {
	const trailing = "a comma precedes the closing bracket; remove the comma"
	text, rest := bytes.TrimRight(before, jsonSpace), bytes.TrimLeft(after[1:], jsonSpace)
	inside := state.expected == comma || state.expected == memberName || state.expected == element
	switch {
	case after[0] == ',' && state.expected == nothing:
		return 0, "a comma follows the end of the JSON value; remove it, because a JSON file holds one object or one array"
	case !inside:
	case closes(after[0]) && bytes.HasSuffix(text, []byte{','}):
		return len(before) - len(text) + 1, trailing
	case after[0] != ',':
	case len(rest) > 0 && closes(rest[0]):
		return 0, trailing
	case state.expected == comma || bytes.HasSuffix(text, []byte{','}):
		return 0, "a comma follows a comma; remove one"
	default:
		return 0, "a comma follows the opening bracket; remove the comma"
	}
	return 0, ""
}

// jsonState is the state of a JSON parser between two tokens, or inside of a string.
type jsonState struct {
	open     []byte // the open brackets, outermost first
	expected expectation
}

// expectation is what has to follow.
type expectation uint8

const (
	document    expectation = iota // an object or an array
	nothing                        // the JSON is complete
	memberName                     // or, after the opening bracket, the closing bracket
	colon                          // after the name of a member
	memberValue                    // after a colon
	element                        // or, after the opening bracket, the closing bracket
	comma                          // or the closing bracket
	endOfString
)

// afterOpening returns the state after an opening bracket.
func (p jsonState) afterOpening(bracket byte) jsonState {
	p.open = append(p.open, bracket)
	p.expected = memberName
	if bracket == '[' {
		p.expected = element
	}
	return p
}

// afterValue returns the state after a value.
func (p jsonState) afterValue() jsonState {
	p.expected = comma
	if len(p.open) == 0 {
		p.expected = nothing
	}
	return p
}

// closing returns the closing bracket for the innermost open one.
func (p jsonState) closing() string {
	if bytes.HasSuffix(p.open, []byte{'{'}) {
		return "}"
	}
	return "]"
}

// after returns the state after text, which must be valid.
func (p jsonState) after(text []byte) jsonState {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case ' ', '\t', '\r', '\n':
		case '{', '[':
			p = p.afterOpening(c)
		case '}', ']':
			p.open = p.open[:max(len(p.open)-1, 0)]
			p = p.afterValue()
		case ':':
			p.expected = memberValue
		case ',':
			p.expected = element
			if p.closing() == "}" {
				p.expected = memberName
			}
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
			switch {
			case i >= len(text):
				p.expected = endOfString
			case p.expected == memberName:
				p.expected = colon
			default:
				p = p.afterValue()
			}
		default: // a number, true, false or null
			p = p.afterValue()
		}
	}
	return p
}
