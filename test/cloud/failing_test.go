package cloud_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/test/cloud"
)

// The logical ids that osls gives functions.
const (
	ingestFunction = "IngestLambdaFunction"
	applyFunction  = "ApplyLambdaFunction"
)

// testRejects: bad rows are told with line and reason, the good ones are live.
func testRejects(t *testing.T, d *deployment) {
	d.put(t, "uploads/some bad.csv", "person,flavor\nandy,mint\n,vanilla\nbill,\nzed,coffee\n")
	u := d.settled(t, "uploads/some bad.csv")
	if want := (events.Counts{Rows: 4, Applied: 2, Rejected: 2, Batches: 1, BatchesApplied: 1}); u.Status != events.Live || u.Counts != want {
		t.Fatalf("%+v", u)
	}
	told := d.rejects(t, u)
	if len(told) != 2 || told[0].Line != 3 || told[1].Line != 4 || len(u.Rejects) != 2 {
		t.Errorf("in the reports bucket %+v, in the ledger %+v", told, u.Rejects)
	}
}

// rejects reads an upload's report.
func (d *deployment) rejects(t *testing.T, u events.Upload) (all []events.Reject) {
	t.Helper()
	if want := "s3://" + d.Ref("ReportsBucket") + "/" + u.ID + "/rejects.ndjson"; u.RejectsAt != want {
		t.Fatalf("the report is at %q, not %q", u.RejectsAt, want)
	}
	body, _, err := d.Admin().S3(t.Context(), http.MethodGet, strings.TrimPrefix(u.RejectsAt, "s3:/"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		var r events.Reject
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// testDuplicate: S3 announces at least once.
func testDuplicate(t *testing.T, d *deployment) {
	const key = "uploads/some bad.csv"
	before := d.settled(t, key)
	sent, _ := d.announced(t, key)
	ended := len(sent.Function.Invocations())
	sent.Function.InvokeAsync(t.Context(), sent.Event)
	await(t, "the repeated event is worked off", func() bool { return len(sent.Function.Invocations()) > ended })
	if done := sent.Function.Invocations()[ended]; done.Failed != "" {
		t.Errorf("the repeated event failed: %s", done.Answer)
	}
	if after := d.settled(t, key); after.Counts != before.Counts || !after.Settled.Equal(before.Settled) {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

// testVanished: an object that is deleted before it is read ends as failed, for all to see.
func testVanished(t *testing.T, d *deployment) {
	const key = "uploads/gone.csv"
	gone := make(chan error, 1)
	remove := d.Door.On(ingestFunction, "s3:GetObjectVersion", func() int {
		_, object := d.announced(t, key)
		_, _, err := d.Admin().S3(t.Context(), http.MethodDelete, "/"+object.Bucket+"/"+key+"?versionId="+object.VersionID, nil, nil)
		gone <- err
		return 0
	})
	defer remove()
	d.put(t, key, "person,flavor\nandy,nothing\n")
	u := d.settled(t, key)
	if err := <-gone; err != nil {
		t.Fatal(err)
	}
	if u.Status != events.Failed || u.Failure == nil || u.Failure.Code != events.ObjectVanished {
		t.Errorf("%+v", u)
	}
}

// testPoison: what can never be applied waits in the dead letters with the reason, and holds up nobody.
func testPoison(t *testing.T, d *deployment) {
	_, err := d.Admin().Query(t.Context(), "sns", "Publish", map[string]string{
		"TopicArn": d.Ref("UpdatesTopic"), "Message": "poison", "MessageAttributes.entry.1.Name": "type",
		"MessageAttributes.entry.1.Value.DataType": "String", "MessageAttributes.entry.1.Value.StringValue": "flavorless.updates.v1",
	})
	if err != nil {
		t.Fatal(err)
	}
	if m := d.find(t, d.of("ApplyDead"), "poison"); m.MessageAttributes["dead-reason"].StringValue == "" || m.MessageAttributes["dead-source"].StringValue != "apply" {
		t.Errorf("the dead letter says %+v", m)
	}
}

// testPoisonedChange: what announce can't read is kept, and holds up no change behind it.
func testPoisonedChange(t *testing.T, d *deployment) {
	behind := d.subscriber(t, "subscriber-behind", map[string]any{"person": []string{"behind"}})
	d.table(t, "PutItem", map[string]any{"Item": map[string]any{
		"shard": map[string]string{"N": "0"}, "person": map[string]string{"S": "poisoned"}, "flavor": map[string]string{"S": "arsenic"}, "version": map[string]string{"S": "none"},
	}}, nil)
	d.put(t, "uploads/behind.csv", "person,flavor\nbehind,mint\n")
	d.find(t, behind, `"behind"`)
	dead := d.of("AnnounceDead")
	if m := d.find(t, dead, "poisoned"); m.MessageAttributes["dead-source"].StringValue != "announce" {
		t.Errorf("the dead letter says %+v", m)
	}
	d.table(t, "DeleteItem", map[string]any{"Key": map[string]any{"shard": map[string]string{"N": "0"}, "person": map[string]string{"S": "poisoned"}}}, nil)
	d.find(t, dead, "REMOVE") // which it can't read either
}

// table calls an operation on the favorites past the door's guard.
func (d *deployment) table(t *testing.T, operation string, in map[string]any, out any) {
	t.Helper()
	in["TableName"] = d.Ref("FavoritesTable")
	if err := d.Admin().JSON(t.Context(), "DynamoDB_20120810."+operation, in, out); err != nil {
		t.Error(err)
	}
}

// testExhausted: what fails on every try gets there, too, by the queue's own policy; what was behind it is live.
func testExhausted(t *testing.T, d *deployment) {
	down := d.Door.On(applyFunction, "dynamodb:PartiQLInsert", func() int { return http.StatusForbidden })
	d.put(t, "uploads/down.csv", "person,flavor\ndown,mint\n")
	dead := d.find(t, d.of("ApplyDead"), `"down"`)
	down()
	// Redriven, it is as if nothing had been.
	if err := d.Admin().JSON(t.Context(), "AmazonSQS.SendMessage", map[string]any{"QueueUrl": d.Ref("ApplyQueue"), "MessageBody": dead.Body}, nil); err != nil {
		t.Fatal(err)
	}
	if u := d.settled(t, "uploads/down.csv"); u.Status != events.Live || u.Counts.Applied != 1 {
		t.Errorf("%+v", u)
	}
}

// testIngestFails: an event on which every try fails goes to the function's destination.
func testIngestFails(t *testing.T, d *deployment) {
	var tries int
	down := d.Door.On(ingestFunction, "dynamodb:UpdateItem", func() int { tries++; return http.StatusForbidden }) // the SDK tries a 500 for a minute
	defer down()
	const key = "uploads/unlucky.csv"
	d.put(t, key, "person,flavor\nandy,bad luck\n")
	sent, _ := d.announced(t, key)
	var record struct {
		RequestContext  struct{ Condition string }
		RequestPayload  json.RawMessage
		ResponsePayload struct{ ErrorMessage string }
	}
	if err := json.Unmarshal([]byte(d.find(t, d.of("IngestDead"), "unlucky.csv").Body), &record); err != nil {
		t.Fatal(err)
	}
	if record.RequestContext.Condition != "RetriesExhausted" || string(record.RequestPayload) != string(sent.Event) || record.ResponsePayload.ErrorMessage == "" {
		t.Errorf("the record of the failure: %+v", record)
	}
	if tries != 3 {
		t.Errorf("tried %d times, not once and two times more", tries)
	}
	// Once all is well, the event can be given to the function as it was kept.
	down()
	sent.Function.InvokeAsync(t.Context(), record.RequestPayload)
	if u := d.settled(t, key); u.Status != events.Live || u.Counts.Applied != 1 {
		t.Errorf("%+v", u)
	}
}

// testResumed: what an invocation has no time for is handed on through the resume queue, report and all.
func testResumed(t *testing.T, d *deployment) {
	ingest := d.Functions[ingestFunction]
	defer ingest.SetTimeout(ingest.Timeout)
	ingest.SetTimeout(15 * time.Second) // less than what it keeps in reserve: it stops after each batch
	ended := len(ingest.Invocations())
	flavor := strings.Repeat("very ", 40) + "long"
	var file strings.Builder
	file.WriteString("person,flavor\n,of nobody\n")
	const rows = 1000
	for i := range rows {
		fmt.Fprintf(&file, "person %d,%s %d\n", i%10, flavor, i)
	}
	file.WriteString(",of nobody either\n")
	const key = "uploads/long.csv"
	d.put(t, key, file.String())
	u := d.settled(t, key)
	if u.Status != events.Live || u.Counts.Rows != rows+2 || u.Counts.Rejected != 2 || u.Counts.Batches < 3 {
		t.Fatalf("%+v", u)
	}
	if told := d.rejects(t, u); len(told) != 2 || len(u.Rejects) != 2 || told[1].Line != rows+3 {
		t.Errorf("the report of the whole file: %+v", told)
	}
	if runs := int64(len(ingest.Invocations()) - ended); runs < u.Counts.Batches {
		t.Errorf("%d batches in %d invocations", u.Counts.Batches, runs)
	}
	if got := d.ask(t, http.MethodGet, "/ice-cream/person%209", d.token); !strings.Contains(string(got.body), " 999") {
		t.Errorf("GET /ice-cream/person 9: %d %s", got.status, got.body)
	}
}

// testLoop reads a file that is continued a hundred times, which Lambda allows by the function's setting. Without the setting,
// Lambda refuses the 17th invocation, and the rest of a file waits among the dead letters.
func testLoop(t *testing.T, d *deployment) {
	ingest := d.Functions[ingestFunction]
	defer ingest.SetTimeout(ingest.Timeout)
	ingest.SetTimeout(15 * time.Second) // less than what it keeps in reserve: it stops after each batch
	file := func(batches int) string {  // of few rows: each takes twice its length in a message
		var b strings.Builder
		b.WriteString("person,flavor\n")
		for i := 0; b.Len() < batches*32_000; i++ {
			fmt.Fprintf(&b, "%s%d,%s%04d\n", strings.Repeat(`\`, 240), i%10, strings.Repeat(`\`, 240), i)
		}
		return b.String()
	}
	invoked := len(ingest.Invocations())
	d.put(t, "uploads/loop.csv", file(42))
	for n := 10; n <= 40; n += 10 { // on a busy machine it takes longer than one await
		await(t, fmt.Sprintf("it is invoked %d times", n), func() bool { return len(ingest.Invocations())-invoked >= n })
	}
	u := d.settled(t, "uploads/loop.csv")
	if u.Status != events.Live || u.Counts.Batches < 41 {
		t.Errorf("%+v", u)
	}
	if runs := len(ingest.Invocations()) - invoked; runs < 41 {
		t.Errorf("it was read in %d invocations, want more than 40", runs)
	}

	ingest.SetRecursive(false)
	defer ingest.SetRecursive(true)
	invoked = len(ingest.Invocations())
	d.put(t, "uploads/cut loop.csv", file(20))
	rest := d.find(t, d.of("ResumeDead"), "uploads/cut loop.csv")
	if runs := len(ingest.Invocations()) - invoked; runs != 16 {
		t.Errorf("it was invoked %d times in one chain, want 16", runs)
	}
	ingest.SetRecursive(true)
	again := map[string]any{"QueueUrl": d.Ref("ResumeQueue"), "MessageBody": rest.Body}
	if err := d.Admin().JSON(t.Context(), "AmazonSQS.SendMessage", again, nil); err != nil {
		t.Fatal(err)
	}
	if u := d.settled(t, "uploads/cut loop.csv"); u.Status != events.Live || u.Counts.Batches < 17 {
		t.Errorf("after the rest was sent again: %+v", u)
	}
}

// testRace: somebody else writes between what apply reads and what it writes. What is newer wins.
func testRace(t *testing.T, d *deployment) {
	d.put(t, "uploads/race.csv", "person,flavor\nracer,old\n")
	d.settled(t, "uploads/race.csv")
	var stored struct{ Items []map[string]any }
	d.table(t, "Scan", map[string]any{"FilterExpression": "person = :racer", "ExpressionAttributeValues": map[string]any{":racer": map[string]string{"S": "racer"}}}, &stored)
	if len(stored.Items) != 1 {
		t.Fatalf("%v", stored)
	}
	item := stored.Items[0]
	d.table(t, "DeleteItem", map[string]any{"Key": map[string]any{"shard": item["shard"], "person": item["person"]}}, nil)
	var once sync.Once
	remove := d.Door.On(applyFunction, "dynamodb:PartiQLInsert", func() int {
		once.Do(func() { d.table(t, "PutItem", map[string]any{"Item": item}, nil) })
		return 0
	})
	defer remove()
	d.put(t, "uploads/race.csv", "person,flavor\nracer,new\n")
	if u := d.settled(t, "uploads/race.csv"); u.Status != events.Live || u.Counts.Applied != 1 {
		t.Errorf("%+v", u)
	}
	if got := d.ask(t, http.MethodGet, "/ice-cream/racer", d.token); !strings.Contains(string(got.body), `"new"`) {
		t.Errorf("GET /ice-cream/racer: %d %s", got.status, got.body)
	}
}

// testLongReport: a report that can't be read again while it is put together leaves nothing half-stored behind; the next
// try stores it whole. The file is so long that the command line uploads it in parts.
func testLongReport(t *testing.T, d *deployment) {
	const key, bad = "uploads/longreport.csv", 30_000
	file := filepath.Join(t.TempDir(), "longreport.csv")
	if err := os.WriteFile(file, []byte("person,flavor\nandy,mint\n"+strings.Repeat(strings.Repeat("x", 300)+",\n", bad)), 0o600); err != nil {
		t.Fatal(err)
	}
	var parts atomic.Int32
	mend := d.Door.On(ingestFunction, "s3:GetObject", func() int {
		if parts.Add(1) == 6 { // the first 8 MiB are being stored by then
			return http.StatusForbidden
		}
		return 0
	})
	defer mend()
	d.aws(t, "s3", "cp", file, "s3://"+d.Ref("UploadsBucket")+"/"+key)
	u := d.settled(t, key)
	if u.Status != events.Live || u.Counts.Applied != 1 || u.Counts.Rejected != bad || len(d.rejects(t, u)) != bad {
		t.Errorf("%+v", u.Counts)
	}
	if n := parts.Load(); n < 12 {
		t.Errorf("parts of the report were read %d times, which is no more than once", n)
	}
	await(t, "the parts of the report are removed", func() bool {
		list, _, err := d.Admin().S3(t.Context(), http.MethodGet, "/"+d.Ref("ReportsBucket")+"?list-type=2&prefix="+u.ID+"/rejects/", nil, nil)
		return err == nil && strings.Contains(string(list), "<ListBucketResult") && !strings.Contains(string(list), "<Key>")
	})
	if !strings.HasSuffix(u.ETag, "-2") {
		t.Errorf("it was not uploaded in parts: %+v", u)
	}
	body, _, err := d.Admin().S3(t.Context(), http.MethodGet, "/"+d.Ref("ReportsBucket")+"?uploads", nil, nil)
	if err != nil || strings.Contains(string(body), "<UploadId>") {
		t.Errorf("unfinished: %s %v", body, err)
	}
}

// testHung: the first answer that a reader waits for never comes. It asks again, and answers within the time it has.
func testHung(t *testing.T, d *deployment) {
	release := make(chan struct{})
	defer close(release)
	var readers sync.WaitGroup
	for path, reader := range map[string]struct{ function, action string }{
		"/team": {"TeamLambdaFunction", "dynamodb:Query"}, "/ice-cream/andy": {"LookupLambdaFunction", "dynamodb:GetItem"},
		"/uploads": {"UploadsLambdaFunction", "dynamodb:Query"},
	} {
		var hung atomic.Bool
		remove := d.Door.On(reader.function, reader.action, func() int {
			if !hung.Swap(true) {
				<-release
			}
			return 0
		})
		defer remove()
		readers.Go(func() {
			if got := d.ask(t, http.MethodGet, path, d.token); got.status != http.StatusOK {
				t.Errorf("GET %s: %d %s", path, got.status, got.body)
			}
			if !hung.Load() {
				t.Errorf("GET %s made no call of %s that could hang", path, reader.action)
			}
		})
	}
	readers.Wait()
}

// testNothingLeft: every message was worked off, and no dead letter is there that no test has taken. A span that reaches
// apply, or a batch that reaches ingest, would be one.
func testNothingLeft(t *testing.T, d *deployment) {
	count := func(id string) (n int) {
		var out struct{ Attributes map[string]string }
		in := map[string]any{"QueueUrl": d.Ref(id), "AttributeNames": []string{"All"}}
		if err := d.Admin().JSON(t.Context(), "AmazonSQS.GetQueueAttributes", in, &out); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"} {
			some, err := strconv.Atoi(out.Attributes[name])
			if err != nil {
				t.Fatal(err)
			}
			n += some
		}
		return n
	}
	for _, id := range []string{"ApplyQueue", "ResumeQueue"} {
		await(t, id+" is empty", func() bool { return count(id) == 0 })
	}
	for _, id := range []string{"ApplyDead", "ResumeDead", "IngestDead", "AnnounceDead", "UpdatesUndelivered"} {
		if n := count(id); n > 0 {
			q := d.of(id)
			d.receive(t, q)
			t.Errorf("%d in %s: %+v", n, id, q.got)
		}
	}
}

// testRoles holds each role against what was needed: by the functions' calls, and by AWS in their name. What is missing was
// denied on the way; what is never needed has to go.
func testRoles(t *testing.T, d *deployment) {
	for _, why := range d.Door.Refused() {
		t.Error(why)
	}
	used := d.Door.Used()
	for function, policy := range d.Roles {
		for _, s := range policy.Statements {
			for _, action := range s.Actions {
				for _, resource := range s.Resources {
					if !needed(used, function, action, resource) {
						t.Errorf("the role of %s allows %s on %s, which nobody needs", function, action, resource)
					}
				}
			}
		}
	}
}

func needed(used []cloud.Use, function, action, resource string) bool {
	for _, u := range used {
		if u.Function == function && u.Action == action && cloud.MatchARN(resource, u.Resource) {
			return true
		}
	}
	return false
}
