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

// syntaxFault says what is wrong at index at of text, where jsontext found a syntax error, and what to do about it. The text
// begins at the place start, and reaches to the end of the character at index at. The fault lies back bytes before.
//
// The sentences of jsontext are in terms of its grammar, and they quote a character as far as its buffer holds it, so they
// depend on where reading began. The result of syntaxFault depends on text and start alone.
func syntaxFault(text []byte, at int, start jsonPlace) (back int, what string) {
	before, after := text[:at], text[at:]
	if len(after) == 0 {
		return 0, "something is missing at the end; complete it"
	}
	place := start.behind(before)
	if place.expected == endOfString {
		return 0, stringFault(after)
	}
	name, advice := jsonCharacter(after)
	or := func(other string) string {
		if advice != "" {
			return advice
		}
		return other
	}
	word := before[len(bytes.TrimRightFunc(before, isWord)):]
	if len(word) > 0 && (isWord(rune(after[0])) || !jsontext.Value(word).IsValid()) {
		return 0, fmt.Sprintf("the value that begins with %s is wrong at %s; %s", quote(string(word)), name, or(textOrNull))
	}
	if back, what = commaFault(before, after, place); what != "" {
		return back, what
	}
	bracket := place.closing()
	missing := "the closing bracket " + bracket + " is missing where " + name + " stands; add it"
	switch wrongBracket := closes(after[0]); place.expected {
	case document:
		what = name + " stands where the object or the array has to begin; " + or("remove it")
	case nothing:
		what = name + " follows the end of the JSON value; " + or("a JSON file holds one object or one array")
	case colon:
		what = "a colon is missing where " + name + " stands, behind the name of a member; " + or(instead(after, "=：", "a colon"))
	case comma:
		fix := instead(after, ";，、", "a comma")
		if isWord(rune(after[0])) && (len(before) == 0 || bytes.HasSuffix(before, []byte{'"'})) { // directly behind a value
			fix = `put text in double quotes, and write \" for a quote inside`
		}
		what = "a comma or the closing bracket " + bracket + " is missing where " + name + " stands; " + or(fix)
		if wrongBracket {
			what = missing
		}
	case memberValue:
		switch {
		case wrongBracket || after[0] == ',':
			what = "a value is missing where " + name + " stands; write a string in double quotes, or null"
		case opens(after[0]):
			what = tooDeep
		default:
			what = name + " stands where a value has to begin; " + or(textOrNull)
		}
	case memberName:
		what = name + " stands where the name of a member has to begin; " + or("put names in double quotes")
		if wrongBracket {
			what = missing
		}
	case element:
		fix := textOrNull
		if len(place.inside) == 1 { // the array of a file, not one inside a row
			fix = "write an object"
		}
		switch {
		case wrongBracket:
			what = missing
		case opens(after[0]):
			what = tooDeep
		default:
			what = name + " stands where an element of the array has to begin; " + or(fix)
		}
	}
	return 0, what
}

const tooDeep = "arrays and objects are nested more than 10000 deep; nest them less deeply"

func closes(c byte) bool { return c == ']' || c == '}' }

func opens(c byte) bool { return c == '[' || c == '{' }

// jsonCharacter is character, with advice for what begins a comment in other languages.
func jsonCharacter(text []byte) (name, advice string) {
	name, advice = character(text)
	if advice == "" && (text[0] == '/' || text[0] == '#') {
		advice = "if it begins a comment, remove that, because JSON has no comments"
	}
	return name, advice
}

// isWord reports whether r is of numbers, true, false and null, or of words that are written like them.
func isWord(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r == '+' || r == '-' || r == '.'
}

// instead says what to do where a character is missing: to write it instead of another that is often mistaken for it.
func instead(after []byte, mistaken, missing string) string {
	if r, _ := utf8.DecodeRune(after); strings.ContainsRune(mistaken, r) {
		return "write " + missing + " instead"
	}
	return "add it"
}

// stringFault describes the fault of a string at its first byte.
func stringFault(after []byte) string {
	switch {
	case after[0] != '\\':
		name, _ := character(after)
		return fmt.Sprintf(`%s stands in a string; write it as \u%04x, or remove it`, name, after[0])
	case len(after) > 1 && after[1] != 'u':
		name, _ := character(after[1:])
		return fmt.Sprintf(`a backslash stands before %s; write \\ for a backslash`, name)
	}
	return `four hexadecimal digits have to follow \u; fix it there`
}

// commaFault describes a comma too many at the beginning of after, or right before. What is empty if there is none.
func commaFault(before, after []byte, place jsonPlace) (back int, what string) {
	const trailing, double = "a comma stands before the closing bracket; remove the comma", "a comma follows a comma; remove one"
	text, rest := bytes.TrimRight(before, jsonSpace), bytes.TrimLeft(after[1:], jsonSpace)
	inside := place.expected == comma || place.expected == memberName || place.expected == element
	switch {
	case after[0] == ',' && place.expected == nothing:
		return 0, "a comma follows the end of the JSON value; remove it, because a JSON file holds one object or one array"
	case !inside:
	case closes(after[0]) && bytes.HasSuffix(text, []byte{','}):
		return len(before) - len(text) + 1, trailing
	case after[0] != ',':
	case len(rest) > 0 && closes(rest[0]):
		return 0, trailing
	case place.expected == comma || bytes.HasSuffix(text, []byte{','}):
		return 0, double
	default:
		return 0, "a comma follows the opening bracket; remove the comma"
	}
	return 0, ""
}

// jsonPlace is a place in JSON.
type jsonPlace struct {
	inside   []byte // the brackets that are open there, the outermost first
	expected expectation
}

// expectation is what JSON has to go on with.
type expectation uint8

const (
	document    expectation = iota
	nothing                 // the JSON ends here
	memberName              // or the closing bracket, behind the opening one
	colon                   // behind a member's name
	memberValue             // behind a colon
	element                 // or the closing bracket, behind the opening one
	comma                   // or the closing bracket
	endOfString
)

// opened returns the place behind an opening bracket.
func (p jsonPlace) opened(bracket byte) jsonPlace {
	p.inside = append(p.inside, bracket)
	p.expected = memberName
	if bracket == '[' {
		p.expected = element
	}
	return p
}

// ended returns the place behind a value.
func (p jsonPlace) ended() jsonPlace {
	p.expected = comma
	if len(p.inside) == 0 {
		p.expected = nothing
	}
	return p
}

// closing returns the bracket that closes the innermost of those that are open.
func (p jsonPlace) closing() string {
	if bytes.HasSuffix(p.inside, []byte{'{'}) {
		return "}"
	}
	return "]"
}

// behind returns the place behind text, which is valid so far.
func (p jsonPlace) behind(text []byte) jsonPlace {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case ' ', '\t', '\r', '\n':
		case '{', '[':
			p = p.opened(c)
		case '}', ']':
			p.inside = p.inside[:max(len(p.inside)-1, 0)]
			p = p.ended()
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
				p = p.ended()
			}
		default: // a number, true, false or null
			p = p.ended()
		}
	}
	return p
}
