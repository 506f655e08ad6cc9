package ingest_test

import (
	"strings"
	"testing"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
)

func TestJSONObject(t *testing.T) {
	long := strings.Repeat("x", events.MaxName)
	runCases(t, "a.json", []readCase{
		{"rows", `{"andy": "vanilla", "dan":"mint"}`, rows(set(1, "andy", "vanilla"), set(20, "dan", "mint"))},
		{"lines, byte order mark, CRLF", "\ufeff{\r\n  \"andy\": \"vanilla\",\r\n\"dan\"\r\n:\r\n\"mint\"\r\n}\r\n",
			rows(set(8, "andy", "vanilla"), set(28, "dan", "mint"))},
		{"null removes", `{"andy": null}`, rows(remove(1, "andy"))},
		{"repeated people", `{"andy": "vanilla", "andy": "mint"}`, rows(set(1, "andy", "vanilla"), set(20, "andy", "mint"))},
		{"escapes", `{"\u0061ndy": "salt, \"caramel\" \ud83c\udf66"}`, rows(set(1, "andy", `salt, "caramel" 🍦`))},
		{"number", "{\n\"andy\": 5, \"dan\": \"mint\"}", rows(set(13, "dan", "mint")).reject(2, 9, 2, events.NotAString)},
		{"boolean", `{"andy": true, "dan": "mint"}`, rows(set(15, "dan", "mint")).reject(1, 10, 1, events.NotAString)},
		{"object", `{"andy": {"flavor": [1]}, "dan": "mint"}`, rows(set(26, "dan", "mint")).
			reject(1, 10, 1, events.NotAString)},
		{"array", "{\"andy\":\n[\"a\"], \"dan\": \"mint\"}", rows(set(16, "dan", "mint")).reject(1, 2, 1, events.NotAString)},
		{"missing person", `{" ": "mint"}`, rows().reject(1, 2, 1, events.MissingPerson)},
		{"missing person to remove", `{"": null}`, rows().reject(1, 2, 1, events.MissingPerson)},
		{"missing flavor", `{"andy": ""}`, rows().reject(1, 10, 1, events.MissingFlavor)},
		{"longest names", `{"` + long + `":"` + long + `"}`, rows(set(1, long, long))},
		{"too long names", `{"x` + long + `":"x", "a":"x` + long + `"}`, rows().reject(1, 2, 1, events.TooLong).
			reject(1, 271, 266, events.TooLong)},
		{"control character", `{"andy":"van\nilla"}`, rows().reject(1, 9, 1, events.ControlCharacter)},
		{"half a surrogate pair", `{"\ud83c":"mint", "andy":"\udf66", "dan":"\ud83cx"}`,
			rows().reject(1, 2, 1, events.InvalidUTF8).reject(1, 26, 18, events.InvalidUTF8).
				reject(1, 42, 35, events.InvalidUTF8)},
		{"invalid UTF-8 rejects one row", "{\"andy\":\"vanill\xe4\",\"d\xe4n\":\"mint\",\"dan\":\"m\\n\xe4\",\"x\":\"y\"}",
			rows(set(44, "x", "y")).reject(1, 9, 1, events.InvalidUTF8).reject(1, 19, 18, events.InvalidUTF8).
				reject(1, 38, 31, events.InvalidUTF8)},

		{"cut off", "{\"andy\": \"vanilla\",\n \"dan\": \"mi", rows(set(1, "andy", "vanilla")).
			fail(2, 12, 21, events.MalformedJSON)},
		{"cut off after a row", `{"andy": "vanilla"`, rows(set(1, "andy", "vanilla")).fail(1, 19, 18, events.MalformedJSON)},
		{"cut off after a comma", `{"andy": "vanilla", `, rows(set(1, "andy", "vanilla")).
			fail(1, 21, 20, events.MalformedJSON)},
		{"no colon", "{\"andy\": \"vanilla\",\n\"dan\" \"mint\"}", rows(set(1, "andy", "vanilla")).
			fail(2, 7, 20, events.MalformedJSON)},
		{"no comma", "{\"andy\": \"vanilla\"\n\"dan\": \"mint\"}", rows(set(1, "andy", "vanilla")).
			fail(2, 1, 19, events.MalformedJSON)},
		{"comma before the end", `{"andy": "vanilla",}`, rows(set(1, "andy", "vanilla")).
			fail(1, 19, 19, events.MalformedJSON)},
		{"single quotes", `{'andy': 'vanilla'}`, rows().fail(1, 2, 1, events.MalformedJSON)},
		{"newline in a string", "{\"an\ndy\": \"vanilla\"}", rows().fail(1, 5, 1, events.MalformedJSON)},
		{"wrong bracket", `{"andy": "vanilla"]`, rows(set(1, "andy", "vanilla")).fail(1, 19, 18, events.MalformedJSON)},
		{"something after", "{\"andy\": \"vanilla\"}\n [1]", rows(set(1, "andy", "vanilla")).
			fail(2, 2, 21, events.MalformedJSON)},
		{"garbage after", "{\"andy\": \"vanilla\"}\nx", rows(set(1, "andy", "vanilla")).fail(2, 1, 20, events.MalformedJSON)},
	})
}

func TestJSONArray(t *testing.T) {
	runCases(t, "a.json", []readCase{
		{"rows", "[{\"person\":\"andy\",\"flavor\":\"vanilla\"},\n {\"flavor\":\"mint\",\"x\":[{}],\"person\":\"dan\"}]",
			rows(set(1, "andy", "vanilla"), set(40, "dan", "mint"))},
		{"null removes", `[{"person":"andy","flavor":null}]`, rows(remove(1, "andy"))},
		{"actions", `[{"person":"a","action":"remove"},{"person":"b","flavor":"x","action":"SET"},` +
			`{"person":"c","flavor":"x","action":"drop"},` +
			`{"person":"d","flavor":null,"action":"set"},{"person":"e","flavor":"x","action":null}]`,
			rows(remove(1, "a"), set(34, "b", "x"), set(165, "e", "x")).reject(1, 114, 77, events.UnknownAction).
				reject(1, 145, 121, events.MissingFlavor)},
		{"escaped member names", `[{"p\u0065rson":"andy","flavor":"x"}]`, rows(set(1, "andy", "x"))},
		{"no person", `[{"name":"andy","flavor":"x"}]`, rows().reject(1, 2, 1, events.MissingPerson)},
		{"person is null", `[{"person":null,"flavor":"x"}]`, rows().reject(1, 12, 1, events.MissingPerson)},
		{"no flavor", `[{"person":"andy"}]`, rows().reject(1, 2, 1, events.MissingFlavor)},
		{"numbers", `[{"person":1,"flavor":"x"},{"person":"andy","flavor":2.5}]`, rows().reject(1, 12, 1, events.NotAString).
			reject(1, 54, 27, events.NotAString)},
		{"a member twice", `[{"person":"a","person":"b","flavor":"x"}]`, rows().reject(1, 16, 1, events.MalformedRow)},
		{"another member twice", `[{"person":"a","x":1,"x":2,"flavor":"x"}]`, rows(set(1, "a", "x"))},
		{"not objects", "[1,\n\"andy\",null,[],{\"person\":\"a\",\"flavor\":\"x\"}]",
			rows(set(19, "a", "x")).reject(1, 2, 1, events.MalformedRow).reject(2, 1, 4, events.MalformedRow).
				reject(2, 8, 11, events.MalformedRow).reject(2, 13, 16, events.MalformedRow)},
		{"fault on a later line", "[\n {\n\"person\": 5}]", rows().reject(2, 2, 3, events.NotAString)},
		{"invalid UTF-8", "[{\"person\":\"\xe4\",\"flavor\":\"x\"},{\"person\":\"a\",\"flavor\":\"x\",\"\xe4\":\"\xe4\"}]",
			rows(set(29, "a", "x")).reject(1, 12, 1, events.InvalidUTF8)},
		{"half a surrogate pair", `[{"person":"a","flavor":"\ud83c"}]`, rows().reject(1, 25, 1, events.InvalidUTF8)},
		{"cut off", `[{"person":"a","flavor":"x"},{"person":"b"`, rows(set(1, "a", "x")).
			fail(1, 43, 29, events.MalformedJSON)},
		{"broken", "[{\"person\":\"a\",\"flavor\":\"x\"},\n{\"person\":b}]", rows(set(1, "a", "x")).
			fail(2, 11, 30, events.MalformedJSON)},
	})
}

// TestJSONAdvice checks that reasons name the fault, and that its position is exact.
func TestJSONAdvice(t *testing.T) {
	for _, c := range []struct {
		name, content string
		line, column  int64
		reason        string
	}{
		{"comma before the brace", "{\"andy\":\"mint\",\n}", 1, 15, "remove the comma"},
		{"comma before the bracket", "[{\"person\":\"a\",\"flavor\":\"b\"}\n,\n]", 2, 1, "remove the comma"},
		{"comma before the brace of a row", "[\n{\"person\":\"a\",\"flavor\":\"b\" , }]", 2, 28, "remove the comma"},
		{"comma before an inner bracket", "[{\"x\":[1,\n2,\n]}]", 2, 2, "remove the comma"},
		{"two commas", `[{"person":"a","flavor":"b"},,{}]`, 1, 30, "comma"},
		{"Ctrl-Z", "{\"andy\":\"mint\"}\r\n\x1a", 2, 1, "U+001A"},
		{"Ctrl-Z after an array", "[]\x1a\x1a", 1, 3, "U+001A"},
		{"next line", "[\u0085]", 1, 2, "U+0085"},
		{"next line at the end", "{\"andy\":\"mint\"}\u0085", 1, 16, "U+0085"},
		{"line separator", "{\"andy\":\u2028\"mint\"}", 1, 9, "U+2028"},
		{"typographic quotes", `{“andy”: "mint"}`, 1, 2, "U+201C"},
		{"typographic quote of a value", `{"andy": ‘mint’}`, 1, 10, "U+2018"},
		{"typographic quote where the head ends", strings.Repeat(" ", 4094) + "“andy”", 1, 4095, "U+201C"},
		{"low quote", `[„andy“]`, 1, 2, "U+201E"},
		{"no-break space", "{\"andy\":\u00a0\"mint\"}", 1, 9, "U+00A0"},
		{"byte order mark", "[\ufeff]", 1, 2, "U+FEFF"},
		{"half a character", "[\xe2\x80", 1, 2, "0xE2"},
		{"emoji", "[🍦]", 1, 2, "U+1F366"},
		{"control character in an escape sequence", "{\"andy\": \"a\\\x1bb\"}", 1, 12, "U+001B"},
		{"character in an escape sequence", `{"andy": "a\ä"}`, 1, 12, "U+00E4"},
		{"bad hexadecimal digits", "{\"andy\": \"\\u12\x1b4\"}", 1, 11, `\u`},
		{"control character in a string", "{\"andy\": \"a\x1bb\"}", 1, 12, "U+001B"},
		{"single quotes", `{'andy': 'mint'}`, 1, 2,
			"found a single quote (') instead of the name of a member; write double quotes"},
		{"single quotes of a value", `[{"person": 'andy'}]`, 1, 13,
			"found a single quote (') instead of a value; write double quotes"},

		{"comma after an object", `{"a":"b"},`, 1, 10, "a comma follows the end of the JSON value; remove it"},
		{"comma after an array", "[{\"person\":\"a\"}]\n , \n", 2, 2, "a comma follows the end of the JSON value; remove it"},
		{"two commas after", `{"a":"b"},,`, 1, 10, "a comma follows the end of the JSON value; remove it"},
		{"comma between two objects", "{\"a\":\"b\"},\n{\"c\":\"d\"}", 1, 10,
			"a comma follows the end of the JSON value; remove it"},
		{"comma after an opening bracket", `[, {"person":"a"}]`, 1, 2,
			"a comma follows the opening bracket; remove the comma"},
		{"comma after an opening brace", `{,"a":"b"}`, 1, 2, "a comma follows the opening bracket; remove the comma"},
		{"comma after an inner brace", `[{,"person":"a"}]`, 1, 3, "a comma follows the opening bracket; remove the comma"},
		{"comma after an inner bracket", `[{"x":[,1]}]`, 1, 8, "a comma follows the opening bracket; remove the comma"},
		{"comma alone in brackets", `[ , ]`, 1, 3, "a comma precedes the closing bracket; remove the comma"},
		{"comma for a value", `{"a":,"b":"c"}`, 1, 6, "a value is missing before ','"},
		{"comma for an inner value", `[{"x":{"a":,}}]`, 1, 12, "a value is missing before ','"},
		{"array after", `{"a":"b"} [1]`, 1, 11, "'[' follows the end of the JSON value"},
		{"word after", "[]\nnull", 2, 1, "'n' follows the end of the JSON value"},
		{"bracket after", `{"a":"b"}]`, 1, 10, "']' follows the end of the JSON value"},
		{"no value", `{"a":}`, 1, 6, "a value is missing before '}'; write a string in double quotes, or null"},
		{"word for a value", `{"a":NaN}`, 1, 6, "found 'N' instead of a value; put text in double quotes, or write null"},
		{"word for an inner value", `[{"a":None}]`, 1, 7,
			"found 'N' instead of a value; put text in double quotes, or write null"},
		{"word that begins like null", `{"a":nil}`, 1, 7,
			`the value that begins with "n" is invalid at 'i'; put text in double quotes`},
		{"number with a sign only", `[{"a":-Infinity}]`, 1, 8, `the value that begins with "-" is invalid at 'I'`},
		{"number with a zero before", `[{"a":05}]`, 1, 8, `the value that begins with "0" is invalid at '5'`},
		{"word for an element", `[{"person":"a"}, b]`, 1, 18,
			"found 'b' instead of an element of the array; write an object"},
		{"name without quotes", `{andy:"a"}`, 1, 2, "found 'a' instead of the name of a member; put names in double quotes"},
		{"inner name without quotes", `[{"flavor":"x",person:"a"}]`, 1, 16,
			"found 'p' instead of the name of a member; put names in double quotes"},
		{"number for a name", `{"a":"b",5:"c"}`, 1, 10,
			"found '5' instead of the name of a member; put names in double quotes"},
		{"no colon", `{"a" "b"}`, 1, 6, "found '\"' instead of a colon"},
		{"full-width colon", `{"a"："b"}`, 1, 5,
			"found U+FF1A '：' instead of a colon after the name of a member; write a colon instead"},
		{"equals sign", `[{"a"="b"}]`, 1, 6,
			"found '=' instead of a colon after the name of a member; write a colon instead"},
		{"no comma", `{"a":"b" "c":"d"}`, 1, 10, "found '\"' instead of a comma or the closing bracket }; add a comma"},
		{"no comma in an array", "[{\"person\":\"a\"}\n{}]", 2, 1,
			"found '{' instead of a comma or the closing bracket ]; add a comma"},
		{"semicolon for a comma", `[{"a":"b";"c":"d"}]`, 1, 10,
			"found ';' instead of a comma or the closing bracket }; write a comma instead"},
		{"full-width comma", `{"a":"b"，"c":"d"}`, 1, 9,
			"found U+FF0C '，' instead of a comma or the closing bracket }; write a comma instead"},
		{"quote inside", `{"a":"b"c"}`, 1, 9, `write \" for a quote inside`},
		{"quote inside of a row", `[{"a":"b"c"}]`, 1, 10, `write \" for a quote inside`},
		{"wrong bracket", `{"a":"b"]`, 1, 9, "the closing bracket } is missing before ']'; add it"},
		{"wrong bracket of a row", `[{"person":"a"]`, 1, 15, "the closing bracket } is missing before ']'; add it"},
		{"wrong bracket at once", `[}`, 1, 2, "the closing bracket ] is missing before '}'; add it"},
		{"comment", "{\"a\":\"b\", // c\n}", 1, 11, "because JSON has none"},
		{"comment of a shell", "[\n# c\n]", 2, 1, "because JSON has none"},
		{"too deep", strings.Repeat("[", 10001), 1, 10001, "nested more than 10000 levels deep"},
		{"text after white space", strings.Repeat(" ", 5000) + "x", 1, 5001, "found 'x' instead of an object or an array"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for how, chunk := range chunkings {
				got := readAll(t, chunk(strings.NewReader(c.content)), "a.json").Failure
				if got == nil || got.Code != events.MalformedJSON || got.Line != c.line || got.Column != c.column ||
					!strings.Contains(got.Reason, c.reason) ||
					strings.Contains(got.Reason, "invalid character") ||
					strings.Contains(got.Reason, "expecting") { // wording of jsontext
					t.Errorf("reading %q %s: failure = %+v, want line %d, column %d and %q in the reason", c.content, how, got, c.line,
						c.column, c.reason)
				}
			}
		})
	}
}

// TestJSONLimit checks the maximum length of rows, from the first to the last byte of the value.
func TestJSONLimit(t *testing.T) {
	member := func(size int) string { return `"` + strings.Repeat("x", size-5) + `":""` }
	object := func(size int) string {
		return `{"person":"a","flavor":"x","note":"` + strings.Repeat("x", size-37) + `"}`
	}
	runCases(t, "a.json", []readCase{
		{"member at the limit", "{" + member(ingest.MaxRecord) + `,"dan":"mint"}`,
			rows(set(2+ingest.MaxRecord, "dan", "mint")).reject(1, 2, 1, events.TooLong)},
		{"member over the limit", "{\"dan\":\"mint\",\n " + member(ingest.MaxRecord+1) + "}", rows(set(1, "dan", "mint")).
			fail(2, 2, 16, events.RecordTooLong)},
		{"object at the limit", "[" + object(ingest.MaxRecord) + "]", rows(set(1, "a", "x"))},
		{"object over the limit", "[\n" + object(ingest.MaxRecord+1) + "]", rows().fail(2, 1, 2, events.RecordTooLong)},
		{"far over the limit", "[\n" + object(60) + ",\n\n " + object(3*ingest.MaxRecord) + "]", rows(set(2, "a", "x")).
			fail(4, 2, 66, events.RecordTooLong)},
	})
}

func TestJSONRaw(t *testing.T) {
	for _, c := range []struct{ name, content, want string }{
		{"member", `{ "andy" :  5 , "dan": "mint"}`, `"andy" :  5`},
		{"object", "[ {\"person\":\n\"andy\"} ,{}]", "{\"person\":\n\"andy\"}"},
		{"invalid UTF-8", "{\"\xff\":\"x\"}", "\"\ufffd\":\"x\""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, blanks := range []int{0, 65530, 200000} {
				got := readAll(t, strings.NewReader(strings.Repeat(" ", blanks)+c.content), "a.json")
				if len(got.Rejects) == 0 || got.Rejects[0].Raw != c.want {
					t.Errorf("after %d blanks: rejects = %+v, want the first with raw %q", blanks, got.Rejects, c.want)
				}
			}
		})
	}
}
