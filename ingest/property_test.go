package ingest_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/testutil"
)

// grammar draws files of a format: a start, good and bad rows with text between them, and an end.
type grammar struct {
	file, start, end string
	rows             []string
	between          []string // after each row
	lastBetween      string   // after the last row, if not empty
}

var grammars = []grammar{
	{
		file: "a.csv", start: "\ufeffperson,flavor,action\n",
		rows: []string{
			"andy,vanilla,", "dan,\"salt, \"\"caramel\"\"\",set", "\"liz\nx\",y,", " René ,crème brûlée,", "jo,,remove",
			"x,\xff,",
			"jo,", "a,b,c,d", "a\"b,c,", "\"a\"b,c,", "a,\"b\r\nc\"d,", ",x,", "\"\"", "\"\r\n\",\"\n\",", " x", "a\rb,c,",
			"a,b,,", "\"a\" ,b,", "a,b,\rc,d,", "no,\"\n\n\",\"\n\"",
		},
		between: []string{"\n", "\r\n", "\n\n", "\n\r\n\n", "\r\r\n", "\n,,\r\n", "\n \t\n , \r\r\n"},
	},
	{
		file: "a.tsv", start: "flavor\tperson\r\n",
		rows: []string{"vanilla\tandy", "\"mint\t\"\tdan", "a,b", "\tx", "\"\"\"\"\tx", "\"\n\n\"\t\"\n\"", "a\"\t",
			"\"a\"\"\"b\t"},
		between: []string{"\n", "\r\n", "\n\n", "\n\t\n", "\r\r\n \t \n"},
	},
	{
		file: "a.json", start: "{", end: "}",
		rows: []string{
			`"andy":"vanilla"`, "\"dan\"\n:\r\n \"mint\"", `"jo":null`, `"\u00e9\n":"x"`, `"":"x"`, `"x":5`,
			`"x":{"flavor":"y","a":[1,2,{}]}`,
			"\"x\":[\n\n\"y\"]", `"\ud800":"x"`, "\"x\":\"\xff\"", `"x":-1.5e300`, `"a\\":"b\""`, `"x":false`,
		},
		between: []string{",", ",\n", " ,\r\n\t", "\n,\n\n"}, lastBetween: "\n",
	},
	{
		file: "a.json", start: "\ufeff [ ", end: " ]\n",
		rows: []string{
			`{"person":"andy","flavor":"vanilla"}`, "{\n\"flavor\": \"mint\",\n\"person\": \"dan\"}",
			`{"person":"jo","flavor":null}`, `{}`, `[]`, `7`,
			`"x"`, `null`, `{"person":5}`, "{\n\n\"person\"\n:\n{}}", `{"person":"a","person":"b"}`,
			`{"person":"\ud800","flavor":"x"}`, "{\"\xff\":1,\"person\":\"\xff\"}",
			`{"person":"a","flavor":"b","action":"?"}`, `{"x":[[[{"person":"a"}]]],"person":"b","flavor":"c"}`,
		},
		between: []string{",", ",\n", " ,\r\n\t", "\n,\n\n"}, lastBetween: "\n",
	},
	{
		file: "a.ndjson",
		rows: []string{
			`{"person":"andy","flavor":"vanilla"}`, `{ "flavor":"mint" , "person":"dan" }`, `{"person":"jo","flavor":null}`,
			`{}`, `{[]`, `7`, `"x"`, `nul`,
			`{"person":`, `{"person":"a","flavor":"b"}}`, `{"person":"a","flavor":"b"} {}`, `}`, "\xff",
			`{"person":"\ud800","flavor":"x"}`,
			"{\"person\":\"\xff\"}", `{"person":"a","flavor":"b"},`, `{"person":"a" "flavor":"b"}`, `"`,
			`{"person":"a","flavor":"b`,
		},
		between: []string{"\n", "\r\n", " \n\n", "\n\t\n  ", "\n "},
	},
}

// draw returns a file and the offsets of its rows.
func (g grammar) draw(t *rapid.T) (file []byte, offsets []int64) {
	file = []byte(g.start)
	n := rapid.IntRange(0, 30).Draw(t, "rows")
	for i := range n {
		offsets = append(offsets, int64(len(file)))
		file = append(file, rapid.SampledFrom(g.rows).Draw(t, "row")...)
		if i == n-1 && (g.lastBetween != "" || rapid.Bool().Draw(t, "without the last newline")) {
			file = append(file, g.lastBetween...)
			break
		}
		file = append(file, rapid.SampledFrom(g.between).Draw(t, "between")...)
	}
	return append(file, g.end...), offsets
}

func (g grammar) String() string { return g.file + " " + strings.TrimSpace(g.start) }

// TestOffsets checks the offsets of all rows, and the positions of rejected rows.
func TestOffsets(t *testing.T) {
	for _, g := range grammars {
		t.Run(g.String(), rapid.MakeCheck(func(rt *rapid.T) {
			file, want := g.draw(rt)
			outcome := readAll(rt, bytes.NewReader(file), g.file)
			if outcome.Failure != nil {
				rt.Fatalf("reading %q: failure = %+v, want none", file, outcome.Failure)
			}
			got := make([]int64, 0, len(want))
			accepted, rejects := outcome.Rows, outcome.Rejects
			for len(accepted)+len(rejects) > 0 {
				if len(rejects) == 0 || len(accepted) > 0 && accepted[0].Offset < rejects[0].Offset {
					got, accepted = append(got, accepted[0].Offset), accepted[1:]
					continue
				}
				r := rejects[0]
				got, rejects = append(got, r.Offset), rejects[1:]
				before := file[:r.Offset]
				line, start := int64(bytes.Count(before, []byte("\n"))+1), int64(bytes.LastIndexByte(before, '\n')+1)
				length, _, _ := bytes.Cut(file[start:], []byte("\n"))
				if r.Line != line || r.Column < r.Offset-start+1 || r.Column > int64(len(length))+1 {
					rt.Errorf("%q: row at %d: line %d, column %d, want line %d, column %d or later", file, r.Offset, r.Line, r.Column,
						line, r.Offset-start+1)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" && len(want)+len(got) > 0 {
				rt.Errorf("offsets of %q (-want +got):\n%s", file, diff)
			}
		}))
	}
}

// chunkings are readers that return the same bytes in different pieces.
var chunkings = map[string]func(io.Reader) io.Reader{
	"one byte at a time":          iotest.OneByteReader,
	"by halves":                   iotest.HalfReader,
	"the end with the last bytes": iotest.DataErrReader,
	"both":                        func(r io.Reader) io.Reader { return iotest.DataErrReader(iotest.OneByteReader(r)) },
	"sevens":                      func(r io.Reader) io.Reader { return &sevens{Reader: r} },
}

// sevens reads at most 7 bytes, and every other time none.
type sevens struct {
	io.Reader
	pause bool
}

func (s *sevens) Read(p []byte) (int, error) {
	if s.pause = !s.pause; s.pause {
		return 0, nil
	}
	return s.Reader.Read(p[:min(7, len(p))])
}

// TestChunks checks that the outcome does not depend on the pieces in which the bytes arrive, for good and damaged
// files.
func TestChunks(t *testing.T) {
	testutil.SkipIfShort(t)
	testutil.SkipUnderRace(t)
	for _, g := range grammars {
		for _, suffix := range []string{"", ".gz", ".zst"} {
			t.Run(g.String()+suffix, rapid.MakeCheck(func(rt *rapid.T) {
				file, _ := g.draw(rt)
				for range rapid.IntRange(0, 2).Draw(rt, "damages") {
					if len(file) > 0 {
						at := rapid.IntRange(0, len(file)-1).Draw(rt, "at")
						piece := rapid.SampledFrom([]string{"", "\"", "\n", "\r", ",", "{", "}", "\\", "\x00", "\xff", "\x1a",
							"\u0085"}).Draw(rt, "piece")
						file = append(append(bytes.Clone(file[:at]), piece...), file[at+1:]...)
					}
				}
				stored := compress(rt, suffix, file)
				stored = stored[:rapid.IntRange(max(len(stored)-20, 0), len(stored)).Draw(rt, "stored")]
				want := readAll(rt, bytes.NewReader(stored), g.file+suffix)
				for how, chunk := range chunkings {
					got := readAll(rt, chunk(bytes.NewReader(stored)), g.file+suffix)
					if diff := cmp.Diff(want, got); diff != "" {
						rt.Errorf("%q read %s (-want +got):\n%s", file, how, diff)
					}
				}
			}))
		}
	}
}

// TestChunksOfLongFiles is like TestChunks, with files that are longer than any buffer.
func TestChunksOfLongFiles(t *testing.T) {
	testutil.SkipIfShort(t)
	testutil.SkipUnderRace(t)
	for _, g := range grammars {
		t.Run(g.String(), func(t *testing.T) {
			var b bytes.Buffer
			b.WriteString(g.start)
			for i := range 5000 {
				if i > 0 {
					b.WriteString(g.between[i%len(g.between)])
				}
				b.WriteString(g.rows[i%len(g.rows)])
			}
			fmt.Fprint(&b, g.lastBetween, g.end)
			want := readAll(t, bytes.NewReader(b.Bytes()), g.file)
			if n := len(want.Rows) + len(want.Rejects); n != 5000 || want.Failure != nil {
				t.Fatalf("got %d rows, failure %+v, want 5000 and none", n, want.Failure)
			}
			for how, chunk := range chunkings {
				got := readAll(t, chunk(bytes.NewReader(b.Bytes())), g.file)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("read %s (-want +got):\n%s", how, diff)
				}
			}
		})
	}
}

// TestChunksAtTheLimit is like TestChunks, with records that exceed MaxRecord by less than a buffer.
func TestChunksAtTheLimit(t *testing.T) {
	testutil.SkipUnderRace(t)
	const over = ingest.MaxRecord + 100_000 // by two buffers
	for name, file := range map[string]struct{ name, start, filling, end string }{
		"header":    {"a.csv", "person,flavor,", "x", "\nandy,vanilla,\n"},
		"field":     {"a.csv", "person,flavor,note\nandy,vanilla,", "x", "\nben,mint,\n"},
		"quoted":    {"a.csv", "person,flavor,note\nandy,vanilla,\"", "x\n", "\"\nben,mint,\n"},
		"line":      {"a.ndjson", `{"person":"andy","flavor":"vanilla","note":"`, "x", "\"}\n{}\n"},
		"member":    {"a.json", `{"andy":"`, "x", `","ben":"mint"}`},
		"gap":       {"a.json", `{"andy":"vanilla",`, " ", `"ben":"mint"}`},
		"first gap": {"a.json", `[`, "\n", `{"person":"ben","flavor":"mint"}]`},
		"last gap":  {"a.json", `{"andy":"vanilla"`, "\n", `}`},
		"inner gap": {"a.json", `{"andy":`, " ", `"vanilla"}`},
		"lead":      {"a.json", "", " ", `{"andy":"vanilla"}`},
		"blank":     {"a.json", "\ufeff", "\n", ""},
		"trail":     {"a.json", `{"andy":"vanilla"}`, "\n", ""},
		"after":     {"a.json", `{"andy":"vanilla"}`, "\n", ` x`},
	} {
		t.Run(name, func(t *testing.T) {
			content := []byte(file.start + strings.Repeat(file.filling, over/len(file.filling)) + file.end)
			want := readAll(t, bytes.NewReader(content), file.name)
			if file.name != "a.ndjson" && want.Failure == nil {
				t.Errorf("got %d rows of a record of %d bytes, want a failure", len(want.Rows), over)
			}
			for _, piece := range []int{1000, 40_000, 1 << 20} {
				got := readAll(t, &pieces{content, piece}, file.name)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("read in pieces of %d bytes (-want +got):\n%s", piece, diff)
				}
			}
		})
	}
}

// pieces reads at most size bytes at a time.
type pieces struct {
	rest []byte
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.size)], p.rest)
	p.rest = p.rest[n:]
	return n, nil
}
