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

func TestBatchComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := batch().Draw(t, "batch")
		m := encode(want)
		got, err := events.DecodeBatch(m.Body)
		if err != nil {
			t.Fatalf("%v\n%s", err, m.Body)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("-want +got:\n%s", diff)
		}
		if !json.Valid(m.Body) {
			t.Fatalf("not JSON: %s", m.Body)
		}
		upload := want.Origin.Upload()
		wantAbout := events.Message{
			ID: fmt.Sprintf("%s/%d", upload, want.First), Subject: events.UpdatesType, Body: m.Body,
			Attributes: map[string]string{"type": events.UpdatesType, "upload": upload},
		}
		if diff := cmp.Diff(wantAbout, m); diff != "" || want.ID() != m.ID || want.Upload() != upload {
			t.Fatalf("id %s of upload %s, -want +got:\n%s", want.ID(), want.Upload(), diff)
		}
	})
}

// One writer makes many batches: each is as if a writer of its own had made it.
func TestBatchWriterGoesOn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		origin := origin().Draw(t, "origin")
		w := events.NewBatchWriter(origin)
		var bodies []string // as they were when they were made
		var messages []events.Message
		for range rapid.IntRange(1, 4).Draw(t, "batches") {
			b := events.Batch{Origin: origin, Rows: rows(1).Draw(t, "rows")}
			for _, u := range b.Rows {
				w.Add(u)
			}
			m := w.Message()
			if diff := cmp.Diff(encode(b), m); diff != "" {
				t.Fatalf("-want +got:\n%s", diff)
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
	const envelope = 600 // bytes; ingest leaves far more
	rapid.Check(t, func(t *rapid.T) {
		b := batch().Draw(t, "batch")
		w := events.NewBatchWriter(b.Origin)
		if w.Size() != 0 || w.Rows() != 0 {
			t.Fatalf("a new writer has size %d, %d rows", w.Size(), w.Rows())
		}
		for i, u := range b.Rows {
			before := w.Size()
			w.Add(u)
			if grown := w.Size() - before; i > 0 && grown > events.MaxRow || grown > events.MaxRow+envelope {
				t.Fatalf("row %d made it grow by %d", i, grown)
			}
			part := b
			part.Rows = b.Rows[:i+1]
			if want := len(encode(part).Body); w.Size() != want || w.Rows() != i+1 {
				t.Fatalf("Size, Rows = %d, %d, want %d, %d", w.Size(), w.Rows(), want, i+1)
			}
		}
		size := w.Size()
		if m := w.Message(); len(m.Body) != size || w.Size() != 0 || w.Rows() != 0 {
			t.Fatalf("Size was %d of a body of %d, and is now %d with %d rows", size, len(m.Body), w.Size(), w.Rows())
		}
	})
}

func TestMaxRow(t *testing.T) {
	w := events.NewBatchWriter(mustOrigin(t, goldenObject()))
	w.Add(events.Update{Offset: 0, Person: "a", Flavor: "b"})
	before := w.Size()
	// All that JSON escapes of what a name can hold is escaped with one more byte.
	w.Add(events.Update{
		Offset: events.MaxOffset, Person: strings.Repeat(`"`, events.MaxName), Flavor: strings.Repeat(`\`, events.MaxName),
	})
	if grown := w.Size() - before; grown > events.MaxRow || grown < events.MaxRow-16 {
		t.Errorf("the largest row takes %d bytes, MaxRow is %d", grown, events.MaxRow)
	}
}

// edit is a change to a good body, and the error that it should lead to.
type edit struct {
	old, new string
	want     string
	schema   bool // a JSON Schema can find it, too
}

// apply gives the body with the edit.
func (e edit) apply(t *testing.T, body []byte) []byte {
	t.Helper()
	if e.old == "" {
		return []byte(e.new)
	}
	if !strings.Contains(string(body), e.old) {
		t.Fatalf("there is no %s in\n%s", e.old, body)
	}
	return []byte(strings.Replace(string(body), e.old, e.new, 1))
}

func (e edit) check(t *testing.T, body []byte, err error) {
	t.Helper()
	if err == nil {
		t.Fatalf("decoded:\n%.1000s", body)
	}
	if !strings.Contains(err.Error(), e.want) || len(err.Error()) > 500 {
		t.Errorf("got error: %v\nwant one with: %s", err, e.want)
	}
}

// badBatches are edits of testdata/batch.json.
func badBatches() map[string]edit {
	id := goldenObject().UploadID()
	return map[string]edit{
		"nothing":                  {"", " ", "EOF", false},
		"no JSON":                  {"", "hello", "invalid character", false},
		"null":                     {"", "null", "there is null instead of {", true},
		"an array":                 {"", "[]", "there is [ instead of {", true},
		"an empty object":          {"", "{}", `its type is "", not "flavorless.updates.v1"`, true},
		"not UTF-8":                {"andy", "an\xffdy", "invalid UTF-8", false},
		"cut off":                  {`"a/b"]]}}`, `"a/b"]]`, "unexpected EOF", false},
		"trailing data":            {`"a/b"]]}}`, `"a/b"]]}} {}`, "something behind the event", false},
		"another type":             {`"type":"flavorless.updates.v1"`, `"type":"flavorless.change.v1"`, `its type is "flavorless.change.v1", not "flavorless.updates.v1"`, true},
		"another version":          {`"type":"flavorless.updates.v1"`, `"type":"flavorless.updates.v2"`, `its type is "flavorless.updates.v2"`, true},
		"a long type":              {`"type":"flavorless.updates.v1"`, `"type":"` + strings.Repeat("x", 10000) + `"`, "its type is", true},
		"no type":                  {`"type":"flavorless.updates.v1",`, ``, `its type is ""`, true},
		"type a number":            {`"type":"flavorless.updates.v1"`, `"type":1`, `at /type there is number instead of string`, true},
		"type twice":               {`"type":"flavorless.updates.v1"`, `"type":"x","type":"flavorless.updates.v1"`, "duplicate", false},
		"data null":                {`"data":{`, `"data":null,"x":{`, "at /data there is null instead of {", true},
		"data a string":            {`"data":{`, `"data":"","x":{`, "at /data there is string instead of {", true},
		"no data":                  {`"data":{`, `"date":{`, "it has no origin", true},
		"no origin":                {`"origin":`, `"origins":`, "it has no origin", true},
		"origin null":              {`"origin":"`, `"origin":null,"x":"`, "at /data/origin there is null instead of string", true},
		"origin empty":             {`"origin":"`, `"origin":"","x":"`, `"" is not the origin of a version`, true},
		"origin without an id":     {id + `","first"`, `","first"`, "is not the origin of a version", true},
		"origin with a bad id":     {id + `","first"`, "u" + id[1:] + `","first"`, "is not the origin of a version", true},
		"origin with a long id":    {id + `","first"`, strings.Repeat(id, 1000) + `","first"`, "is not the origin of a version", true},
		"no first":                 {`"first":14,`, ``, "does not say where its first row is", true},
		"first a string":           {`"first":14`, `"first":"14"`, `at /data/first there is "14" instead of an offset`, true},
		"first a fraction":         {`"first":14`, `"first":14.5`, `at /data/first there is 14.5 instead of an offset`, true},
		"first negative":           {`"first":14`, `"first":-1`, `at /data/first there is -1 instead of an offset`, true},
		"first not the first":      {`"first":14`, `"first":15`, "its first row is at 14, not at 15", false},
		"no columns":               {`"columns":`, `"column":`, "it has no columns", true},
		"columns null":             {`"columns":`, `"columns":null,"x":`, "its columns are null, not [", true},
		"another column":           {`"columns":["offset","person","flavor"]`, `"columns":["offset","person","taste"]`, `its columns are ["offset","person","taste"], not ["offset","person","flavor"]`, true},
		"another order of columns": {`"columns":["offset","person","flavor"]`, `"columns":["person","offset","flavor"]`, "its columns are", true},
		"one column more":          {`"flavor"]`, `"flavor","action"]`, "its columns are", true},
		"no rows":                  {`"rows":`, `"row":`, "it has no rows", true},
		"rows null":                {`"rows":`, `"rows":null,"x":`, "at /data/rows there is null instead of [", true},
		"rows empty":               {`"rows":`, `"rows":[],"x":`, "it has no rows", true},
		"row an object":            {`[14,"andy","cookie dough"]`, `{"offset":14}`, "at /data/rows/0 there is { instead of ]", true},
		"row null":                 {`[14,"andy","cookie dough"]`, `null`, "at /data/rows/0 there is null instead of ]", true},
		"row empty":                {`[14,"andy","cookie dough"]`, `[]`, "row 1: ", true},
		"row too short":            {`[14,"andy","cookie dough"]`, `[14,"andy"]`, "row 1: at /data/rows/0 there is ] instead of string", true},
		"row too long":             {`[14,"andy","cookie dough"]`, `[14,"andy","cookie dough",1]`, "row 1: at /data/rows/0/3 there is number instead of ]", true},
		"offset a string":          {`[32,`, `["32",`, `row 2: at /data/rows/1/0 there is "32" instead of an offset`, true},
		"offset null":              {`[32,`, `[null,`, `row 2: at /data/rows/1/0 there is null instead of an offset`, true},
		"offset an object":         {`[32,`, `[{"x":"` + strings.Repeat("x", 10000) + `"},`, `instead of an offset`, true},
		"offset negative":          {`[32,`, `[-32,`, `there is -32 instead of an offset`, true},
		"offset beyond all files":  {`[281474976710655,`, `[281474976710656,`, "there is 281474976710656 instead of an offset, a whole number from 0 to 281474976710655", true},
		"offset beyond 64 bits":    {`[281474976710655,`, `[99999999999999999999,`, "instead of an offset", true},
		"rows out of order":        {`[56,`, `[31,`, "row 3: offset 31 does not come after 32", false},
		"a row twice":              {`[56,`, `[32,`, "row 3: offset 32 does not come after 32", false},
		"person a number":          {`"andy"`, `7`, "row 1: at /data/rows/0/1 there is number instead of string", true},
		"person null":              {`"andy"`, `null`, "row 1: at /data/rows/0/1 there is null instead of string", true},
		"person empty":             {`"andy"`, `""`, "row 1: person is empty", true},
		"person blank":             {`"andy"`, `" "`, "row 1: person is empty", true},
		"person with spaces":       {`"andy"`, `" andy"`, `row 1: person " andy" is not normalised`, true},
		"person decomposed":        {`"zoë"`, `"zoe\u0308"`, `row 2: person "zoe\u0308" is not normalised`, false},
		"person with a line end":   {`"andy"`, `"an\ndy"`, "row 1: person has the control character U+000A inside", true},
		"person a noncharacter":    {`"andy"`, `"\uffff"`, "row 1: person has the control character U+FFFF inside", true},
		"flavor turned around":     {`"cookie dough"`, `"a\u202eb"`, "row 1: flavor has the control character U+202E inside", true},
		"person too long":          {`"andy"`, `"` + strings.Repeat("a", 257) + `"`, "row 1: person has 257 bytes, 256 are allowed", true},
		"person far too long":      {`"andy"`, `"` + strings.Repeat("é", 257) + `"`, "row 1: person has 514 bytes", true},
		"person a long blank":      {`"andy"`, `"andy` + strings.Repeat(" ", 10000) + `"`, "is not normalised", true},
		"person half a surrogate":  {`"andy"`, `"\ud83c"`, "surrogate", false},
		"flavor a number":          {`"cookie dough"`, `7`, "row 1: at /data/rows/0/2 there is number instead of string", true},
		"flavor false":             {`"cookie dough"`, `false`, "row 1: at /data/rows/0/2 there is false instead of string", true},
		"flavor empty":             {`"cookie dough"`, `""`, "row 1: flavor is empty", true},
		"flavor not trimmed":       {`"cookie dough"`, `"cookie dough\ufeff"`, "is not normalised", true},
	}
}

func TestDecodeBatchRefuses(t *testing.T) {
	good := readGolden(t, "batch.json")
	for name, e := range badBatches() {
		t.Run(name, func(t *testing.T) {
			body := e.apply(t, good)
			b, err := events.DecodeBatch(body)
			e.check(t, body, err)
			if diff := cmp.Diff(events.Batch{}, b); diff != "" {
				t.Errorf("with the error came a batch, -want +got:\n%s", diff)
			}
		})
	}
}

// What a later flavorless may add does not disturb, nor does the order of members.
func TestDecodeBatchSkips(t *testing.T) {
	origin := mustOrigin(t, goldenObject())
	body := `{"data":{"new":[{"rows":1}],"rows":[[3,"andy",null]],"columns":[ "offset", "person", "flavor" ],"first":3,"origin":"` +
		string(origin) + `"},"traceparent":"00-x","new":{"type":"x"},"type":"flavorless.updates.v1"}` + "\n"
	got, err := events.DecodeBatch([]byte(body))
	want := events.Batch{Origin: origin, First: 3, Rows: []events.Update{{Offset: 3, Person: "andy", Remove: true}}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("error %v, -want +got:\n%s", err, diff)
	}
}

func TestFormatTime(t *testing.T) {
	at := time.Date(2026, 11, 23, 9, 19, 0, 120_999_999, time.FixedZone("", 3600))
	if got, want := events.FormatTime(at), "2026-11-23T08:19:00.120Z"; got != want {
		t.Errorf("FormatTime(%s) = %s, want %s", at, got, want)
	}
}
