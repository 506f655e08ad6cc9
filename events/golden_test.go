package events_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
)

// The golden files in testdata contain the wire format. An unintended difference breaks existing readers. To write an
// intended one, run go test ./events -update.
var update = flag.Bool("update", false, "write the golden files")

// golden compares got with the golden file.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(readGolden(t, name)), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func readGolden(t testing.TB, name string) []byte {
	t.Helper()
	want, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return want
}

// goldenObject returns the object whose upload the golden files are about.
func goldenObject() events.Object {
	return events.Object{
		Bucket: "favorites", Key: "teams/équipe 7.csv", ETag: "9b2cf535f27731c974343645a3985328",
		Sequencer: "0055AED6DCD90281E5",
		Size:      179, Time: time.Date(2026, 11, 23, 8, 19, 0, 123e6, time.UTC),
	}
}

func goldenBatches(t fataler) map[string]events.Batch {
	origin := mustOrigin(t, goldenObject())
	return map[string]events.Batch{
		"batch": {Origin: origin, First: 14, Rows: []events.Update{
			{Offset: 14, Person: "andy", Flavor: "cookie dough"},
			{Offset: 32, Person: "zoë", Flavor: "crème brûlée"},
			{Offset: 56, Person: `"Big" Al`, Flavor: `rocky\road`},
			{Offset: 81, Person: "יעל", Flavor: "🍦"},
			{Offset: 93, Person: "bill", Remove: true},
			{Offset: events.MaxOffset, Person: "<liz> & 'co'", Flavor: "a/b"},
		}},
		"batch-removal": {Origin: origin, First: 0, Rows: []events.Update{{Offset: 0, Person: "bill", Remove: true}}},
	}
}

func goldenChanges(t fataler) map[string]events.Change {
	origin := mustOrigin(t, goldenObject())
	return map[string]events.Change{
		"change-created": {Kind: events.Created, Person: `"Big" Al`, Flavor: `rocky\road`, Version: origin.At(56)},
		"change-changed": {Kind: events.Changed, Person: "zoë", Flavor: "crème brûlée", Previous: "🍦",
			Version: origin.At(32)},
		"change-removed": {Kind: events.Removed, Person: "bill", Previous: "mint chocolate chip", Version: origin.At(93)},
	}
}

func goldenContinuation() events.Continuation {
	return events.Continuation{
		Object: events.Object{
			Bucket: "flavorless-uploads", Key: "uploads/a long file.csv.gz", VersionID: "3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY",
			ETag:      "d41d8cd98f00b204e9800998ecf8427e",
			Sequencer: "0055aed6dcd90281e5", Size: 1 << 30, Time: time.Date(2026, 11, 23, 8, 19, 0, 123e6, time.UTC),
		},
		Offset: 5_000_000_123, Rows: 170_000_000, Rejected: 3, Batches: 100_000, RejectsBytes: 512,
	}
}

func TestDecodeContinuationRefuses(t *testing.T) {
	for what, edit := range map[string][2]string{
		"another type":      {`"flavorless.span.v1"`, `"flavorless.span.v2"`},
		"no offset":         {`"offset":5000000123`, `"offset":0`},
		"more rejects":      {`"rejected":3`, `"rejected":170000001`},
		"negative omitted":  {`"rejectsBytes":512`, `"rejectsBytes":512,"rejectsOmitted":-1`},
		"more omitted":      {`"rejectsBytes":512`, `"rejectsBytes":512,"rejectsOmitted":4`},
		"no sequencer":      {`"0055aed6dcd90281e5"`, `""`},
		"data after it":     {"}}\n", "}}x"},
		"no object at all":  {`"object":`, `"other":`},
		"negative batches":  {`"batches":100000`, `"batches":-1`},
		"an offset of text": {`"offset":5000000123`, `"offset":"x"`},
	} {
		body := bytes.Replace(readGolden(t, "continuation.json"), []byte(edit[0]), []byte(edit[1]), 1)
		if _, err := events.DecodeContinuation(body); err == nil {
			t.Errorf("%s: DecodeContinuation(%s) succeeds, want an error", what, body)
		}
	}
}

// goldenContinuations returns a continuation with a reader's state for each format.
func goldenContinuations() map[string]events.Continuation {
	all := map[string]events.Continuation{}
	for name, state := range map[string]events.ReaderState{
		"csv": {Line: 170_000_002, Column: 1,
			CSV: &events.CSVState{Separator: ";", Width: 5, Person: 3, Flavor: 0, Action: -1, Nameless: 1}},
		"json":   {Line: 1, Column: 5_000_000_124, Open: "["},
		"ndjson": {Line: 170_000_001, Column: 3},
	} {
		s := goldenContinuation()
		s.Object.Key, s.Object.Size, s.Count, s.Reader = "uploads/a long file."+name, 30_000_000_000, 7, &state
		all["continuation-"+name] = s
	}
	return all
}

func TestGoldenContinuations(t *testing.T) {
	schemas := readDocument(t).messageSchemas(t)
	for name, want := range goldenContinuations() {
		m, err := want.Message()
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".json", append(bytes.Clone(m.Body), '\n'))
		if err := schemas.check(m); err != nil {
			t.Errorf("%s does not match its schema: %v", name, err)
		}
	}
}

func TestBadReaderStates(t *testing.T) {
	for _, edit := range [][3]string{
		{"continuation-csv", `"continuations":7`, `"continuations":-7`},
		{"continuation-csv", `"size":30000000000`, `"size":5000000122`},
		{"continuation-csv", `"line":170000002`, `"line":0`},
		{"continuation-csv", `"line":170000002`, `"line":5000000125`},
		{"continuation-csv", `"column":1`, `"column":0`},
		{"continuation-csv", `"column":1`, `"column":1,"open":"["`},
		{"continuation-csv", `"separator":";"`, `"separator":""`},
		{"continuation-csv", `"separator":";"`, `"separator":";;"`},
		{"continuation-csv", `"separator":";"`, `"separator":"é"`},
		{"continuation-csv", `"separator":";"`, `"separator":"\n"`},
		{"continuation-csv", `"separator":";"`, `"separator":"\""`},
		{"continuation-csv", `"width":5`, `"width":3`},
		{"continuation-csv", `"width":5`, `"width":2000000`},
		{"continuation-csv", `"flavor":0`, `"flavor":3`},
		{"continuation-csv", `"flavor":0`, `"flavor":-1`},
		{"continuation-csv", `"person":3`, `"person":5`},
		{"continuation-csv", `"action":-1`, `"action":-2`},
		{"continuation-csv", `"action":-1`, `"action":3`},
		{"continuation-csv", `"nameless":1`, `"nameless":-1`},
		{"continuation-csv", `"nameless":1`, `"nameless":4`},
		{"continuation-csv", `"action":-1`, `"action":9000000000000000000000`},
		{"continuation-json", `"open":"["`, `"open":"]"`},
		{"continuation-json", `"open":"["`, `"open":"` + strings.Repeat("[", 100) + `"`},
		{"continuation-json", `"column":5000000124`, `"column":5000000125`},
		{"continuation-ndjson", `"column":3`, `"column":9223372036854775807`},
	} {
		good := readGolden(t, edit[0]+".json")
		body := bytes.Replace(good, []byte(edit[1]), []byte(edit[2]), 1)
		if bytes.Equal(good, body) {
			t.Fatalf("%s has no %s", edit[0], edit[1])
		}
		if s, err := events.DecodeContinuation(body); err == nil {
			t.Errorf("%s with %.60s: got %+v, want an error", edit[0], edit[2], s)
		}
	}
}

// goldenMessages returns the messages with golden files, by the names of the files.
func goldenMessages(t fataler) map[string]events.Message {
	messages := map[string]events.Message{}
	for name, b := range goldenBatches(t) {
		messages[name] = encode(b)
	}
	for name, c := range goldenChanges(t) {
		messages[name] = c.Message()
	}
	c, err := goldenContinuation().Message()
	if err != nil {
		t.Fatal(err)
	}
	messages["continuation"] = c
	return messages
}

func TestGoldenMessages(t *testing.T) {
	for name, m := range goldenMessages(t) {
		t.Run(name, func(t *testing.T) {
			golden(t, name+".json", append(bytes.Clone(m.Body), '\n'))
			rest := struct {
				ID         string            `json:"id"`
				Subject    string            `json:"subject"`
				Attributes map[string]string `json:"attributes"`
			}{m.ID, m.Subject, m.Attributes}
			golden(t, name+".message.json", indented(t, rest))
		})
	}
}

func TestGoldenMessagesDecode(t *testing.T) {
	testGoldenDecode(t, goldenBatches(t), events.DecodeBatch)
	testGoldenDecode(t, goldenChanges(t), events.DecodeChange)
	testGoldenDecode(t, goldenContinuations(), events.DecodeContinuation)
	testGoldenDecode(t, map[string]events.Continuation{"continuation": goldenContinuation()}, events.DecodeContinuation)
}

func testGoldenDecode[T any](t *testing.T, values map[string]T, decode func([]byte) (T, error)) {
	for name, want := range values {
		t.Run(name, func(t *testing.T) {
			got, err := decode(readGolden(t, name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("decoded golden file (-want +got):\n%s", diff)
			}
		})
	}
}

func goldenRejects() []events.Reject {
	return []events.Reject{
		{Line: 3, Offset: 40, Code: events.MissingFlavor, Reason: "flavor is empty; write 1 to 256 bytes of text",
			Raw: "dan,"},
		{Line: 7, Column: 5, Offset: 101, Code: events.MalformedRow, Reason: "a quote inside an unquoted field",
			Raw: "zo\"ë,\t\"vanilla\"\ufffd"},
	}
}

func goldenUploads() map[string]events.Upload {
	o := goldenObject()
	u := events.Upload{ID: o.UploadID(), Bucket: o.Bucket, Key: o.Key, ETag: o.ETag, Size: o.Size, Uploaded: o.Time}
	u.Started = u.Uploaded.Add(1500 * time.Millisecond)

	publishing := u
	publishing.Status = events.Publishing

	o.VersionID = "3HL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY"
	live := u
	live.ID, live.VersionID, live.Status, live.Format = o.UploadID(), o.VersionID, events.Live, "csv"
	live.Counts = events.Counts{Rows: 9, Applied: 6, Superseded: 1, Rejected: 2, Batches: 1, BatchesApplied: 1}
	live.Rejects, live.RejectsAt = goldenRejects(), "s3://reports/"+live.ID+"/rejects.ndjson"
	live.Published, live.Settled = u.Uploaded.Add(2*time.Second), u.Uploaded.Add(2250*time.Millisecond)

	failed := u
	failed.Status, failed.Format, failed.Rejects = events.Failed, "ndjson+gzip", []events.Reject{}
	failed.Failure = &events.Failure{Code: events.CorruptCompression,
		Reason: "the gzip data ends early; upload the file again", Line: 8, Column: 1, Offset: 120}
	failed.Counts = events.Counts{Rows: 7, Applied: 7, Batches: 1, BatchesApplied: 1}
	failed.Published, failed.Settled = live.Published, live.Settled
	return map[string]events.Upload{"upload-publishing": publishing, "upload-live": live, "upload-failed": failed}
}

func TestGoldenUploads(t *testing.T) {
	for name, want := range goldenUploads() {
		t.Run(name, func(t *testing.T) {
			golden(t, name+".json", indented(t, want))
			var got events.Upload
			if err := json.Unmarshal(readGolden(t, name+".json"), &got); err != nil {
				t.Fatal(err)
			}
			if want.Rejects == nil {
				want.Rejects = []events.Reject{} // JSON always has a list
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("upload (-want +got):\n%s", diff)
			}
		})
	}
}

func TestGoldenRejects(t *testing.T) {
	var lines []byte
	for _, r := range goldenRejects() {
		line, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(append(lines, line...), '\n')
	}
	golden(t, "rejects.ndjson", lines)
	var got []events.Reject
	for line := range strings.Lines(string(readGolden(t, "rejects.ndjson"))) {
		var r events.Reject
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	if diff := cmp.Diff(goldenRejects(), got); diff != "" {
		t.Errorf("rejects (-want +got):\n%s", diff)
	}
}

func indented(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v, jsontext.WithIndent("  "), json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}
