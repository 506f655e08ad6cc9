package ingest_test

import (
	"strings"
	"testing"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
)

func TestNDJSON(t *testing.T) {
	const andy = `{"person":"andy","flavor":"vanilla"}` // 36 bytes
	const dan = `{"person":"dan","flavor":"mint"}`
	runCases(t, "a.ndjson", []readCase{
		{"rows", andy + "\n" + dan + "\n", rows(set(0, "andy", "vanilla"), set(37, "dan", "mint"))},
		{"no newline at the end", andy + "\n" + dan, rows(set(0, "andy", "vanilla"), set(37, "dan", "mint"))},
		{"byte order mark and CRLF", "\ufeff" + andy + "\r\n" + dan + "\r\n",
			rows(set(3, "andy", "vanilla"), set(41, "dan", "mint"))},
		{"blank lines and indents", "\n \t\r\n  " + andy + " \n\n" + dan + "\n\n",
			rows(set(7, "andy", "vanilla"), set(46, "dan", "mint"))},
		{"spaces inside", `{ "person" : "andy" , "flavor" : "vanilla" }`, rows(set(0, "andy", "vanilla"))},
		{"null removes", `{"person":"andy","flavor":null}`, rows(remove(0, "andy"))},
		{"action removes", `{"person":"andy","action":"remove"}`, rows(remove(0, "andy"))},
		{"other members", `{"id":1e9,"person":"andy","x":{"person":"x"},"flavor":"vanilla","y":[1,{}]}`,
			rows(set(0, "andy", "vanilla"))},

		{"broken line", "{\"person\":\n" + dan + "\n", rows(set(11, "dan", "mint")).reject(1, 10, 0, events.MalformedRow)},
		{"broken lines between good ones", andy + "\n  {\"person\": andy}\n" + dan + "\n{]\n" + andy + "\n",
			rows(set(0, "andy", "vanilla"), set(56, "dan", "mint"), set(92, "andy", "vanilla")).
				reject(2, 14, 39, events.MalformedRow).reject(4, 2, 89, events.MalformedRow)},
		{"an object over two lines", "{\"person\":\"andy\",\n\"flavor\":\"vanilla\"}\n" + dan,
			rows(set(38, "dan", "mint")).reject(1, 17, 0, events.MalformedRow).reject(2, 1, 18, events.MalformedRow)},
		{"two objects on a line", andy + dan + "\n" + dan, rows(set(69, "dan", "mint")).
			reject(1, 37, 0, events.MalformedRow)},
		{"a comma after", andy + ",\n" + dan, rows(set(38, "dan", "mint")).reject(1, 37, 0, events.MalformedRow)},
		{"truncated last line", andy + "\n{\"person\":\"da", rows(set(0, "andy", "vanilla")).
			reject(2, 10, 37, events.MalformedRow)},
		{"not objects", "5\n\"andy\"\n" + dan + "\n", rows(set(9, "dan", "mint")).reject(1, 1, 0, events.MalformedRow).
			reject(2, 1, 2, events.MalformedRow)},
		{"garbage", andy + "\n\x00\xff\n" + dan, rows(set(0, "andy", "vanilla"), set(40, "dan", "mint")).
			reject(2, 1, 37, events.MalformedRow)},
		{"no person", `{}` + "\n" + dan, rows(set(3, "dan", "mint")).reject(1, 1, 0, events.MissingPerson)},
		{"numbers", ` {"person":"andy","flavor":5}` + "\n" + dan, rows(set(30, "dan", "mint")).
			reject(1, 28, 1, events.NotAString)},
		{"fault before something broken", `{"person":5,!}` + "\n" + dan, rows(set(15, "dan", "mint")).
			reject(1, 11, 0, events.NotAString)},
		{"a member twice", `{"person":"a","flavor":"b","flavor":"c"}` + "\n" + dan, rows(set(41, "dan", "mint")).
			reject(1, 28, 0, events.MalformedRow)},
		{"half surrogates", `{"person":"\ud83c","flavor":"x"}` + "\n" + dan, rows(set(33, "dan", "mint")).
			reject(1, 11, 0, events.InvalidUTF8)},
		{"invalid UTF-8 rejects one row", "{\"person\":\"andy\",\"flavor\":\"vanill\xe4\"}\n" + dan,
			rows(set(37, "dan", "mint")).reject(1, 27, 0, events.InvalidUTF8)},
		{"too deep", `{"x":` + strings.Repeat("[", 20000) + "\n" + dan, rows(set(20006, "dan", "mint")).
			reject(1, 10005, 0, events.MalformedRow)},
	})
}

// TestNDJSONAdvice checks that reasons name the fault, and that its column is exact.
func TestNDJSONAdvice(t *testing.T) {
	for _, c := range []struct {
		name, line string
		column     int64
		reason     string
	}{
		{"comma after", `{"person":"a","flavor":"b"},`, 28, "ends with a comma"},
		{"comma and space after", `  {"person":"a","flavor":"b"}  , ` + "\r", 32, "ends with a comma"},
		{"comma before", `,{"person":"a","flavor":"b"}`, 1, "begins with a comma"},
		{"comma before the brace", `{"person":"a","flavor":"b",}`, 27, "remove the comma"},
		{"comma before the brace of another member", `{"x":{"y":1 , },"person":"a"}`, 13, "remove the comma"},
		{"comma before a bracket", `{"person":"a","x":[1,2,],"flavor":"b"}`, 23, "remove the comma"},
		{"two commas after", `{"person":"a","flavor":"b"},,`, 28, "ends with 2 commas; remove them"},
		{"commas and spaces after", `{"person":"a","flavor":"b"} , ,, `, 29, "ends with 3 commas; remove them"},
		{"two commas before", `,, {"person":"a","flavor":"b"}`, 1, "begins with 2 commas; remove them"},
		{"comma alone", ` , `, 2, "only commas; remove it"},
		{"comma between two objects", `{"person":"a","flavor":"b"}, {}`, 28,
			"a comma follows the object; remove it, and put one object on each line"},
		{"comma after the brace", `{,"person":"a"}`, 2, "a comma follows the opening bracket; remove the comma"},
		{"bracket after", `{"person":"a","flavor":"b"} ]`, 29, "']' follows the object; remove it"},
		{"semicolon after", `{"person":"a","flavor":"b"};`, 28, "';' follows the object; put one object on each line"},
		{"comment after", `{"person":"a","flavor":"b"} // a`, 29, "'/' follows the object; if it begins a comment"},
		{"carriage return alone", "{\"person\":\"a\",\"flavor\":\"b\"}\r{\"person\":\"c\",\"flavor\":\"d\"}\r", 28,
			"a carriage return without line feed follows the object; end every line with LF or CRLF"},
		{"carriage return alone, with spaces", "  {\"person\":\"a\",\"flavor\":\"b\"} \r {}\r\r", 31,
			"a carriage return without line feed"},
		{"carriage return alone after a comma", "{\"person\":\"a\",\"flavor\":\"b\"},\r{}\r", 29,
			"a carriage return without line feed"},
		{"carriage return alone before text", "{\"person\":\"a\",\"flavor\":\"b\"}\rx", 28,
			"a carriage return without line feed"},
		{"word for a value", `{"person":NaN}`, 11, "found 'N' instead of a value"},
		{"name without quotes", `{"flavor":"x", person:"a"}`, 16,
			"found 'p' instead of the name of a member; put names in double quotes"},
		{"full-width colon", `{"person"："a"}`, 10, "write a colon instead"},
		{"no comma", `{"person":"a" "flavor":"b"}`, 15, "instead of a comma or the closing bracket }"},
		{"no comma in an array", `{"x":[1 2],"person":"a"}`, 9, "found '2' instead of a comma or the closing bracket ]"},
		{"two commas", `{"person":"a",,"flavor":"b"}`, 15, "comma"},
		{"Ctrl-Z", "\x1a", 1, "U+001A"},
		{"Ctrl-Z after", "{\"person\":\"a\",\"flavor\":\"b\"}\x1a", 28, "U+001A"},
		{"next line", "{\"person\":\"a\",\"flavor\":\"b\"}\u0085{}", 28, "U+0085"},
		{"line separator", "{\"person\":\"a\",\"flavor\":\"b\"} \u2028{}", 29, "U+2028"},
		{"typographic quote", `{“person”:"a"}`, 2, "U+201C"},
		{"no-break space", "\u00a0{}", 1, "U+00A0"},
		{"no-break space inside", "{\u00a0\"person\":\"a\"}", 2, "U+00A0"},
		{"half a character", "{\xe2\x80", 2, "0xE2"},
		{"control character in an escape sequence", "{\"person\":\"\\\x1b\"}", 12, "U+001B"},
		{"control character in a string", "{\"person\":\"\x1b\"}", 12, "U+001B"},
		{"rows of a page", `{"status":"ok","data":[{"person":"a","flavor":"b"}]}`, 1, `"data"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			// A row before it changes the state of the parser's buffer.
			for _, before := range []string{"", "{}\n", `{"person":"` + strings.Repeat("x", 4050) + "\"}\n"} {
				got := readAll(t, strings.NewReader(before+c.line+"\n"), "a.ndjson")
				if len(got.Rejects) == 0 {
					t.Fatalf("reading %q: got %+v, want a rejected row", c.line, got)
				}
				if last := got.Rejects[len(got.Rejects)-1]; last.Column != c.column || !strings.Contains(last.Reason, c.reason) ||
					strings.Contains(last.Reason, "invalid character") ||
					strings.Contains(last.Reason, "expecting") { // wording of jsontext
					t.Errorf("reading %q: reject at column %d: %s, want column %d and %q in the reason", c.line, last.Column,
						last.Reason, c.column, c.reason)
				}
			}
		})
	}
}

// TestNDJSONNames checks that letter case and white space in member names do not matter.
func TestNDJSONNames(t *testing.T) {
	runCases(t, "a.ndjson", []readCase{
		{"capitals", `{"Person":"andy","FLAVOR":"mint"}`, rows(set(0, "andy", "mint"))},
		{"white space", `{" person ":"andy","flavor\u00a0":"mint"}`, rows(set(0, "andy", "mint"))},
		{"action", `{"PERSON":"andy","Action":"remove"}`, rows(remove(0, "andy"))},
		{"null removes", `{"Person":"andy","Flavor":null}`, rows(remove(0, "andy"))},
		{"two of a name", `{"person":"andy","Person":"dan","flavor":"mint"}`, rows().reject(1, 18, 0, events.MalformedRow)},
		{"other names", `{"persons":"dan","person":"andy","flavor":"mint","flavour":"x"}`, rows(set(0, "andy", "mint"))},
	})
}

// TestNDJSONLimit checks the maximum length of lines, which includes the newline. A line that is too long is one
// rejected row.
func TestNDJSONLimit(t *testing.T) {
	line := func(size int) string {
		return `{"person":"a","flavor":"x","note":"` + strings.Repeat("x", size-38) + "\"}\n"
	}
	const dan = `{"person":"dan","flavor":"mint"}`
	runCases(t, "a.ndjson", []readCase{
		{"at the limit", line(ingest.MaxRecord) + dan, rows(set(0, "a", "x"), set(ingest.MaxRecord, "dan", "mint"))},
		{"over the limit", line(ingest.MaxRecord+1) + dan, rows(set(ingest.MaxRecord+1, "dan", "mint")).
			reject(1, 1, 0, events.RecordTooLong)},
		{"far over the limit", dan + "\n" + line(5*ingest.MaxRecord) + dan,
			rows(set(0, "dan", "mint"), set(33+5*ingest.MaxRecord, "dan", "mint")).reject(2, 1, 33, events.RecordTooLong)},
		{"at the end without newline", dan + "\n" + strings.TrimSpace(line(3*ingest.MaxRecord)), rows(set(0, "dan", "mint")).
			reject(2, 1, 33, events.RecordTooLong)},
		{"blank lines do not count", strings.Repeat("\n", 3*ingest.MaxRecord) + dan,
			rows(set(3*ingest.MaxRecord, "dan", "mint"))},
	})
}
