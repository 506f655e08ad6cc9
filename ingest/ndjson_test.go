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
		{"byte order mark and CRLF", "\ufeff" + andy + "\r\n" + dan + "\r\n", rows(set(3, "andy", "vanilla"), set(41, "dan", "mint"))},
		{"blank lines and indents", "\n \t\r\n  " + andy + " \n\n" + dan + "\n\n", rows(set(7, "andy", "vanilla"), set(46, "dan", "mint"))},
		{"spaces inside", `{ "person" : "andy" , "flavor" : "vanilla" }`, rows(set(0, "andy", "vanilla"))},
		{"null removes", `{"person":"andy","flavor":null}`, rows(remove(0, "andy"))},
		{"action removes", `{"person":"andy","action":"remove"}`, rows(remove(0, "andy"))},
		{"other members", `{"id":1e9,"person":"andy","x":{"person":"x"},"flavor":"vanilla","y":[1,{}]}`, rows(set(0, "andy", "vanilla"))},

		{"broken line", "{\"person\":\n" + dan + "\n", rows(set(11, "dan", "mint")).reject(1, 10, 0, events.MalformedRow)},
		{"broken lines between good ones", andy + "\n  {\"person\": andy}\n" + dan + "\n{]\n" + andy + "\n",
			rows(set(0, "andy", "vanilla"), set(56, "dan", "mint"), set(92, "andy", "vanilla")).reject(2, 14, 39, events.MalformedRow).reject(4, 2, 89, events.MalformedRow)},
		{"an object over two lines", "{\"person\":\"andy\",\n\"flavor\":\"vanilla\"}\n" + dan,
			rows(set(38, "dan", "mint")).reject(1, 17, 0, events.MalformedRow).reject(2, 1, 18, events.MalformedRow)},
		{"two objects on a line", andy + dan + "\n" + dan, rows(set(69, "dan", "mint")).reject(1, 37, 0, events.MalformedRow)},
		{"a comma behind", andy + ",\n" + dan, rows(set(38, "dan", "mint")).reject(1, 37, 0, events.MalformedRow)},
		{"truncated last line", andy + "\n{\"person\":\"da", rows(set(0, "andy", "vanilla")).reject(2, 10, 37, events.MalformedRow)},
		{"not objects", "5\n\"andy\"\n" + dan + "\n", rows(set(9, "dan", "mint")).reject(1, 1, 0, events.MalformedRow).reject(2, 1, 2, events.MalformedRow)},
		{"garbage", andy + "\n\x00\xff\n" + dan, rows(set(0, "andy", "vanilla"), set(40, "dan", "mint")).reject(2, 1, 37, events.MalformedRow)},
		{"no person", `{}` + "\n" + dan, rows(set(3, "dan", "mint")).reject(1, 1, 0, events.MissingPerson)},
		{"numbers", ` {"person":"andy","flavor":5}` + "\n" + dan, rows(set(30, "dan", "mint")).reject(1, 28, 1, events.NotAString)},
		{"fault before something broken", `{"person":5,!}` + "\n" + dan, rows(set(15, "dan", "mint")).reject(1, 11, 0, events.NotAString)},
		{"a member twice", `{"person":"a","flavor":"b","flavor":"c"}` + "\n" + dan, rows(set(41, "dan", "mint")).reject(1, 28, 0, events.MalformedRow)},
		{"half surrogates", `{"person":"\ud83c","flavor":"x"}` + "\n" + dan, rows(set(33, "dan", "mint")).reject(1, 11, 0, events.InvalidUTF8)},
		{"invalid UTF-8 rejects one row", "{\"person\":\"andy\",\"flavor\":\"vanill\xe4\"}\n" + dan, rows(set(37, "dan", "mint")).reject(1, 27, 0, events.InvalidUTF8)},
		{"too deep", `{"x":` + strings.Repeat("[", 20000) + "\n" + dan, rows(set(20006, "dan", "mint")).reject(1, 10005, 0, events.MalformedRow)},
	})
}

// TestNDJSONLimit draws the line exactly: a line's bytes, its newline included. A line that is too long is but one bad row.
func TestNDJSONLimit(t *testing.T) {
	line := func(size int) string {
		return `{"person":"a","flavor":"x","note":"` + strings.Repeat("x", size-38) + "\"}\n"
	}
	const dan = `{"person":"dan","flavor":"mint"}`
	runCases(t, "a.ndjson", []readCase{
		{"at the limit", line(ingest.MaxRecord) + dan, rows(set(0, "a", "x"), set(ingest.MaxRecord, "dan", "mint"))},
		{"over the limit", line(ingest.MaxRecord+1) + dan, rows(set(ingest.MaxRecord+1, "dan", "mint")).reject(1, 1, 0, events.RecordTooLong)},
		{"far over the limit", dan + "\n" + line(5*ingest.MaxRecord) + dan, rows(set(0, "dan", "mint"), set(33+5*ingest.MaxRecord, "dan", "mint")).reject(2, 1, 33, events.RecordTooLong)},
		{"at the end without newline", dan + "\n" + strings.TrimSpace(line(3*ingest.MaxRecord)), rows(set(0, "dan", "mint")).reject(2, 1, 33, events.RecordTooLong)},
		{"blank lines do not count", strings.Repeat("\n", 3*ingest.MaxRecord) + dan, rows(set(3*ingest.MaxRecord, "dan", "mint"))},
	})
}
