package ingest_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/flavorless/flavorless/events"
)

// asCSV compares rows with those of encoding/csv, except for the differences between the two: a bad row ends with the
// line of the fault, blank lines are not rows, several carriage returns may precede LF, and Ctrl-Z may end the file.
func asCSV(separators string) func(t *testing.T, content []byte, got outcome) {
	return func(t *testing.T, content []byte, got outcome) {
		content = bytes.TrimRight(bytes.TrimPrefix(content, []byte("\ufeff")), "\r\x1a")
		content = regexp.MustCompile(`\r+\n`).ReplaceAll(content, []byte("\r\n"))
		if bytes.Contains(bytes.ToLower(content), []byte("sep=")) || got.Failure != nil &&
			got.Failure.Code == events.FormatMismatch {
			return
		}
		for _, separator := range separators {
			in := csv.NewReader(bytes.NewReader(content))
			in.Comma, in.FieldsPerRecord = separator, -1
			header, err := nextRecord(in, content, ",;\t|")
			for i := range header {
				header[i] = strings.ToLower(strings.TrimFunc(header[i], events.IsSpace))
			}
			person, flavor, action := slices.Index(header, "person"), slices.Index(header, "flavor"), slices.Index(header,
				"action")
			if err != nil || person < 0 || flavor < 0 {
				continue
			}
			count := func(name string) int {
				return len(slices.DeleteFunc(slices.Clone(header), func(s string) bool { return s != name }))
			}
			if twice := count("person") > 1 || count("flavor") > 1 || count("action") > 1; twice {
				if got.Failure == nil || got.Failure.Code != events.BadHeader {
					t.Errorf("failure = %+v, want %s, because the header is %q", got.Failure, events.BadHeader, header)
				}
				return
			}
			var want []events.Update // without a person if the row is rejected
			for {
				fields, err := nextRecord(in, content, string(separator))
				if err == io.EOF { //nolint:errorlint // as nextRecord returns it
					break
				}
				var u events.Update
				if err == nil && len(fields) == len(header) {
					remove := ""
					if action >= 0 {
						remove = fields[action]
					}
					u = updateOf(fields[person], fields[flavor], remove)
				}
				want = append(want, u)
			}
			if n := len(want); got.Failure != nil && n > 0 { // an unclosed quote
				want = want[:n-1]
			}
			have := slices.Clone(got.Rows)
			for _, r := range got.Rejects {
				have = append(have, events.Update{Offset: r.Offset})
			}
			slices.SortFunc(have, func(a, b events.Update) int { return int(a.Offset - b.Offset) })
			if diff := cmp.Diff(want, have, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(events.Update{}, "Offset")); diff != "" {
				t.Errorf("rows (-encoding/csv +got):\n%s", diff)
			}
			return
		}
		if len(got.Rows)+len(got.Rejects) > 0 {
			t.Errorf("got %d rows, want 0, because encoding/csv finds no header", len(got.Rows)+len(got.Rejects))
		}
	}
}

// nextRecord returns the next record that is not blank.
func nextRecord(in *csv.Reader, content []byte, separators string) ([]string, error) {
	for {
		begin := in.InputOffset()
		fields, err := in.Read()
		blank := func(r rune) bool { return events.IsSpace(r) || r == '\x1a' || strings.ContainsRune(separators, r) }
		if err == io.EOF || len(bytes.TrimLeftFunc(content[begin:in.InputOffset()], blank)) > 0 {
			return fields, err
		}
	}
}

// updateOf returns the update of a row, or the zero Update if it is rejected.
func updateOf(person, flavor, action string) (u events.Update) {
	var bad, worse *events.RowError
	u.Person, bad = events.CleanName(person, "person", events.MissingPerson)
	switch strings.ToLower(strings.TrimSpace(action)) {
	case "remove":
		u.Remove = true
	case "", "set":
		u.Flavor, worse = events.CleanName(flavor, "flavor", events.MissingFlavor)
	default:
		return events.Update{}
	}
	isColumn := func(name string) bool {
		return slices.Contains([]string{"person", "flavor", "action"}, strings.ToLower(name))
	}
	if bad != nil || worse != nil || isColumn(u.Person) && isColumn(u.Flavor) {
		return events.Update{}
	}
	return u
}

// asJSON compares the number of rows, and whether there is a failure, with encoding/json.
func asJSON(t *testing.T, content []byte, got outcome) {
	content = bytes.TrimLeft(bytes.TrimPrefix(content, []byte("\ufeff")), " \t\r\n")
	if len(content) == 0 || content[0] != '{' && content[0] != '[' {
		return
	}
	want := json.Valid(content) && (content[0] == '[' || isMap(content))
	if want != (got.Failure == nil) {
		t.Errorf("failure = %+v, want none: %v", got.Failure, want)
	}
	if !want {
		if n := len(got.Rows) + len(got.Rejects); n > 0 && json.Valid(content) {
			t.Errorf("got %d rows of a file that is not a map, want 0", n)
		}
		return
	}
	in := json.NewDecoder(bytes.NewReader(content))
	_, err := in.Token()
	n := 0
	for ; err == nil && in.More(); n++ {
		if content[0] == '{' {
			_, err = in.Token()
		}
		if err == nil {
			err = in.Decode(new(json.RawMessage))
		}
	}
	if rows := len(got.Rows) + len(got.Rejects); err != nil || rows != n {
		t.Errorf("got %d rows, want %d as encoding/json (%v)", rows, n, err)
	}
}

// isMap reports whether valid JSON is a map from person to flavor: it has no member with the name of a column, and no
// member that may contain the rows.
func isMap(content []byte) bool {
	return !slices.ContainsFunc(membersOf(content), func(m member) bool { return m.column() != "" || m.holdsRows(1) })
}

type member struct {
	name  string
	value json.RawMessage
}

// membersOf returns the members of a JSON object. Names may be repeated.
func membersOf(object []byte) (members []member) {
	in := json.NewDecoder(bytes.NewReader(object))
	_, _ = in.Token()
	for in.More() {
		name, _ := in.Token()
		m := member{name: name.(string)}
		_ = in.Decode(&m.value)
		members = append(members, m)
	}
	return members
}

func (m member) column() string {
	name := strings.ToLower(strings.TrimFunc(m.name, events.IsSpace))
	if name == "person" || name == "flavor" || name == "action" {
		return name
	}
	return ""
}

func (m member) holdsRows(depth int) bool {
	switch m.value[0] {
	case '[':
		first := bytes.TrimLeft(m.value[1:], " \t\r\n")[0]
		return first == '{' || first == '[' || first == ']' && depth == 1
	case '{':
		members := membersOf(m.value)
		person := slices.ContainsFunc(members, func(m member) bool { return m.column() == "person" })
		other := slices.ContainsFunc(members, func(m member) bool { return m.column() != "" })
		return depth == 1 && (person || !other) ||
			depth < 8 && slices.ContainsFunc(members, func(m member) bool { return m.holdsRows(depth + 1) })
	}
	return false
}

// asLines compares the number of rows with the number of lines, and checks that accepted rows are valid JSON.
func asLines(t *testing.T, content []byte, got outcome) {
	if got.Failure != nil {
		return
	}
	lines := 0
	for line := range bytes.Lines(bytes.TrimPrefix(content, []byte("\ufeff"))) {
		if len(strings.Trim(string(line), " \t\r\n\ufeff")) > 0 {
			lines++
		}
	}
	if n := len(got.Rows) + len(got.Rejects); n != lines {
		t.Errorf("got %d rows, want %d, the number of lines", n, lines)
	}
	for _, u := range got.Rows {
		line, _, _ := bytes.Cut(content[u.Offset:], []byte("\n"))
		if !json.Valid(line) {
			t.Errorf("accepted %+v on the line %q, which is not valid JSON", u, line)
		}
	}
}
