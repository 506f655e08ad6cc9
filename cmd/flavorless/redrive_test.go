package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws/queues"
	"github.com/flavorless/flavorless/internal/aws/stack"
	"github.com/flavorless/flavorless/internal/operator"
)

// s3Event returns the event that S3 sends to ingest for an object.
func s3Event(key string) string {
	return fmt.Sprintf(`{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","eventTime":"2026-11-23T08:19:00.123Z",`+
		`"eventName":"ObjectCreated:Put",`+
		`"s3":{"bucket":{"name":"uploads"},"object":{"key":%q,"size":1,"eTag":"e","versionId":"v","sequencer":"0055"}}}]}`,
		key)
}

// failedInvocation returns the message that Lambda sends to the failure queue of a function that it invoked
// asynchronously.
// https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
func failedInvocation(payload string) string {
	return `{"version":"1.0","timestamp":"2026-11-23T08:25:00.000Z","requestContext":{"requestId":"r",` +
		`"functionArn":"arn:aws:lambda:us-east-1:123456789012:function:ingest:$LATEST",` +
		`"condition":"RetriesExhausted","approximateInvokeCount":3},"requestPayload":` + payload +
		`,"responseContext":{"statusCode":200,"executedVersion":"$LATEST",` +
		`"functionError":"Unhandled"},"responsePayload":{"errorMessage":"the ledger is down"}}`
}

// listed returns the output of redrive --json, by queue.
func (c *cloud) listed() map[string]operator.DeadQueue {
	c.t.Helper()
	got := command(c.t, "", "redrive", "--stack", c.stack, "--json")
	if got.code != exitOK || got.err != "" {
		c.t.Fatalf("redrive --json = %+v, want exit code %d and an empty stderr", got, exitOK)
	}
	all := map[string]operator.DeadQueue{}
	for line := range strings.Lines(got.out) {
		var d operator.DeadQueue
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			c.t.Fatalf("redrive --json prints %s (%v), want JSON", line, err)
		}
		all[d.Queue] = d
	}
	return all
}

// redrive runs the command, and checks its exit code.
func (c *cloud) redrive(code int, args ...string) result {
	c.t.Helper()
	got := command(c.t, "", append([]string{"redrive", "--stack", c.stack}, args...)...)
	if got.code != code || code == exitOK && got.err != "" {
		c.t.Errorf("%v: exit code %d, want %d; output %s; stderr %s", args, got.code, code, got.out, got.err)
	}
	return got
}

// bodies receives all messages of a queue, deletes them, and returns their bodies and attributes, sorted.
func (c *cloud) bodies(url string) (bodies []string) {
	c.t.Helper()
	for c.depth(url) > 0 {
		for _, m := range c.take(url, 10) {
			body := *m.Body
			for _, name := range slices.Sorted(maps.Keys(m.MessageAttributes)) {
				body += " " + name + "=" + *m.MessageAttributes[name].StringValue
			}
			bodies = append(bodies, body)
		}
	}
	slices.Sort(bodies)
	return bodies
}

func TestRedriveLists(t *testing.T) {
	c := deployStack(t, nil)
	if got := c.redrive(exitOK); strings.Contains(got.out, "REASON") ||
		strings.Count(got.out, " 0\n") != len((*stack.Stack)(nil).DeadQueues()) {
		t.Errorf("redrive of empty queues = %s, want 0 messages in each queue", got.out)
	}
	c.send(c.url("apply-dead"), "garbage", sqsAttributes("type", events.UpdatesType, "upload", "u1", queues.DeadReason,
		"decoding a batch: no JSON\x1b[2J", queues.DeadSource, "apply"))
	c.send(c.url("apply-dead"), "{}", sqsAttributes("type", events.UpdatesType, "upload", "u2"))
	c.send(c.url("ingest-dead"), failedInvocation(s3Event("uploads/a+b.csv")), nil)
	c.send(c.url("ingest-dead"), s3Event("uploads/c.csv"),
		sqsAttributes(queues.DeadReason, "out of reach", queues.DeadSource, "ingest"))
	c.send(c.url("announce-dead"), failedStreamRange("arn:aws:dynamodb:us-east-1:123456789012:table/f/stream/s", "shard",
		"1", "2"), nil)
	c.send(c.url("announce-dead"), "{}", sqsAttributes("type", events.ChangeType, "person", "andy", queues.DeadReason,
		"too long"))

	want := map[string][]string{
		"apply-dead": {"upload u1: decoding a batch: no JSON\x1b[2J",
			"upload u2: apply failed at every try; see its log"},
		"resume-dead":         nil,
		"updates-undelivered": nil,
		"ingest-dead":         {"uploads/a b.csv: RetriesExhausted: the ledger is down", "uploads/c.csv: out of reach"},
		"announce-dead":       {"2 changes since 2026-11-23 08:19:00: RetryAttemptsExhausted", "change of andy: too long"},
	}
	for range 2 { // listing removes nothing
		got := map[string][]string{}
		for name, d := range c.listed() {
			got[name] = nil
			for _, l := range d.Letters {
				got[name] = append(got[name], l.Subject+": "+l.Reason)
			}
			slices.Sort(got[name])
			if int(d.Waiting) != len(want[name]) || len(d.Letters) > 0 && d.Letters[0].Sent.IsZero() {
				t.Errorf("queue %s = %+v, want %d messages with a time", name, d, len(want[name]))
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("listed (-want +got):\n%s", diff)
		}
	}
	got := c.redrive(exitOK, "--show", "1")
	if !strings.Contains(got.out, "apply-dead           2\n") || strings.Count(got.out, "\x1b") > 0 ||
		strings.Count(got.out, c.stack) != 1 || !strings.Contains(got.out, "--stack "+c.stack+" --all") {
		t.Errorf("redrive --show 1 = %s, want the count, the stack once, and no escape characters", got.out)
	}
}

func TestRedriveMovesBack(t *testing.T) {
	c := deployStack(t, nil)
	for i := range 3 {
		c.send(c.url("apply-dead"), fmt.Sprint("batch ", i), sqsAttributes("upload", "u"))
	}
	c.send(c.url("resume-dead"), "span", sqsAttributes("upload", "v"))
	c.redrive(exitOK, "apply-dead").wantStdout(t, "apply-dead: 3 put back\n")
	if diff := cmp.Diff([]string{"batch 0 upload=u", "batch 1 upload=u", "batch 2 upload=u"},
		c.bodies(c.url("apply"))); diff != "" {
		t.Errorf("in the queue of apply (-want +got):\n%s", diff)
	}
	if n, m := c.depth(c.url("apply-dead")), c.depth(c.url("resume-dead")); n != 0 || m != 1 {
		t.Errorf("%d and %d are left, want 0 and 1", n, m)
	}
	// redrive waits for a task that another process has started.
	c.mu.Lock()
	dead := c.url("resume-dead")
	c.tasks[c.arn("resume-dead")] = &moveTask{started: 1, from: dead, to: c.url("resume"), total: 1}
	c.mu.Unlock()
	c.redrive(exitOK, "resume-dead", "--json").wantStdout(t, `{"queue":"resume-dead","restored":1,"failures":[]}`+"\n")
	if diff := cmp.Diff([]string{"span upload=v"}, c.bodies(c.url("resume"))); diff != "" {
		t.Errorf("in the queue to resume (-want +got):\n%s", diff)
	}
	c.mu.Lock()
	c.fails = "the destination is gone"
	c.mu.Unlock()
	c.redrive(exitFailed, "apply-dead").wantErr(t, exitFailed, "the destination is gone")
}

func TestRedriveUndelivered(t *testing.T) {
	c := deployStack(t, nil)
	queue := c.subscribed(c.outputs["UpdatesTopicArn"])
	dead := c.url("updates-undelivered")
	for i := range 12 {
		c.send(dead, fmt.Sprintf("batch %02d", i), sqsAttributes("type", events.UpdatesType, "upload", "u"))
	}
	c.send(dead, "nothing", nil)
	got := c.redrive(exitFailed, "updates-undelivered")
	if got.out != "updates-undelivered: 12 put back\n" || !strings.Contains(got.err, "updates-undelivered: ") {
		t.Errorf("redrive = %+v, want the restored count and the failure", got)
	}
	var want []string
	for i := range 12 {
		want = append(want, fmt.Sprintf("batch %02d type=%s upload=u", i, events.UpdatesType))
	}
	if diff := cmp.Diff(want, c.bodies(queue)); diff != "" {
		t.Errorf("published (-want +got):\n%s", diff)
	}
	if d := c.listed()["updates-undelivered"]; len(d.Letters) != 1 { // and visible at once
		t.Errorf("queue = %+v, want one message, with its reason", d)
	}
}

func TestRedriveIngest(t *testing.T) {
	c := deployStack(t, nil)
	queue := c.subscribed(c.outputs["UpdatesTopicArn"])
	dead := c.url("ingest-dead")
	c.send(dead, failedInvocation(s3Event("uploads/a.csv")), nil)
	c.send(dead, s3Event("uploads/b.csv"), sqsAttributes(queues.DeadReason, "why"))
	c.send(dead, "a span", sqsAttributes("type", events.ContinuationType, "upload", "u", queues.DeadReason, "why"))
	c.redrive(exitOK, "ingest-dead").wantStdout(t, "ingest-dead: 3 put back\n")
	slices.Sort(c.ingested)
	if diff := cmp.Diff([]string{"uploads/a.csv", "uploads/b.csv"}, c.ingested); diff != "" {
		t.Errorf("ingested (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a span type=" + events.ContinuationType + " upload=u"}, c.bodies(queue)); diff != "" {
		t.Errorf("published (-want +got):\n%s", diff)
	}
	if n := c.depth(dead); n != 0 {
		t.Errorf("%d messages are left, want 0", n)
	}

	// A message that fails again returns to the queue, and redrive does not try it a second time.
	c.send(dead, failedInvocation(s3Event("uploads/poison.csv")), nil)
	c.redrive(exitOK, "ingest-dead").wantStdout(t, "ingest-dead: 1 put back\n")
	if d := c.listed()["ingest-dead"]; len(d.Letters) != 1 || d.Letters[0].Subject != "uploads/poison.csv" ||
		!strings.Contains(d.Letters[0].Reason, "poison") {
		t.Errorf("queue = %+v, want one message, with its reason", d)
	}
	// A message that no function accepts stays.
	c.bodies(dead)
	c.send(dead, "(empty)", sqsAttributes(queues.DeadReason, "no JSON"))
	if got := c.redrive(exitFailed, "--all"); !strings.Contains(got.err, "ingest-dead: ") ||
		!strings.Contains(got.out, "announce-dead: 0 put back") {
		t.Errorf("redrive = %+v, want the restored count and the failure", got)
	}
	if n := c.depth(dead); n != 1 {
		t.Errorf("%d messages are left, want 1", n)
	}
}
