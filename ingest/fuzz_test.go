package ingest_test

import (
	"bytes"
	stdgzip "compress/gzip"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/zstd"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
)

// seedLimit keeps long files of the corpus from the seeds: a fuzzer is at its best with short ones, and TestCorpus reads
// the others.
const seedLimit = 64 << 10

// corpusSeeds gives the files of the corpus that have a suffix; compressed ones of it, too, undone as far as that goes.
func corpusSeeds(f *testing.F, suffix string) map[string][]byte {
	f.Helper()
	seeds := map[string][]byte{}
	for _, name := range corpusFiles(f) {
		content, err := os.ReadFile(filepath.Join(corpus, name))
		if err != nil {
			f.Fatal(err)
		}
		lower := strings.ToLower(name)
		if !strings.HasSuffix(lower, suffix) && !strings.Contains(lower, suffix+".") {
			continue
		}
		if !strings.HasSuffix(lower, suffix) {
			content = decompress(path.Ext(lower), content)
		}
		if len(content) <= seedLimit {
			seeds[name] = content
		}
	}
	if len(seeds) == 0 {
		f.Fatalf("the corpus has no %s", suffix)
	}
	return seeds
}

// decompress gives what comes out before a fault.
func decompress(suffix string, content []byte) []byte {
	in := io.Reader(bytes.NewReader(nil)) // of other suffixes
	switch suffix {
	case ".gz":
		z, err := stdgzip.NewReader(bytes.NewReader(content))
		if err != nil {
			return nil
		}
		in = z
	case ".zst":
		z, err := zstd.NewReader(bytes.NewReader(content), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil
		}
		defer z.Close()
		in = z
	}
	plain, _ := io.ReadAll(io.LimitReader(in, seedLimit+1))
	return plain
}

// fuzzRead feeds a format with anything. Beyond what readAll checks: names are clean, a row is found at its offset's
// line, the outcome is the same if the bytes come one by one, and from each row on the rest can be read alone.
//
// Oracle holds the outcome against somebody else's.
func fuzzRead(f *testing.F, file string, oracle func(t *testing.T, content []byte, got outcome), seeds ...string) {
	for _, g := range grammars {
		if g.file == file {
			f.Add([]byte(g.start+strings.Join(g.rows, g.between[0])+g.end), uint16(0))
		}
	}
	for _, s := range seeds {
		f.Add([]byte(s), uint16(1))
	}
	for _, content := range corpusSeeds(f, path.Ext(file)) {
		f.Add(content, uint16(2))
	}
	f.Fuzz(func(t *testing.T, content []byte, at uint16) {
		got := readAll(t, bytes.NewReader(content), file)
		encoded, content := content, inUTF8(content)
		for _, u := range got.Rows {
			clean(t, u.Person)
			if !u.Remove {
				clean(t, u.Flavor)
			} else if u.Flavor != "" {
				t.Errorf("%+v removes and sets", u)
			}
			if u.Offset >= int64(len(content)) || strings.IndexByte(" \n,", content[u.Offset]) >= 0 && !strings.HasPrefix(file, "a.csv") && !strings.HasPrefix(file, "a.tsv") {
				t.Errorf("%+v does not begin there", u)
			}
		}
		for _, r := range got.Rejects {
			if line := int64(bytes.Count(content[:r.Offset], []byte("\n"))) + 1; r.Line != line {
				t.Errorf("%+v is on line %d", r, line)
			}
			if length := lineLength(content, r.Offset); r.Column > length+1 {
				t.Errorf("%+v: its line has only %d bytes", r, length)
			}
		}
		if b := got.Failure; b != nil && (b.Code == "" || b.Reason == "" || b.Offset < 0 || b.Offset > int64(len(content)) || b.Line < 1 || b.Column < 1) {
			t.Errorf("failure %+v is incomplete", b)
		}
		oracle(t, content, got)
		readOn(t, encoded, file, got, int(at))
		if len(content) > 10_000 {
			return
		}
		bytewise := readAll(t, iotest.OneByteReader(bytes.NewReader(encoded)), file)
		if diff := cmp.Diff(got, bytewise); diff != "" {
			t.Errorf("byte by byte (-whole +bytewise):\n%s", diff)
		}
	})
}

// inUTF8 returns what a file with a byte order mark of UTF-16 says in UTF-8, with 0xff where a surrogate stands alone, and any
// other file as it is.
func inUTF8(content []byte) []byte {
	order := binary.ByteOrder(binary.LittleEndian)
	switch {
	case bytes.HasPrefix(content, []byte("\xff\xfe\x00\x00")):
		return content
	case bytes.HasPrefix(content, []byte("\xfe\xff")):
		order = binary.BigEndian
	case !bytes.HasPrefix(content, []byte("\xff\xfe")):
		return content
	}
	var text []byte
	for rest := content; len(rest) > 0; {
		if len(rest) == 1 {
			return append(text, 0xff)
		}
		r := rune(order.Uint16(rest))
		rest = rest[2:]
		if utf16.IsSurrogate(r) && len(rest) > 1 {
			if pair := utf16.DecodeRune(r, rune(order.Uint16(rest))); pair != utf8.RuneError {
				text, rest = utf8.AppendRune(text, pair), rest[2:]
				continue
			}
		}
		if utf16.IsSurrogate(r) {
			text = append(text, 0xff)
		} else {
			text = utf8.AppendRune(text, r)
		}
	}
	return text
}

// lineLength is how many bytes the line has on which an offset lies.
func lineLength(content []byte, offset int64) int64 {
	start := bytes.LastIndexByte(content[:offset], '\n') + 1
	end := bytes.IndexByte(content[start:], '\n')
	if end < 0 {
		end = len(content) - start
	}
	return int64(end)
}

// readOn opens the file at one of its rows. What is read from there is what the whole reading had from that row on.
func readOn(t *testing.T, content []byte, file string, whole outcome, at int) {
	t.Helper()
	var offsets []int64
	for _, u := range whole.Rows {
		offsets = append(offsets, u.Offset)
	}
	for _, r := range whole.Rejects {
		offsets = append(offsets, r.Offset)
	}
	if len(offsets) == 0 {
		return
	}
	from := offsets[at%len(offsets)]
	var want outcome
	for _, u := range whole.Rows {
		if u.Offset >= from {
			want.Rows = append(want.Rows, u)
		}
	}
	for _, r := range whole.Rejects {
		if r.Offset >= from {
			want.Rejects = append(want.Rejects, r)
		}
	}
	want.Failure = whole.Failure
	if diff := cmp.Diff(want, readFrom(t, content, file, from)); diff != "" {
		t.Errorf("from %d on (-whole +resumed):\n%s", from, diff)
	}
	if diff := cmp.Diff(want, continueFrom(t, content, file, from)); diff != "" {
		t.Errorf("from %d on, started there (-whole +continued):\n%s", from, diff)
	}
}

func readFrom(t *testing.T, content []byte, file string, from int64) outcome {
	t.Helper()
	rows, err := ingest.OpenAt(bytes.NewReader(content), file, ingest.Options{}, from)
	if err != nil {
		t.Fatalf("opening at %d: %v", from, err)
	}
	return rest(t, rows)
}

// continueFrom has one reader read up to the row at an offset, and another, which sees only what follows, from there on. What
// the readers can't see elsewhere has to be in the state.
func continueFrom(t *testing.T, content []byte, file string, from int64) outcome {
	t.Helper()
	first, err := ingest.Open(bytes.NewReader(content), file, ingest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	for at := int64(-1); at != from; {
		u, reject, err := first.Next()
		if err != nil {
			t.Fatalf("reading up to %d: %v", from, err)
		}
		if at = u.Offset; reject != nil {
			at = reject.Offset
		}
	}
	state := first.State(from)
	if converted := !bytes.Equal(content, inUTF8(content)); (state == nil) != converted {
		t.Fatalf("%s at %d: the state is %+v, of a file in UTF-16: %v", file, from, state, converted)
	}
	if state == nil { // offsets are not those of the stored bytes
		return readFrom(t, content, file, from)
	}
	if from > 0 { // a message begins with a row that is not the first
		object := events.Object{Bucket: "b", Key: file, ETag: "e", Sequencer: "0a", Size: int64(len(content)), Time: time.UnixMilli(1)}
		m, err := events.Continuation{Object: object, Offset: from, Reader: state}.Message()
		if err != nil {
			t.Fatal(err)
		}
		span, err := events.DecodeContinuation(m.Body)
		if err != nil {
			t.Fatalf("the state %+v at %d: %v", state, from, err)
		}
		state = span.Reader
	}
	second, err := ingest.Continue(bytes.NewReader(content[from:]), file, ingest.Options{}, from, *state)
	if err != nil {
		t.Fatalf("continuing at %d: %v", from, err)
	}
	return rest(t, second)
}

// rest reads to the end.
func rest(t *testing.T, rows *ingest.Rows) (got outcome) {
	t.Helper()
	defer rows.Close()
	for {
		u, reject, err := rows.Next()
		var bad *ingest.FileError
		switch {
		case errors.Is(err, io.EOF):
			return got
		case errors.As(err, &bad):
			got.Failure = &bad.Failure
			return got
		case err != nil:
			t.Fatalf("reading on: %v", err)
		case reject != nil:
			got.Rejects = append(got.Rejects, *reject)
		default:
			got.Rows = append(got.Rows, u)
		}
	}
}

func clean(t *testing.T, name string) {
	t.Helper()
	if again, bad := events.CleanName(name, "name", "missing"); bad != nil || again != name {
		t.Errorf("%q is not clean: %q, %v", name, again, bad)
	}
}

func FuzzReadCSV(f *testing.F) {
	fuzzRead(f, "a.csv", asCSV(",;\t"), header, header+"andy,\"vanilla", "person;flavor\na;b\n", "\xff\xfep\x00e\x00r\x00s\x00o\x00n\x00,\x00f\x00l\x00a\x00v\x00o\x00r\x00\n\x00\xb1\x03,\x00\x3c\xd8\x66\xdf\n\x00\x3c\xd8,\x00", "flavor,action,person\n,remove,x")
}

func FuzzReadTSV(f *testing.F) { fuzzRead(f, "a.tsv", asCSV("\t"), "person\tflavor\nandy\t\"") }

func FuzzReadJSON(f *testing.F) {
	fuzzRead(f, "a.json", asJSON, `{"andy":"vanilla",`, `{"andy"`, `{"a":"b"}{"c":"d"}`, `{} x`, `{"person":"a","b":null}`,
		"[\n{}\n", `[{"p\u0065rson":"\ud83c\udf66","flavor":null}]`, "[[],{},0]",
		`{"status":"ok","data":[{"Person":"a","flavor":"b"}],"next":null}`, `{"a":{"flavor":"x","b":[{"c":1}]}}`, `{"a":{"flavor":"x"},"b":["c"],"d":[1,{}]}`,
		`{"\u0070ERSON ":"a"}`, "{\"a\":\"b\",}\x1a", "[1,,2]", "[[1,],{\"x\":1,}]", "{“a”:1}", "{\"a\":\"\\\x1b\"}", "[\u00a0\u0085\u2028]")
}

func FuzzReadNDJSON(f *testing.F) {
	fuzzRead(f, "a.ndjson", asLines, "\ufeff \ufeff\ufeff\n\ufeff\ufeff7", "{\"person\":\"a\",\"flavor\":\"b\"}\r\n{\"person\":\"a\",\n\n", `{"person":"\u00e4","action":"remove"}`)
}

// asCSV compares what was read with what encoding/csv reads. Around it are the rules for what that package does not know: a
// faulty row ends with the line of the fault, blank lines are no rows, any number of carriage returns may stand before LF,
// and Ctrl-Z may end the file.
func asCSV(separators string) func(t *testing.T, content []byte, got outcome) {
	return func(t *testing.T, content []byte, got outcome) {
		content = bytes.TrimRight(bytes.TrimPrefix(content, []byte("\ufeff")), "\r\x1a")
		content = regexp.MustCompile(`\r+\n`).ReplaceAll(content, []byte("\r\n"))
		if bytes.Contains(bytes.ToLower(content), []byte("sep=")) || got.Failure != nil && got.Failure.Code == events.FormatMismatch {
			return
		}
		for _, separator := range separators {
			in := csv.NewReader(bytes.NewReader(content))
			in.Comma, in.FieldsPerRecord = separator, -1
			header, err := nextRecord(in, content, ",;\t|")
			for i := range header {
				header[i] = strings.ToLower(strings.TrimFunc(header[i], isSpace))
			}
			person, flavor, action := slices.Index(header, "person"), slices.Index(header, "flavor"), slices.Index(header, "action")
			if err != nil || person < 0 || flavor < 0 {
				continue
			}
			count := func(name string) int {
				return len(slices.DeleteFunc(slices.Clone(header), func(s string) bool { return s != name }))
			}
			if twice := count("person") > 1 || count("flavor") > 1 || count("action") > 1; twice {
				if got.Failure == nil || got.Failure.Code != events.BadHeader {
					t.Errorf("failure %+v, want %s, because the header is %q", got.Failure, events.BadHeader, header)
				}
				return
			}
			var want []events.Update // without a person where a row is rejected
			for {
				fields, err := nextRecord(in, content, string(separator))
				if err == io.EOF {
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
			if n := len(want); got.Failure != nil && n > 0 { // of an unclosed quote
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
			t.Errorf("%d rows, but encoding/csv finds no header", len(got.Rows)+len(got.Rejects))
		}
	}
}

// nextRecord returns the next record that is not blank.
func nextRecord(in *csv.Reader, content []byte, separators string) ([]string, error) {
	for {
		begin := in.InputOffset()
		fields, err := in.Read()
		blank := func(r rune) bool { return isSpace(r) || r == '\x1a' || strings.ContainsRune(separators, r) }
		if err == io.EOF || len(bytes.TrimLeftFunc(content[begin:in.InputOffset()], blank)) > 0 {
			return fields, err
		}
	}
}

func isSpace(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' || r == '\u200b' }

// updateOf returns what a row says, or a zero Update if it is rejected.
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

// asJSON checks the number of rows, and whether there is a failure, against encoding/json.
func asJSON(t *testing.T, content []byte, got outcome) {
	content = bytes.TrimLeft(bytes.TrimPrefix(content, []byte("\ufeff")), " \t\r\n")
	if len(content) == 0 || content[0] != '{' && content[0] != '[' {
		return
	}
	want := json.Valid(content) && (content[0] == '[' || isMap(content))
	if want != (got.Failure == nil) {
		t.Errorf("valid JSON of rows: %v, but failure %+v", want, got.Failure)
	}
	if !want {
		if n := len(got.Rows) + len(got.Rejects); n > 0 && json.Valid(content) {
			t.Errorf("%d rows were read of a file that fails as a whole", n)
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
		t.Errorf("%d rows, encoding/json has %d (%v)", rows, n, err)
	}
}

// isMap reports whether valid JSON is a map from person to flavor, perhaps with rows to reject: it has no member with the name of a
// column, and no member that probably holds the rows.
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
	name := strings.ToLower(strings.TrimFunc(m.name, func(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' || r == '\u200b' }))
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

// asLines holds the number of rows against the number of lines, and their form against encoding/json.
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
		t.Errorf("%d rows on %d lines", n, lines)
	}
	for _, u := range got.Rows {
		line, _, _ := bytes.Cut(content[u.Offset:], []byte("\n"))
		if !json.Valid(line) {
			t.Errorf("%+v was accepted of %q, which is not valid", u, line)
		}
	}
}
