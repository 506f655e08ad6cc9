package ingest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
)

// TestNotMap reads JSON objects that are not maps from person to flavor. No member may become a person or remove one.
func TestNotMap(t *testing.T) {
	const row = `{"person":"andy","flavor":"mint"}`
	long := strings.Repeat("x", 70_000)
	for _, c := range []struct {
		name, content string
		line, column  int64
		reason        []string
	}{
		{"page", `{"status":"ok","page":"1","data":[` + row + `],"next":null}`, 1, 27, []string{`"data"`, "jq .data FILE"}},
		{"page with the rows first", `{"items":[` + row + `],"next":null}`, 1, 2, []string{`"items"`, "jq .items FILE"}},
		{"page with the rows last", "{\n\"next\":null,\n \"results\":[" + row + "]}", 3, 2, []string{`"results"`}},
		{"page without rows", `{"status":"ok","data":[],"next":null}`, 1, 16, []string{`"data"`}},
		{"page of other rows", `{"status":"ok","data":[{"name":"andy","favorite":"mint"}]}`, 1, 16, []string{`"data"`}},
		{"page with other rows before ours", `{"links":[{"rel":"next"}],"data":[` + row + `]}`, 1, 27,
			[]string{`member "data"`}},
		{"page of cased rows", `{"Items":[{"Person":"andy","Flavor":"mint"}],"Count":"1","ConsumedCapacity":null}`, 1, 2,
			[]string{`"Items"`}},
		{"page of a map", `{"status":"ok","data":{"andy":"mint"}}`, 1, 16, []string{`"data"`, "an object"}},
		{"page of one row", `{"status":"ok","data":` + row + `}`, 1, 16, []string{`"data"`}},
		{"page of arrays", `{"next":null,"rows":[["andy","mint"]]}`, 1, 14, []string{`"rows"`}},
		{"page in a page", `{"status":"ok","result":{"total":1,"items":[` + row + `]}}`, 1, 36,
			[]string{`member "items" of "result"`, "jq .result.items FILE"}},
		{"page of a query", `{"data":{"favorites":{"nodes":[` + row + `]}},"errors":null}`, 1, 23,
			[]string{`"nodes" of "favorites" of "data"`}},
		{"page with metadata", `{"meta":{"page":"1"},"favorites":[` + row + `]}`, 1, 22, []string{`"favorites"`}},
		{"odd member", `{"a \u001b\"b":[` + row + `],"next":null}`, 1, 2, []string{`"a \x1b\"b"`}},
		{"cut off", `{"status":"ok","data":[{"person":"andy","fl`, 1, 16, []string{`"data"`}},
		{"invalid JSON after it", `{"status":"ok","data":[` + row + `,],}`, 1, 16, []string{`"data"`}},
		{"byte order mark", "\ufeff{\"status\":\"ok\",\n\"data\":[" + row + "]}", 2, 1, []string{`"data"`}},
		{"byte order mark on the line", "\ufeff{\"data\":[" + row + "]}", 1, 5, []string{`"data"`}},
		{"rows after long text", `{"token":"` + long + `","data":[` + row + `]}`, 1, 70013, []string{`"data"`}},
		{"long rows", `{"status":"ok","data":[` + strings.Repeat(row+",", 50_000) + row + `]}`, 1, 16, []string{`"data"`}},

		{"row", row, 1, 2, []string{`"person"`, `[{"person"`}},
		{"row with more members", `{"id":"7","person":"andy","flavor":"mint","city":"Berlin"}`, 1, 11, []string{`"person"`}},
		{"row over lines", "{\n  \"id\": \"7\",\n  \"flavor\": \"mint\",\n  \"person\": \"andy\"\n}\n", 3, 3,
			[]string{`"flavor"`}},
		{"row in other letters", `{"Id":"7"," PERSON":"andy"}`, 1, 11, []string{`" PERSON"`}},
		{"row without a person", `{"name":"andy","flavor":"mint"}`, 1, 16, []string{`"flavor"`}},
		{"row that removes", `{"id":"7","action":"remove","name":"andy"}`, 1, 11, []string{`"action"`}},
		{"row with nested members", `{"id":"7","address":{"city":"Berlin"},"tags":[{"a":"b"}],"person":"andy"}`, 1, 58,
			[]string{`"person"`}},
		{"row with escapes", `{"id":"7","p\u0065rson":"andy"}`, 1, 11, []string{`"person"`}},
		{"row after long text", `{"id":"7","note":"` + long + `","person":"andy"}`, 1, 70021, []string{`"person"`}},
		{"columns", `{"person":["andy"],"flavor":["mint"]}`, 1, 2, []string{`"person"`}},
		{"two rows", `{"id":"7","note":"` + long + `","person":"andy"}` + "\n" + row, 1, 1, []string{".ndjson"}},
		{"two maps", "{\"andy\":\"mint\"}\n{\"dan\":\"nut\"}\n", 1, 1, []string{".ndjson"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, suffix := range []string{"", ".gz", ".zst"} {
				stored := compress(t, suffix, []byte(c.content))
				got := readAll(t, bytes.NewReader(stored), "a.json"+suffix)
				want := outcome{}.fail(c.line, c.column, 0, events.FormatMismatch)
				if diff := cmp.Diff(want, got, withoutReasons); diff != "" {
					t.Fatalf("reading %.200q%s (-want +got):\n%s", c.content, suffix, diff)
				}
				for _, reason := range c.reason {
					if !strings.Contains(got.Failure.Reason, reason) {
						t.Errorf("reading %.200q: reason = %q, want %q in it", c.content, got.Failure.Reason, reason)
					}
				}
			}
		})
	}
}

// TestMap reads maps from person to flavor with members like those of an API response, and with bad members.
func TestMap(t *testing.T) {
	runCases(t, "a.json", []readCase{
		{"people called like members", `{"data":"mint","status":"ok","next":null,"items":"nut"}`,
			rows(set(1, "data", "mint"), set(15, "status", "ok"), remove(29, "next"), set(41, "items", "nut"))},
		{"flavors called like members", `{"andy":"person","dan":"flavor"}`,
			rows(set(1, "andy", "person"), set(17, "dan", "flavor"))},
		{"two flavors", `{"andy":["mint","nut"],"dan":"fig"}`, rows(set(23, "dan", "fig")).
			reject(1, 9, 1, events.NotAString)},
		{"flavor with a date", `{"andy":{"flavor":"mint","since":"2026"},"dan":"fig"}`, rows(set(41, "dan", "fig")).
			reject(1, 9, 1, events.NotAString)},
		{"flavor with tags", `{"andy":{"flavor":"mint","tags":[]},"dan":"fig"}`, rows(set(36, "dan", "fig")).
			reject(1, 9, 1, events.NotAString)},
	})
}

// TestLongMap checks that a bad member after the first thousand rejects only its row, wherever reading starts.
func TestLongMap(t *testing.T) {
	var b strings.Builder
	b.WriteString("{")
	people := 0
	for ; people < 1000; people++ {
		fmt.Fprintf(&b, "\"person %d\":\"mint\",\n", people)
	}
	late := int64(b.Len())
	b.WriteString(`"data":[{"person":"andy","flavor":"mint"}]," Person":"andy","dan":"fig"}`)
	got := readAll(t, strings.NewReader(b.String()), "a.json")
	if len(got.Rows) != people+1 || len(got.Rejects) != 2 || got.Failure != nil {
		t.Fatalf("got %d rows, rejects %+v, failure %+v, want %d rows and 2 rejects", len(got.Rows), got.Rejects, got.Failure,
			people+1)
	}
	if first := got.Rejects[0]; first.Offset != late || first.Code != events.NotAString || first.Line != int64(people)+1 {
		t.Errorf("reject = %+v, want %s at offset %d, line %d", first, events.NotAString, late, people+1)
	}
	for at := range 20 {
		readOn(t, []byte(b.String()), "a.json", got, at*people/19)
	}
}

// TestBrokenHead checks that an error of the body while the head is read is not a failure of the file, and that a file
// with a corrupt head is read up to the fault.
func TestBrokenHead(t *testing.T) {
	content := "{" + strings.Repeat("\"andy\":\"mint\",\n", 20_000)
	broken := errors.New("broken")
	if got, err := tryRead(t, io.MultiReader(strings.NewReader(content), iotest.ErrReader(broken)), "a.json",
		ingest.Options{}); !errors.Is(err, broken) {
		t.Errorf("got %d rows, failure %+v, error %v, want error %v", len(got.Rows), got.Failure, err, broken)
	}
	for _, suffix := range []string{".gz", ".zst"} {
		stored := compress(t, suffix, []byte(content+`"dan":"nut"}`))
		got := readAll(t, bytes.NewReader(stored[:len(stored)-6]), "a.json"+suffix)
		if got.Failure == nil || got.Failure.Code != events.CorruptCompression || len(got.Rows) == 0 && suffix == ".gz" {
			t.Errorf("%s: got %d rows, failure %+v, want rows and %s", suffix, len(got.Rows), got.Failure,
				events.CorruptCompression)
		}
	}
}
