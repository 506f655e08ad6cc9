package events_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
)

func TestBatchRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := batch().Draw(t, "batch")
		m := encode(want)
		got, err := events.DecodeBatch(m.Body)
		if err != nil {
			t.Fatalf("DecodeBatch(%s): %v", m.Body, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("DecodeBatch(%s) (-want +got):\n%s", m.Body, diff)
		}
		if !json.Valid(m.Body) {
			t.Fatalf("body is not valid JSON: %s", m.Body)
		}
		upload := want.Origin.UploadID()
		wantMessage := events.Message{
			ID: fmt.Sprintf("%s/%d", upload, want.First), Subject: events.UpdatesType, Body: m.Body,
			Attributes: map[string]string{"type": events.UpdatesType, "upload": upload},
		}
		if diff := cmp.Diff(wantMessage, m); diff != "" {
			t.Fatalf("message (-want +got):\n%s", diff)
		}
		if want.ID() != m.ID || want.UploadID() != upload {
			t.Fatalf("ID(), UploadID() = %s, %s, want %s, %s", want.ID(), want.UploadID(), m.ID, upload)
		}
	})
}

// TestBatchWriterReuse checks that a writer encodes each batch as a new writer would.
func TestBatchWriterReuse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		origin := origin().Draw(t, "origin")
		w := events.NewBatchWriter(origin)
		var bodies []string // copies
		var messages []events.Message
		for range rapid.IntRange(1, 4).Draw(t, "batches") {
			b := events.Batch{Origin: origin, Rows: rows(1).Draw(t, "rows")}
			for _, u := range b.Rows {
				w.Add(u)
			}
			m := w.Message()
			if diff := cmp.Diff(encode(b), m); diff != "" {
				t.Fatalf("message (-want +got):\n%s", diff)
			}
			bodies, messages = append(bodies, string(m.Body)), append(messages, m)
		}
		for i, m := range messages {
			if string(m.Body) != bodies[i] {
				t.Fatalf("body %d was overwritten by a later batch", i)
			}
		}
	})
}

func TestBatchWriterSize(t *testing.T) {
	const envelope = 600 // bytes; ingest leaves far more space
	rapid.Check(t, func(t *rapid.T) {
		b := batch().Draw(t, "batch")
		w := events.NewBatchWriter(b.Origin)
		if w.Size() != 0 || w.Rows() != 0 {
			t.Fatalf("new writer: Size, Rows = %d, %d, want 0, 0", w.Size(), w.Rows())
		}
		for i, u := range b.Rows {
			before := w.Size()
			w.Add(u)
			if grown := w.Size() - before; i > 0 && grown > events.MaxEncodedRow || grown > events.MaxEncodedRow+envelope {
				t.Fatalf("row %d added %d bytes, want at most %d", i, grown, events.MaxEncodedRow)
			}
			part := b
			part.Rows = b.Rows[:i+1]
			if want := len(encode(part).Body); w.Size() != want || w.Rows() != i+1 {
				t.Fatalf("Size, Rows = %d, %d, want %d, %d", w.Size(), w.Rows(), want, i+1)
			}
		}
		size := w.Size()
		if m := w.Message(); len(m.Body) != size || w.Size() != 0 || w.Rows() != 0 {
			t.Fatalf("body has %d bytes, want %d; then Size, Rows = %d, %d, want 0, 0", len(m.Body), size, w.Size(), w.Rows())
		}
	})
}

func TestMaxEncodedRow(t *testing.T) {
	w := events.NewBatchWriter(mustOrigin(t, goldenObject()))
	w.Add(events.Update{Offset: 0, Person: "a", Flavor: "b"})
	before := w.Size()
	// Every character of a name that JSON escapes becomes one byte longer.
	w.Add(events.Update{
		Offset: events.MaxOffset, Person: strings.Repeat(`"`, events.MaxName), Flavor: strings.Repeat(`\`, events.MaxName),
	})
	if grown := w.Size() - before; grown > events.MaxEncodedRow || grown < events.MaxEncodedRow-16 {
		t.Errorf("the largest row has %d bytes, want at most, and about, %d", grown, events.MaxEncodedRow)
	}
}

// edit is a replacement that makes a valid body invalid. An empty old text replaces the whole body.
type edit struct {
	old, new string
	schema   bool // whether a JSON schema can detect the fault
}

// apply returns the edited body.
func (e edit) apply(t *testing.T, body []byte) []byte {
	t.Helper()
	if e.old == "" {
		return []byte(e.new)
	}
	if !strings.Contains(string(body), e.old) {
		t.Fatalf("%s does not contain %s", body, e.old)
	}
	return []byte(strings.Replace(string(body), e.old, e.new, 1))
}

// testRefusals checks that decode refuses each edit of the golden file with an error of reasonable length.
func testRefusals[T any](t *testing.T, goldenFile string, edits map[string]edit, decode func([]byte) (T, error)) {
	good := readGolden(t, goldenFile)
	for name, e := range edits {
		t.Run(name, func(t *testing.T) {
			body := e.apply(t, good)
			got, err := decode(body)
			if err == nil || len(err.Error()) > 500 {
				t.Errorf("decoding %.1000s: got error %v, want one of at most 500 bytes", body, err)
			}
			var zero T
			if diff := cmp.Diff(zero, got); diff != "" {
				t.Errorf("value with the error (-want +got):\n%s", diff)
			}
		})
	}
}

// badBatches are edits of testdata/batch.json.
func badBatches() map[string]edit {
	id := goldenObject().UploadID()
	return map[string]edit{
		"nothing":               {"", " ", false},
		"no JSON":               {"", "hello", false},
		"null":                  {"", "null", true},
		"an array":              {"", "[]", true},
		"an empty object":       {"", "{}", true},
		"not UTF-8":             {"andy", "an\xffdy", false},
		"cut off":               {`"a/b"]]}}`, `"a/b"]]`, false},
		"trailing data":         {`"a/b"]]}}`, `"a/b"]]}} {}`, false},
		"another type":          {`"type":"flavorless.updates.v1"`, `"type":"flavorless.change.v1"`, true},
		"another version":       {`"type":"flavorless.updates.v1"`, `"type":"flavorless.updates.v2"`, true},
		"a long type":           {`"type":"flavorless.updates.v1"`, `"type":"` + strings.Repeat("x", 10000) + `"`, true},
		"no type":               {`"type":"flavorless.updates.v1",`, ``, true},
		"type a number":         {`"type":"flavorless.updates.v1"`, `"type":1`, true},
		"type twice":            {`"type":"flavorless.updates.v1"`, `"type":"x","type":"flavorless.updates.v1"`, false},
		"data null":             {`"data":{`, `"data":null,"x":{`, true},
		"data a string":         {`"data":{`, `"data":"","x":{`, true},
		"no data":               {`"data":{`, `"date":{`, true},
		"no origin":             {`"origin":`, `"origins":`, true},
		"origin null":           {`"origin":"`, `"origin":null,"x":"`, true},
		"origin empty":          {`"origin":"`, `"origin":"","x":"`, true},
		"origin without an id":  {id + `","first"`, `","first"`, true},
		"origin with a bad id":  {id + `","first"`, "u" + id[1:] + `","first"`, true},
		"origin with a long id": {id + `","first"`, strings.Repeat(id, 1000) + `","first"`, true},
		"no first":              {`"first":14,`, ``, true},
		"first a string":        {`"first":14`, `"first":"14"`, true},
		"first a fraction":      {`"first":14`, `"first":14.5`, true},
		"first negative":        {`"first":14`, `"first":-1`, true},
		"first not the first":   {`"first":14`, `"first":15`, false},
		"no columns":            {`"columns":`, `"column":`, true},
		"columns null":          {`"columns":`, `"columns":null,"x":`, true},
		"another column":        {`"columns":["offset","person","flavor"]`, `"columns":["offset","person","taste"]`, true},
		"another order of columns": {`"columns":["offset","person","flavor"]`, `"columns":["person","offset","flavor"]`,
			true},
		"one column more":         {`"flavor"]`, `"flavor","action"]`, true},
		"no rows":                 {`"rows":`, `"row":`, true},
		"rows null":               {`"rows":`, `"rows":null,"x":`, true},
		"rows empty":              {`"rows":`, `"rows":[],"x":`, true},
		"row an object":           {`[14,"andy","cookie dough"]`, `{"offset":14}`, true},
		"row null":                {`[14,"andy","cookie dough"]`, `null`, true},
		"row empty":               {`[14,"andy","cookie dough"]`, `[]`, true},
		"row too short":           {`[14,"andy","cookie dough"]`, `[14,"andy"]`, true},
		"row too long":            {`[14,"andy","cookie dough"]`, `[14,"andy","cookie dough",1]`, true},
		"offset a string":         {`[32,`, `["32",`, true},
		"offset null":             {`[32,`, `[null,`, true},
		"offset an object":        {`[32,`, `[{"x":"` + strings.Repeat("x", 10000) + `"},`, true},
		"offset negative":         {`[32,`, `[-32,`, true},
		"offset beyond all files": {`[281474976710655,`, `[281474976710656,`, true},
		"offset beyond 64 bits":   {`[281474976710655,`, `[99999999999999999999,`, true},
		"rows out of order":       {`[56,`, `[31,`, false},
		"a row twice":             {`[56,`, `[32,`, false},
		"person a number":         {`"andy"`, `7`, true},
		"person null":             {`"andy"`, `null`, true},
		"person empty":            {`"andy"`, `""`, true},
		"person blank":            {`"andy"`, `" "`, true},
		"person with spaces":      {`"andy"`, `" andy"`, true},
		"person decomposed":       {`"zoë"`, `"zoe\u0308"`, false},
		"person with a line end":  {`"andy"`, `"an\ndy"`, true},
		"person a noncharacter":   {`"andy"`, `"\uffff"`, true},
		"flavor turned around":    {`"cookie dough"`, `"a\u202eb"`, true},
		"person too long":         {`"andy"`, `"` + strings.Repeat("a", 257) + `"`, true},
		"person far too long":     {`"andy"`, `"` + strings.Repeat("é", 257) + `"`, true},
		"person a long blank":     {`"andy"`, `"andy` + strings.Repeat(" ", 10000) + `"`, true},
		"person half a surrogate": {`"andy"`, `"\ud83c"`, false},
		"flavor a number":         {`"cookie dough"`, `7`, true},
		"flavor false":            {`"cookie dough"`, `false`, true},
		"flavor empty":            {`"cookie dough"`, `""`, true},
		"flavor not trimmed":      {`"cookie dough"`, `"cookie dough\ufeff"`, true},
	}
}

func TestDecodeBatchRefuses(t *testing.T) {
	testRefusals(t, "batch.json", badBatches(), events.DecodeBatch)
}

func TestDecodeBatchIgnoresUnknownMembersAndOrder(t *testing.T) {
	origin := mustOrigin(t, goldenObject())
	body := `{"data":{"new":[{"rows":1}],"rows":[[3,"andy",null]],` +
		`"columns":[ "offset", "person", "flavor" ],"first":3,"origin":"` +
		string(origin) + `"},"traceparent":"00-x","new":{"type":"x"},"type":"flavorless.updates.v1"}` + "\n"
	got, err := events.DecodeBatch([]byte(body))
	want := events.Batch{Origin: origin, First: 3, Rows: []events.Update{{Offset: 3, Person: "andy", Remove: true}}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("DecodeBatch(%s): error %v (-want +got):\n%s", body, err, diff)
	}
}

func TestFormatTime(t *testing.T) {
	at := time.Date(2026, 11, 23, 9, 19, 0, 120_999_999, time.FixedZone("", 3600))
	if got, want := events.FormatTime(at), "2026-11-23T08:19:00.120Z"; got != want {
		t.Errorf("FormatTime(%s) = %s, want %s", at, got, want)
	}
}
