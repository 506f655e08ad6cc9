package cloud_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/testutil"
)

// Logical ids that osls gives functions.
const (
	ingestFunction = "IngestLambdaFunction"
	applyFunction  = "ApplyLambdaFunction"
)

// testRejects checks that rejected rows are reported with their lines and that the other rows are live.
func testRejects(t *testing.T, d *deployment) {
	const key = "uploads/some bad.csv"
	d.put(t, key, "person,flavor\nandy,mint\n,vanilla\nbill,\nzed,coffee\n")
	u := d.checkLive(t, key, events.Counts{Rows: 4, Applied: 2, Rejected: 2, Batches: 1, BatchesApplied: 1})
	report := d.rejects(t, u)
	if len(report) != 2 || report[0].Line != 3 || report[1].Line != 4 || len(u.Rejects) != 2 {
		t.Errorf("rejects in the reports bucket: %+v, in the ledger: %+v, want lines 3 and 4", report, u.Rejects)
	}
}

// rejects reads the report of an upload.
func (d *deployment) rejects(t *testing.T, u events.Upload) (all []events.Reject) {
	t.Helper()
	if want := "s3://" + d.Ref("ReportsBucket") + "/" + u.ID + "/rejects.ndjson"; u.RejectsAt != want {
		t.Fatalf("RejectsAt = %q, want %q", u.RejectsAt, want)
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

// testDuplicate delivers an event twice, since S3 delivers at least once.
func testDuplicate(t *testing.T, d *deployment) {
	const key = "uploads/some bad.csv"
	before := d.settled(t, key)
	sent, _ := d.notification(t, key)
	n := len(sent.Function.Invocations())
	sent.Function.InvokeAsync(t.Context(), sent.Event)
	testutil.WaitFor(t, "the duplicate is processed", func() bool { return len(sent.Function.Invocations()) > n })
	if done := sent.Function.Invocations()[n]; done.Failed != "" {
		t.Errorf("the duplicate failed: %s", done.Answer)
	}
	if after := d.settled(t, key); after.Counts != before.Counts || !after.Settled.Equal(before.Settled) {
		t.Errorf("after the duplicate the upload is %+v, want %+v", after, before)
	}
}

// testObjectGone deletes an object before ingest reads it: the upload fails with a code that says so.
func testObjectGone(t *testing.T, d *deployment) {
	const key = "uploads/gone.csv"
	deleted := make(chan error, 1)
	remove := d.Proxy.Intercept(ingestFunction, "s3:GetObjectVersion", func() int {
		_, object := d.notification(t, key)
		path := "/" + object.Bucket + "/" + key + "?versionId=" + object.VersionID
		_, _, err := d.Admin().S3(t.Context(), http.MethodDelete, path, nil, nil)
		deleted <- err
		return 0
	})
	defer remove()
	d.put(t, key, "person,flavor\nandy,nothing\n")
	u := d.settled(t, key)
	if err := <-deleted; err != nil {
		t.Fatal(err)
	}
	if u.Status != events.Failed || u.Failure == nil || u.Failure.Code != events.ObjectVanished {
		t.Errorf("the upload is %s with failure %+v, want failed with %s", u.Status, u.Failure, events.ObjectVanished)
	}
}

// testPoison publishes a message that can never be applied: it goes to the dead-letter queue with the reason.
func testPoison(t *testing.T, d *deployment) {
	_, err := d.Admin().Query(t.Context(), "sns", "Publish", map[string]string{
		"TopicArn": d.Ref("UpdatesTopic"), "Message": "poison", "MessageAttributes.entry.1.Name": "type",
		"MessageAttributes.entry.1.Value.DataType":    "String",
		"MessageAttributes.entry.1.Value.StringValue": "flavorless.updates.v1",
	})
	if err != nil {
		t.Fatal(err)
	}
	m := d.find(t, d.queue("ApplyDead"), "poison")
	if m.MessageAttributes["dead-reason"].StringValue == "" || m.MessageAttributes["dead-source"].StringValue != "apply" {
		t.Errorf("the dead letter is %+v, want a reason and the source apply", m)
	}
}

// testPoisonChange writes an item that announce can't read: its change goes to the dead-letter queue, and the changes
// after it are announced.
func testPoisonChange(t *testing.T, d *deployment) {
	behind := d.subscribe(t, "subscriber-behind", map[string]any{"person": []string{"behind"}})
	type attribute = map[string]string
	key := map[string]any{"shard": attribute{"N": "0"}, "person": attribute{"S": "poisoned"}}
	d.table(t, "PutItem", map[string]any{"Item": map[string]any{
		"shard": key["shard"], "person": key["person"], "flavor": attribute{"S": "arsenic"},
		"version": attribute{"S": "none"},
	}}, nil)
	d.put(t, "uploads/behind.csv", "person,flavor\nbehind,mint\n")
	d.find(t, behind, `"behind"`)
	dead := d.queue("AnnounceDead")
	if m := d.find(t, dead, "poisoned"); m.MessageAttributes["dead-source"].StringValue != "announce" {
		t.Errorf("the dead letter is %+v, want the source announce", m)
	}
	d.table(t, "DeleteItem", map[string]any{"Key": key}, nil)
	d.find(t, dead, "REMOVE") // announce can't read the deletion either
}

// table calls an operation on the favorites with the test's own permissions.
func (d *deployment) table(t *testing.T, operation string, in map[string]any, out any) {
	t.Helper()
	in["TableName"] = d.Ref("FavoritesTable")
	if err := d.Admin().JSON(t.Context(), "DynamoDB_20120810."+operation, in, out); err != nil {
		t.Error(err)
	}
}

// testExhausted lets a message fail on every attempt: SQS moves it to the dead-letter queue, from which it can be
// redriven.
func testExhausted(t *testing.T, d *deployment) {
	fix := d.Proxy.Intercept(applyFunction, "dynamodb:PartiQLInsert", func() int { return http.StatusForbidden })
	d.put(t, "uploads/down.csv", "person,flavor\ndown,mint\n")
	dead := d.find(t, d.queue("ApplyDead"), `"down"`)
	fix()
	d.sqs(t, "SendMessage", "ApplyQueue", map[string]any{"MessageBody": dead.Body}, nil)
	d.checkLive(t, "uploads/down.csv", events.Counts{Rows: 1, Applied: 1, Batches: 1, BatchesApplied: 1})
}

// testIngestFails lets an event fail on every attempt: it goes to the function's destination, from which it can be
// redriven.
func testIngestFails(t *testing.T, d *deployment) {
	var attempts int
	fix := d.Proxy.Intercept(ingestFunction, "dynamodb:UpdateItem", func() int {
		attempts++
		return http.StatusForbidden // the SDK would retry 500 for a minute
	})
	defer fix()
	const key = "uploads/unlucky.csv"
	d.put(t, key, "person,flavor\nandy,bad luck\n")
	sent, _ := d.notification(t, key)
	var record struct {
		RequestContext  struct{ Condition string }
		RequestPayload  json.RawMessage
		ResponsePayload struct{ ErrorMessage string }
	}
	if err := json.Unmarshal([]byte(d.find(t, d.queue("IngestDead"), "unlucky.csv").Body), &record); err != nil {
		t.Fatal(err)
	}
	if record.RequestContext.Condition != "RetriesExhausted" || string(record.RequestPayload) != string(sent.Event) ||
		record.ResponsePayload.ErrorMessage == "" {
		t.Errorf("the invocation record is %+v, want RetriesExhausted with the event and an error message", record)
	}
	if attempts != 3 {
		t.Errorf("the event was attempted %d times, want 3", attempts)
	}
	fix()
	sent.Function.InvokeAsync(t.Context(), record.RequestPayload)
	d.checkLive(t, key, events.Counts{Rows: 1, Applied: 1, Batches: 1, BatchesApplied: 1})
}
