package ingest_test

import (
	"strings"
	"testing"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
)

const header = "person,flavor\n" // 14 bytes

func TestCSV(t *testing.T) {
	long := strings.Repeat("x", events.MaxName)
	runCases(t, "a.csv", []readCase{
		{"rows", header + "andy,vanilla\ndan,mint\n", rows(set(14, "andy", "vanilla"), set(27, "dan", "mint"))},
		{"no newline at the end", header + "andy,vanilla", rows(set(14, "andy", "vanilla"))},
		{"byte order mark", "\ufeff" + header + "andy,vanilla\n", rows(set(17, "andy", "vanilla"))},
		{"byte order mark and quoted header", "\ufeff\"person\",\"flavor\"\nandy,vanilla\n",
			rows(set(21, "andy", "vanilla"))},
		{"CRLF", "person,flavor\r\nandy,vanilla\r\ndan,\"mint\"\r\n",
			rows(set(15, "andy", "vanilla"), set(29, "dan", "mint"))},
		{"blank lines", "\n\r\n" + header + "\n\r\n\nandy,vanilla\n\n\ndan,mint\n\n",
			rows(set(21, "andy", "vanilla"), set(36, "dan", "mint"))},
		{"quotes", header + "\"an\"\"dy\",\"salt, caramel\"\n", rows(set(14, `an"dy`, "salt, caramel"))},
		{"white space around names", header + " andy\t,\u00a0vanilla \n", rows(set(14, "andy", "vanilla"))},
		{"canonical composition", header + "Rene\u0301,cre\u0300me\n", rows(set(14, "René", "crème"))},
		{"quoted newline in an extra column", "note,person,flavor\n\"a\nb\r\n\",andy,vanilla\nx,dan,mint\n",
			rows(set(19, "andy", "vanilla"), set(40, "dan", "mint"))},
		{"quoted newline in a name", header + "\"an\ndy\",vanilla\ndan,mint\n",
			rows(set(30, "dan", "mint")).reject(2, 1, 14, events.ControlCharacter)},
		{"quoted newline before the fault", "note,person,flavor\n\"a\nb\",,vanilla\ndan,,x\n",
			rows().reject(2, 1, 19, events.MissingPerson).reject(4, 5, 34, events.MissingPerson)},
		{"quoted newline at the end", header + "andy,\"vanilla\n\"", rows(set(14, "andy", "vanilla"))},

		{"semicolons", "person;flavor\nandy;\"a;b\"\nx,y;z\n", rows(set(14, "andy", "a;b"), set(25, "x,y", "z"))},
		{"tabs", "person\tflavor\nandy\tvanilla\n", rows(set(14, "andy", "vanilla"))},
		{"semicolons in a header of two lines", "person;flavor;\"no\ntes\"\nandy;a,b;\n", rows(set(23, "andy", "a,b"))},
		{"tabs in a header of three lines", "\"x,;\n\r\n\"\tperson\tflavor\n1\tandy\tmint\n", rows(set(23, "andy", "mint"))},
		{"semicolons in a header longer than the buffer",
			strings.Repeat("c;", 50_000) + "person;flavor\n" + strings.Repeat("1;", 50_000) + "andy;vanilla\n",
			rows(set(100_014, "andy", "vanilla"))},
		{"semicolons, and more commas than those", "person;flavor;\"a,b,c,d,e\"\nandy;mint;\n",
			rows(set(26, "andy", "mint"))},
		{"declared semicolons", "sep=;\r\nperson;flavor\r\nandy;\"a;b\"\r\n", rows(set(22, "andy", "a;b"))},
		{"declared commas after a byte order mark", "\ufeffsep=,\nperson,flavor\nandy,a;b\n", rows(set(23, "andy", "a;b"))},
		{"declared in quotes", "\"Sep=\t\"\nperson\tflavor\nandy\tmint\n", rows(set(22, "andy", "mint"))},
		{"declared pipes", "\nsep=|\n\nperson|flavor\n|\nandy|a,b\n", rows(set(24, "andy", "a,b"))},
		{"declared twice", "sep=;\nsep=;\nperson;flavor\n", rows().fail(2, 1, 6, events.BadHeader)},
		{"declared wrongly", "sep=;\nperson,flavor\n", rows().fail(2, 1, 6, events.BadHeader)},
		{"declared unknown", "sep=:\nperson:flavor\n", rows().fail(1, 1, 0, events.BadHeader)},
		{"a column sep=", "sep=,person,flavor\nx,andy,mint\n", rows(set(19, "andy", "mint"))},
		{"semicolons in a long header", strings.Repeat("c;", 500) + "person;flavor\n" + strings.Repeat("1;", 500) +
			"andy;vanilla\n",
			rows(set(1014, "andy", "vanilla"))},

		{"header in any case, order and spacing", "  FLAVOR , Person\nvanilla,andy\n", rows(set(18, "andy", "vanilla"))},
		{"extra columns", "id,person,,flavor,x\n1,andy,2,vanilla,3\n", rows(set(20, "andy", "vanilla"))},
		{"extra columns twice", "x,person,x,flavor\n1,andy,2,vanilla\n", rows(set(18, "andy", "vanilla"))},
		{"person twice", "person,flavor,Person\n", rows().fail(1, 1, 0, events.BadHeader)},
		{"action twice", "\nperson,flavor,action,action\n", rows().fail(2, 1, 1, events.BadHeader)},
		{"no flavor", "person,taste\nandy,vanilla\n", rows().fail(1, 1, 0, events.BadHeader)},
		{"no header", "\ufeffandy,vanilla\n", rows().fail(1, 4, 3, events.BadHeader)},
		{"broken header", "person,fla\"vor\nandy,vanilla\n", rows().fail(1, 1, 0, events.BadHeader)},
		{"unclosed header", "person,\"flavor\nandy,vanilla\n", rows().fail(1, 1, 0, events.BadHeader)},

		{"header fault after blank lines", "\n \n\nperson, \"flavor\"\nandy,mint\n", rows().fail(4, 1, 4, events.BadHeader)},
		{"CR CR LF", "person,flavor\r\r\nandy,\"mint\"\r\r\n\r\r\ndan,fig\r\r\r\n\"liz\",nut\r\r",
			rows(set(16, "andy", "mint"), set(33, "dan", "fig"), set(44, "liz", "nut"))},
		{"CR alone", "\"person\",\"flavor\"\r\"andy\",\"mint\"\r", rows().fail(1, 1, 0, events.FormatMismatch)},
		{"CR alone, longer than a record", "person,flavor\r" + strings.Repeat("andy,mint\r", ingest.MaxRecord/5),
			rows().fail(1, 1, 0, events.FormatMismatch)},
		{"CR alone between two rows", header + "andy,mint\rdan,fig\nliz,nut\n",
			rows(set(32, "liz", "nut")).reject(2, 10, 14, events.MalformedRow)},
		{"NEL", "person,flavor,note\u0085andy,mint,x\u0085", rows().fail(1, 1, 0, events.FormatMismatch)},
		{"U+2028 in a header that ends", "person,flavor,no\u2028te\nandy,mint,x\n", rows(set(22, "andy", "mint"))},
		{"Ctrl-Z at the end", header + "andy,mint\r\n\x1a", rows(set(14, "andy", "mint"))},
		{"Ctrl-Z at the end of the last row", header + "andy,\"mint\"\x1a\x1a", rows(set(14, "andy", "mint"))},
		{"Ctrl-Z before a row", header + "\x1aandy,mint\n", rows().reject(2, 1, 14, events.ControlCharacter)},
		{"a million fields", header + "x" + strings.Repeat(",", 1_000_000) + "\ndan,mint\n",
			rows(set(1_000_016, "dan", "mint")).reject(2, 1, 14, events.MalformedRow)},

		{"actions", "person,flavor,action\na,x,\nb,x,set\nc,x,remove\nd,, Remove \ne,,set\nf,x,drop\n,,remove\n",
			rows(set(21, "a", "x"), set(26, "b", "x"), remove(34, "c"), remove(45, "d")).
				reject(6, 3, 57, events.MissingFlavor).reject(7, 5, 64, events.UnknownAction).
				reject(8, 1, 73, events.MissingPerson)},
		{"too few fields", header + "andy\ndan,mint\n", rows(set(19, "dan", "mint")).reject(2, 1, 14, events.MalformedRow)},
		{"too many fields", header + "andy,salt, caramel\ndan,mint\n", rows(set(33, "dan", "mint")).
			reject(2, 1, 14, events.MalformedRow)},
		{"lines without text", header + " \n,\n\t , \u00a0\r\n\u200b,,\ndan,mint\n  ", rows(set(32, "dan", "mint"))},
		{"empty fields in quotes are a row", header + "\"\",\n", rows().reject(2, 1, 14, events.MissingPerson)},
		{"lines without text before the header", " \r\n;;\n,\t|\nperson;flavor\nandy;mint\n", rows(set(24, "andy", "mint"))},
		{"missing person", header + ",vanilla\n \u200b,vanilla\n", rows().reject(2, 1, 14, events.MissingPerson).
			reject(3, 1, 23, events.MissingPerson)},
		{"missing flavor", header + "andy,\nandy,\"\"\n", rows().reject(2, 6, 14, events.MissingFlavor).
			reject(3, 6, 20, events.MissingFlavor)},
		{"longest name", header + long + "," + long + "\n", rows(set(14, long, long))},
		{"too long names", header + long + "x,vanilla\nandy,x" + long + "\n",
			rows().reject(2, 1, 14, events.TooLong).reject(3, 6, 280, events.TooLong)},
		{"invalid UTF-8 rejects one row", header + "andy,vanill\xe4\ndan,mint\n", rows(set(27, "dan", "mint")).
			reject(2, 6, 14, events.InvalidUTF8)},
		{"invalid UTF-8 in an extra column", "person,flavor,x\nandy,vanilla,\xe4\n", rows(set(16, "andy", "vanilla"))},
		{"NUL", header + "an\x00dy,vanilla\n", rows().reject(2, 1, 14, events.ControlCharacter)},
		{"CR inside a line", header + "an\rdy,vanilla\n", rows().reject(2, 1, 14, events.ControlCharacter)},
	})
}

func TestCSVQuotes(t *testing.T) {
	runCases(t, "a.csv", []readCase{
		{"inside a field", header + "an\"dy,vanilla\ndan,mint\n", rows(set(28, "dan", "mint")).
			reject(2, 3, 14, events.MalformedRow)},
		{"after a quoted field", header + "\"an\"dy,vanilla\ndan,mint\n", rows(set(29, "dan", "mint")).
			reject(2, 4, 14, events.MalformedRow)},
		{"after a quoted field of two lines", header + "\"an\ndy\"x,vanilla\ndan,mint\n", rows(set(31, "dan", "mint")).
			reject(2, 1, 14, events.MalformedRow)},
		{"inside a field of the last line", header + "an\"dy,vanilla", rows().reject(2, 3, 14, events.MalformedRow)},
		{"after a quoted field of the last line", header + "andy,\"vanilla\"x", rows().
			reject(2, 14, 14, events.MalformedRow)},
		{"after a quoted field of the last line with newline", header + "andy,\"vanilla\"x\n", rows().
			reject(2, 14, 14, events.MalformedRow)},
		{"after a quoted field of the last line with CRLF", header + "andy,\"vanilla\"x\r\n", rows().
			reject(2, 14, 14, events.MalformedRow)},
		{"after a quoted field, and a space", header + "andy,\"vanilla\" ", rows().reject(2, 14, 14, events.MalformedRow)},

		{"unclosed in the only line", header + "andy,\"vanilla", rows().fail(2, 1, 14, events.UnclosedQuote)},
		{"unclosed in the only line with newline", header + "andy,\"vanilla\n", rows().fail(2, 1, 14, events.UnclosedQuote)},
		{"unclosed in the only line with CRLF", header + "andy,\"vanilla\r\n", rows().fail(2, 1, 14, events.UnclosedQuote)},
		{"unclosed in the only line with CR", header + "andy,\"vanilla\r", rows().fail(2, 1, 14, events.UnclosedQuote)},
		{"unclosed over lines", header + "bill,mint\nandy,\"vanilla\ndan,mint\nliz,lemon\n", rows(set(14, "bill", "mint")).
			fail(3, 1, 24, events.UnclosedQuote)},
		{"unclosed over lines with CRLF", header + "bill,mint\r\n\r\nandy,\"vanilla\r\ndan,mint\r\n",
			rows(set(14, "bill", "mint")).fail(4, 1, 27, events.UnclosedQuote)},
		{"unclosed over lines without newline", header + "andy,\"vanilla\ndan,mint", rows().
			fail(2, 1, 14, events.UnclosedQuote)},
		{"unclosed with blank lines at the end", header + "andy,\"vanilla\n\n\n", rows().
			fail(2, 1, 14, events.UnclosedQuote)},
		{"nothing but a quote", header + "\"", rows().fail(2, 1, 14, events.UnclosedQuote)},
		{"nothing but a quote and a newline", header + "\"\n", rows().fail(2, 1, 14, events.UnclosedQuote)},
		{"a doubled quote at the end", header + "andy,\"vanilla\"\"", rows().fail(2, 1, 14, events.UnclosedQuote)},
	})
}

// TestCSVAdvice checks that reasons name the cause of the fault.
func TestCSVAdvice(t *testing.T) {
	columns := func(size int) string { // of a header that is longer than size, in short quoted names
		return `"person","flavor"` + strings.Repeat(`,"abc"`, size/6)
	}
	for _, c := range []struct{ name, file, content, reason string }{
		{"empty quoted field", "a.csv", header + `carl,"fig",""`,
			"the header 2, because the row ends with an extra separator (','); remove it"},
		{"blank quoted field", "a.csv", header + `dan,x,"  "`,
			"the header 2, because the row ends with an extra separator (','); remove it"},
		{"quoted, empty and blank fields", "a.csv", header + `dan,x,"",, `,
			"the header 2, because the row ends with 3 extra separators (','); remove them"},
		{"empty quoted field after semicolons", "a.csv", "person;flavor\ncarl;fig;\"\"\r\n",
			"an extra separator (';'); remove it"},
		{"quoted line end", "a.csv", header + "carl,fig,\"\n\"\n", "an extra separator (','); remove it"},
		{"field with text", "a.csv", header + `a,b,""""`, "put fields that contain ',' in double quotes"},
		{"empty field before one with text", "a.csv", header + `a,b,"",c`, "put fields that contain ',' in double quotes"},
		{"tab too many", "a.tsv", "person\tflavor\na\tb\t\"\"\n", "an extra separator (tab); remove it"},
		{"field after a tab", "a.tsv", "person\tflavor\na\tb\tc\n", "put fields that contain tab in double quotes"},
		{"field too few", "a.tsv", "person\tflavor\na\n", "separated by tab"},
		{"declared tab", "a.csv", "sep=\t\nperson,flavor\n", "declares the separator tab; use that one"},

		{"long header", "a.csv", columns(ingest.MaxRecord) + "\n", "the header is longer than 1048576 bytes"},
		{"long header, cut before a quote closes", "a.csv", columns(ingest.MaxRecord-3) + "\n",
			"the header is longer than 1048576 bytes"},
		{"long header without an end", "a.csv", columns(3 * ingest.MaxRecord), "the header is longer than 1048576 bytes"},
		{"open quote in a header", "a.csv", "person,\"flavor\n" + strings.Repeat("a,b\n", ingest.MaxRecord/4),
			"the quote at line 1, column 8 is not closed within"},
		{"long row", "a.csv", header + columns(ingest.MaxRecord) + "\n",
			"longer than 1048576 bytes; look for an unclosed quote"},
		{"open quote in a row", "a.csv", header + "a,\"b\n" + strings.Repeat("a,b\n", ingest.MaxRecord/4),
			"the quote at line 2, column 3 is not closed within"},

		{"CR alone", "a.csv", "person,flavor\ra,b\rc,d\r", "lines end with a carriage return without line feed"},
		{"CR alone after the header", "a.csv", "person,flavor\ra,b\nc,d\n",
			"the header contains a carriage return without line feed at line 1, column 14"},
		{"CR alone inside the header", "a.tsv", "person\tfla\rvor\na\tb\n",
			"the header contains a carriage return without line feed at line 1, column 11"},
		{"line separator after the header", "a.csv", "person,flavor\u2028a,b\nc,d\n",
			"the header contains U+2028 at line 1, column 14"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := readAll(t, strings.NewReader(c.content), c.file)
			var reason string
			if got.Failure != nil {
				reason = got.Failure.Reason
			} else if len(got.Rejects) > 0 {
				reason = got.Rejects[0].Reason
			}
			if !strings.Contains(reason, c.reason) {
				t.Errorf("reason = %q, want %q in it", reason, c.reason)
			}
		})
	}
}

func TestTSV(t *testing.T) {
	runCases(t, "a.tsv", []readCase{
		{"rows", "person\tflavor\nandy\tsalt, caramel\ndan\t\"a\tb\"\"c\"\n",
			rows(set(14, "andy", "salt, caramel")).reject(3, 5, 33, events.ControlCharacter)},
		{"commas", "person,flavor\nandy,vanilla\n", rows().fail(1, 1, 0, events.BadHeader)},
	})
}

// TestCSVLimit checks the maximum length of records, which includes the line end.
func TestCSVLimit(t *testing.T) {
	const head = "person,flavor,note\n"
	row := func(size int) string { return "andy,vanilla," + strings.Repeat("x", size-14) + "\n" }
	runCases(t, "a.csv", []readCase{
		{"at the limit", head + row(ingest.MaxRecord) + "dan,mint,\n",
			rows(set(19, "andy", "vanilla"), set(19+ingest.MaxRecord, "dan", "mint"))},
		{"over the limit", head + "dan,mint,\n" + row(ingest.MaxRecord+1), rows(set(19, "dan", "mint")).
			fail(3, 1, 29, events.RecordTooLong)},
		{"far over the limit", head + "dan,mint,\n\n" + row(3*ingest.MaxRecord), rows(set(19, "dan", "mint")).
			fail(4, 1, 30, events.RecordTooLong)},
		{"unclosed quote", head + "dan,mint,\nandy,\"vanilla,\n" + strings.Repeat("dan,mint,\n", ingest.MaxRecord/5),
			rows(set(19, "dan", "mint")).fail(3, 1, 29, events.RecordTooLong)},
		{"blank lines do not count", head + strings.Repeat("\r\n", 2*ingest.MaxRecord) + "dan,mint,\n",
			rows(set(19+4*ingest.MaxRecord, "dan", "mint"))},
	})
}

// TestCSVHeaderLimit checks the maximum length of headers, with each separator.
func TestCSVHeaderLimit(t *testing.T) {
	for _, separator := range []string{",", ";", "\t"} {
		head := func(size int) string {
			names := strings.Join([]string{"person", "flavor", ""}, separator)
			return names + strings.Repeat("x", size-len(names)-1) + "\n"
		}
		row := strings.Join([]string{"andy", "vanilla", "\n"}, separator)
		runCases(t, "a.csv", []readCase{
			{"at the limit", head(ingest.MaxRecord) + row, rows(set(ingest.MaxRecord, "andy", "vanilla"))},
			{"over the limit", "\n" + head(ingest.MaxRecord+1) + row, rows().fail(2, 1, 1, events.BadHeader)},
			{"far over the limit", head(3*ingest.MaxRecord) + row, rows().fail(1, 1, 0, events.BadHeader)},
		})
	}
}

// TestCSVRaw checks the raw text of rejected rows.
func TestCSVRaw(t *testing.T) {
	note := strings.Repeat("é", events.MaxRaw)
	for _, c := range []struct{ name, row, want string }{
		{"line", "andy\r\n", "andy"},
		{"last line", "andy", "andy"},
		{"quoted newline", "\"an\r\ndy\",x\n", "\"an\r\ndy\",x"},
		{"invalid UTF-8", "\xff,x\n", "\ufffd,x"},
		{"long", note + "\n", note[:events.MaxRaw-4] + "…"},
		{"exactly MaxRaw", note[:events.MaxRaw] + "\n", note[:events.MaxRaw]},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Rows before it move the row to the decoder's next buffer.
			for _, before := range []int{0, 6000, 12000} {
				got := readAll(t, strings.NewReader(header+strings.Repeat("dan,mint\n", before)+c.row), "a.csv")
				if len(got.Rejects) != 1 || got.Rejects[0].Raw != c.want {
					t.Errorf("after %d rows: rejects = %+v, want one with raw %q", before, got.Rejects, c.want)
				}
			}
		})
	}
}
