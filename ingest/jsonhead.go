package ingest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// mapMembers is the number of members after which an object is considered a map from person to flavor, if none of them
// is an object, an array or a column.
const mapMembers = 1000

var errIsMap = fmt.Errorf("the object begins with %d members of a map", mapMembers)

// checkObject fails if a JSON file is an object but not a map from person to flavor. Otherwise the members of an API
// response or of a single row would become persons. It runs before any row is published, so it examines only the first
// MaxRecord bytes. If a later member has the same fault, its row is rejected. The content begins at the offset start.
// The caller has to read from the returned reader.
func checkObject(src *source, in *bufio.Reader, names columnNames, start int64) (*bufio.Reader, error) {
	for {
		head, err := in.Peek(in.Size())
		var corrupt *FileError // the decoder reports it later
		if err != nil && !errors.Is(err, io.EOF) && !errors.As(err, &corrupt) {
			return nil, err
		}
		text := bytes.TrimLeft(head, jsonSpace)
		if len(text) > 0 && text[0] != '{' {
			return in, nil
		}
		at, reason, isMap := names.scan(text).fault()
		switch {
		case isMap:
			return in, nil
		case err == nil && in.Size() < MaxRecord: // the file may be longer than the buffer
			in = bufio.NewReaderSize(in, MaxRecord)
		case reason == "":
			return in, nil
		default:
			bad := mismatch("%s", reason)
			bad.Failure.Line, bad.Failure.Column = src.window.position(start + int64(len(head)-len(text)+at))
			return nil, bad
		}
	}
}

// objectScan searches an object for a member that contains rows.
type objectScan struct {
	names columnNames
	head  []byte
	in    *jsontext.Decoder
	plain int // members of the outermost object that are not objects or arrays
	best  candidate
}

// scan returns an objectScan of text that begins with an opening brace and may be incomplete.
func (c columnNames) scan(head []byte) *objectScan {
	return &objectScan{names: c, head: head, in: jsontext.NewDecoder(bytes.NewReader(head), lenient()...)}
}

// fault returns the reason why the object is not a map from person to flavor, and its index in the head. The reason is
// "" if the head may be the beginning of a map, and isMap is true if it certainly is.
func (s *objectScan) fault() (at int, reason string, isMap bool) {
	columns, err := s.object(nil, true)
	if errors.Is(err, errIsMap) {
		return 0, "", true
	}
	if err == nil {
		if rest := bytes.TrimLeft(s.head[s.in.InputOffset():], jsonSpace); len(rest) > 0 && rest[0] == '{' {
			return 0, "the file name says JSON, but the content is several objects; " +
				"end the name with .ndjson, and put one object on each line", false
		}
	}
	switch {
	case s.best.score == rowsFound, s.best.score > 0 && columns.first == "":
		return s.best.at, s.best.reason(), false
	case columns.first != "":
		return columns.at, fmt.Sprintf("the object has a member %s, so it is a row and not a map from person to flavor; "+
			`write an array of rows: [{%q: "andy", %q: "vanilla"}], or a map: {"andy": "vanilla"}`,
			quote(columns.first), s.names[person], s.names[flavor]), false
	}
	return 0, "", false
}

// candidate is a member that may contain the rows.
type candidate struct {
	score int
	path  []string // names of the member and those around it, outermost first
	at    int      // index of the member's name in the head
	kind  string
}

// Scores of candidates. The first member with the highest score is the best.
const (
	containerFound = 1 + iota // an object, or an empty array, in the outermost object
	listFound                 // an array that begins with an object or array
	rowsFound                 // an array that begins with an object that has a column
)

const maxPath = 8 // of a candidate

// columnsSeen describes the members of an object that have names of columns.
type columnsSeen struct {
	first  string // "" if there is none
	at     int    // its index in the head
	person bool   // whether one of them is the person
}

func (s *objectScan) found(score int, kind string, path []string, at int) {
	if score > s.best.score {
		s.best = candidate{score: score, path: slices.Clone(path), at: at, kind: kind}
	}
}

// object reads the object at path, and searches the values of its members if search is true. An error ends the scan:
// the head ends, or the JSON is invalid.
func (s *objectScan) object(path []string, search bool) (seen columnsSeen, err error) {
	if _, err := s.in.ReadToken(); err != nil {
		return seen, err
	}
	for s.in.PeekKind() == jsontext.KindString {
		between := s.head[s.in.InputOffset():]
		at := len(s.head) - len(bytes.TrimLeft(between, jsonSpace+","))
		token, err := s.in.ReadToken()
		if err != nil {
			return seen, err
		}
		name := token.String()
		if c, ok := s.names.lookup(name); ok {
			seen.person = seen.person || c == person
			if seen.first == "" {
				seen.first, seen.at = name, at
			}
		}
		if search {
			err = s.value(append(path, name), at)
		} else {
			err = s.in.SkipValue()
		}
		if err != nil {
			return seen, err
		}
		if s.plain == mapMembers && s.best.score == 0 && seen.first == "" && len(path) == 0 && search {
			return seen, errIsMap
		}
	}
	_, err = s.in.ReadToken()
	return seen, err
}

func (s *objectScan) value(path []string, at int) error {
	switch s.in.PeekKind() {
	case jsontext.KindBeginArray:
		return s.array(path, at)
	case jsontext.KindBeginObject:
		seen, err := s.object(path, len(path) < maxPath)
		if len(path) == 1 && (seen.first == "" || seen.person) { // the flavor of a person may be an object with a flavor
			s.found(containerFound, "an object", path, at)
		}
		return err
	}
	if len(path) == 1 {
		s.plain++
	}
	return s.in.SkipValue()
}

func (s *objectScan) array(path []string, at int) error {
	if _, err := s.in.ReadToken(); err != nil {
		return err
	}
	switch s.in.PeekKind() {
	case jsontext.KindEndArray:
		if len(path) == 1 {
			s.found(containerFound, "an array", path, at)
		}
	case jsontext.KindBeginArray:
		s.found(listFound, "an array", path, at)
	case jsontext.KindBeginObject:
		s.found(listFound, "an array", path, at)
		seen, err := s.object(nil, false)
		if seen.first != "" {
			s.found(rowsFound, "an array", path, at)
		}
		if err != nil {
			return err
		}
	}
	for s.in.PeekKind() != jsontext.KindEndArray {
		if err := s.in.SkipValue(); err != nil {
			return err
		}
	}
	_, err := s.in.ReadToken()
	return err
}

// name returns a description of the path, such as: member "items" of "result".
func (c candidate) name() string {
	quoted := make([]string, 0, len(c.path))
	for _, member := range slices.Backward(c.path) {
		quoted = append(quoted, quote(member))
	}
	return "member " + strings.Join(quoted, " of ")
}

func (c candidate) reason() string {
	name, example := c.name(), ""
	if filter, ok := c.filter(); ok {
		example = fmt.Sprintf(", for example: jq %s FILE > rows.json", filter)
	}
	if c.score == rowsFound {
		return fmt.Sprintf("the rows are in the %s; upload that array by itself%s", name, example)
	}
	return fmt.Sprintf("the %s is %s, so the file is not a map from person to flavor; if the rows are in it, "+
		"upload its value by itself%s", name, c.kind, example)
}

// filter returns the jq filter of the member, if no name in its path needs quotes.
func (c candidate) filter() (string, bool) {
	for _, name := range c.path {
		if !isIdentifier(name) {
			return "", false
		}
	}
	return "." + strings.Join(c.path, "."), true
}

// isIdentifier reports whether jq accepts the name without quotes. Long names would make messages hard to read.
func isIdentifier(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
	return name != "" && len(name) <= 41 && strings.Trim(name, letters+"0123456789") == "" &&
		strings.IndexByte(letters, name[0]) >= 0
}

// LooksNDJSON reports whether text, which begins with an opening brace, is the beginning of an NDJSON file: the second
// line is another object, or the first line is a row. A map from person to flavor on one line is JSON.
func LooksNDJSON(text []byte) bool {
	line, rest, _ := bytes.Cut(text, []byte("\n"))
	line = bytes.TrimRight(line, jsonSpace+",") // NDJSON rows with a comma at the end are rejected later
	if bytes.HasSuffix(line, []byte("}")) && bytes.HasPrefix(bytes.TrimLeft(rest, jsonSpace), []byte("{")) {
		return true
	}
	scan := defaultColumns().scan(line)
	columns, err := scan.object(nil, true)
	return err == nil && scan.in.InputOffset() == int64(len(line)) && columns.first != ""
}
