package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/google/go-cmp/cmp"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/flavorless/flavorless/events"
	ours "github.com/flavorless/flavorless/internal/aws"
	"github.com/flavorless/flavorless/internal/aws/stack"
	"github.com/flavorless/flavorless/internal/local"
)

// s3Event is what S3 tells ingest of an object.
func s3Event(key string) string {
	return fmt.Sprintf(`{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","eventTime":"2026-11-23T08:19:00.123Z","eventName":"ObjectCreated:Put",`+
		`"s3":{"bucket":{"name":"uploads"},"object":{"key":%q,"size":1,"eTag":"e","versionId":"v","sequencer":"0055"}}}]}`, key)
}

// gaveUp is what Lambda puts into the failure queue of a function that it invoked asynchronously.
// https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
func gaveUp(payload string) string {
	return `{"version":"1.0","timestamp":"2026-11-23T08:25:00.000Z","requestContext":{"requestId":"r","functionArn":"arn:aws:lambda:us-east-1:123456789012:function:ingest:$LATEST",` +
		`"condition":"RetriesExhausted","approximateInvokeCount":3},"requestPayload":` + payload +
		`,"responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"},"responsePayload":{"errorMessage":"the ledger is down"}}`
}

// listed gives what `redrive --json` lists, by queue.
func (c *cloud) listed() map[string]stack.Dead {
	c.t.Helper()
	got := command(c.t, "", "redrive", "--stack", c.stack, "--json")
	if got.code != exitOK || got.err != "" {
		c.t.Fatalf("%+v", got)
	}
	all := map[string]stack.Dead{}
	for line := range strings.Lines(got.out) {
		var d stack.Dead
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			c.t.Fatalf("%v in %s", err, line)
		}
		all[d.Queue] = d
	}
	return all
}

// redrive runs the command and gives its output.
func (c *cloud) redrive(code int, args ...string) result {
	c.t.Helper()
	got := command(c.t, "", append([]string{"redrive", "--stack", c.stack}, args...)...)
	if got.code != code || code == exitOK && got.err != "" {
		c.t.Errorf("%v: exit code %d, want %d; output %s; stderr %s", args, got.code, code, got.out, got.err)
	}
	return got
}

// bodies takes all out of a queue, and gives them sorted, with an attribute.
func (c *cloud) bodies(url, attribute string) (bodies []string) {
	c.t.Helper()
	for c.depth(url) > 0 {
		for _, m := range c.take(url, 10) {
			value := ""
			if a, ok := m.MessageAttributes[attribute]; ok {
				value = *a.StringValue
			}
			bodies = append(bodies, *m.Body+" "+attribute+"="+value)
		}
	}
	slices.Sort(bodies)
	return bodies
}

func TestRedriveLists(t *testing.T) {
	c := deployed(t, nil)
	if got := c.redrive(exitOK); strings.Contains(got.out, "WHY") || strings.Count(got.out, " 0\n") != len((*stack.Stack)(nil).DeadQueues()) {
		t.Errorf("of empty queues: %s", got.out)
	}
	c.send(c.url("apply-dead"), "garbage", sqsAttributes("type", events.UpdatesType, "upload", "u1", ours.DeadReason, "decoding a batch: no JSON\x1b[2J", ours.DeadSource, "apply"))
	c.send(c.url("apply-dead"), "{}", sqsAttributes("type", events.UpdatesType, "upload", "u2"))
	c.send(c.url("ingest-dead"), gaveUp(s3Event("uploads/a+b.csv")), nil)
	c.send(c.url("ingest-dead"), s3Event("uploads/c.csv"), sqsAttributes(ours.DeadReason, "out of reach", ours.DeadSource, "ingest"))
	c.send(c.url("announce-dead"), stretchGivenUp("arn:aws:dynamodb:us-east-1:123456789012:table/f/stream/s", "shard", "1", "2"), nil)
	c.send(c.url("announce-dead"), "{}", sqsAttributes("type", events.ChangeType, "person", "andy", ours.DeadReason, "too long"))

	want := map[string][]string{
		"apply-dead":          {"upload u1: decoding a batch: no JSON\x1b[2J", "upload u2: apply failed at every try; its log tells why"},
		"resume-dead":         nil,
		"updates-undelivered": nil,
		"ingest-dead":         {"uploads/a b.csv: RetriesExhausted: the ledger is down", "uploads/c.csv: out of reach"},
		"announce-dead":       {"2 changes since 2026-11-23 08:19:00: RetryAttemptsExhausted", "change of andy: too long"},
	}
	for range 2 { // looking takes nothing away
		got := map[string][]string{}
		for name, d := range c.listed() {
			got[name] = nil
			for _, l := range d.Letters {
				got[name] = append(got[name], l.Subject+": "+l.Reason)
			}
			slices.Sort(got[name])
			if int(d.Waiting) != len(want[name]) || len(d.Letters) > 0 && d.Letters[0].Sent.IsZero() {
				t.Errorf("%s: %+v", name, d)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("listed (-want +got):\n%s", diff)
		}
	}
	got := c.redrive(exitOK, "--show", "1")
	if !strings.Contains(got.out, "apply-dead           2\n") || strings.Count(got.out, "\x1b") > 0 || strings.Count(got.out, c.stack) != 1 || !strings.Contains(got.out, "--stack "+c.stack+" --all") {
		t.Errorf("as text: %s", got.out)
	}
}

func TestRedriveMovesBack(t *testing.T) {
	c := deployed(t, nil)
	for i := range 3 {
		c.send(c.url("apply-dead"), fmt.Sprint("batch ", i), sqsAttributes("upload", "u"))
	}
	c.send(c.url("resume-dead"), "span", sqsAttributes("upload", "v"))
	if got := c.redrive(exitOK, "apply-dead"); got.out != "apply-dead: 3 put back\n" {
		t.Errorf("said: %s", got.out)
	}
	if diff := cmp.Diff([]string{"batch 0 upload=u", "batch 1 upload=u", "batch 2 upload=u"}, c.bodies(c.url("apply"), "upload")); diff != "" {
		t.Errorf("in the queue of apply (-want +got):\n%s", diff)
	}
	if n, m := c.depth(c.url("apply-dead")), c.depth(c.url("resume-dead")); n != 0 || m != 1 {
		t.Errorf("%d and %d are left, want 0 and 1", n, m)
	}
	// A task that somebody else has started is waited for.
	c.mu.Lock()
	dead := c.url("resume-dead")
	c.tasks[c.arn("resume-dead")] = &moveTask{started: 1, from: dead, to: c.url("resume"), total: 1}
	c.mu.Unlock()
	if got := c.redrive(exitOK, "resume-dead", "--json"); got.out != `{"queue":"resume-dead","restored":1,"failures":[]}`+"\n" {
		t.Errorf("said: %s", got.out)
	}
	if diff := cmp.Diff([]string{"span upload=v"}, c.bodies(c.url("resume"), "upload")); diff != "" {
		t.Errorf("in the queue to resume (-want +got):\n%s", diff)
	}
	c.mu.Lock()
	c.fails = "the destination is gone"
	c.mu.Unlock()
	if got := c.redrive(exitFailed, "apply-dead"); !strings.Contains(got.err, "the destination is gone") {
		t.Errorf("said: %s", got.err)
	}
}

func TestRedriveUndelivered(t *testing.T) {
	c := deployed(t, nil)
	queue := c.subscribed(c.outputs["UpdatesTopicArn"])
	dead := c.url("updates-undelivered")
	for i := range 12 {
		c.send(dead, fmt.Sprintf("batch %02d", i), sqsAttributes("type", events.UpdatesType, "upload", "u"))
	}
	c.send(dead, "nothing", nil)
	got := c.redrive(exitFailed, "updates-undelivered")
	if got.out != "updates-undelivered: 12 put back\n" || !strings.Contains(got.err, "no attribute type") {
		t.Errorf("said: %s%s", got.out, got.err)
	}
	var want []string
	for i := range 12 {
		want = append(want, fmt.Sprintf("batch %02d type=%s", i, events.UpdatesType))
	}
	if diff := cmp.Diff(want, c.bodies(queue, "type")); diff != "" {
		t.Errorf("published (-want +got):\n%s", diff)
	}
	if d := c.listed()["updates-undelivered"]; len(d.Letters) != 1 { // and in sight at once
		t.Errorf("left: %+v", d)
	}
}

func TestRedriveIngest(t *testing.T) {
	c := deployed(t, nil)
	queue := c.subscribed(c.outputs["UpdatesTopicArn"])
	dead := c.url("ingest-dead")
	c.send(dead, gaveUp(s3Event("uploads/a.csv")), nil)
	c.send(dead, s3Event("uploads/b.csv"), sqsAttributes(ours.DeadReason, "why"))
	c.send(dead, "a span", sqsAttributes("type", events.SpanType, "upload", "u", ours.DeadReason, "why"))
	if got := c.redrive(exitOK, "ingest-dead"); got.out != "ingest-dead: 3 put back\n" {
		t.Errorf("said: %s", got.out)
	}
	slices.Sort(c.ingested)
	if diff := cmp.Diff([]string{"uploads/a.csv", "uploads/b.csv"}, c.ingested); diff != "" {
		t.Errorf("ingested (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a span type=" + events.SpanType}, c.bodies(queue, "type")); diff != "" {
		t.Errorf("published (-want +got):\n%s", diff)
	}
	if n := c.depth(dead); n != 0 {
		t.Errorf("%d are left", n)
	}

	// What fails once more is put aside once more, and not chased.
	c.send(dead, gaveUp(s3Event("uploads/poison.csv")), nil)
	if got := c.redrive(exitOK, "ingest-dead"); got.out != "ingest-dead: 1 put back\n" {
		t.Errorf("said: %s", got.out)
	}
	if d := c.listed()["ingest-dead"]; len(d.Letters) != 1 || d.Letters[0].Subject != "uploads/poison.csv" || !strings.Contains(d.Letters[0].Reason, "poison") {
		t.Errorf("left: %+v", d)
	}
	// A message stays that no function takes.
	c.bodies(dead, "")
	c.send(dead, "(empty)", sqsAttributes(ours.DeadReason, "no JSON"))
	if got := c.redrive(exitFailed, "--all"); !strings.Contains(got.err, "ingest-dead: ") || !strings.Contains(got.err, "not JSON") || !strings.Contains(got.out, "announce-dead: 0 put back") {
		t.Errorf("said: %s%s", got.out, got.err)
	}
	if n := c.depth(dead); n != 1 {
		t.Errorf("%d are left, want 1", n)
	}
}

func stretchGivenUp(stream, shard, start, end string) string {
	return fmt.Sprintf(`{"version":"1.0","timestamp":"2026-11-23T08:25:00.000Z","requestContext":{"requestId":"r","functionArn":"arn:aws:lambda:us-east-1:123456789012:function:announce",`+
		`"condition":"RetryAttemptsExhausted","approximateInvokeCount":101},"responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"},`+
		`"DDBStreamBatchInfo":{"shardId":%q,"startSequenceNumber":%q,"endSequenceNumber":%q,"approximateArrivalOfFirstRecord":"2026-11-23T08:19:00Z",`+
		`"approximateArrivalOfLastRecord":"2026-11-23T08:19:01Z","batchSize":2,"streamArn":%q}}`, shard, start, end, stream)
}

func TestRedriveAnnounce(t *testing.T) {
	c := deployed(t, nil)
	queue, dead := c.subscribed(c.outputs["ChangesTopicArn"]), c.url("announce-dead")
	stream, shard, numbers := c.favorites(4)

	c.send(dead, stretchGivenUp(stream, shard, numbers[1], numbers[2]), nil)
	lone := change(t, "zoe", "", "lemon", 99).Message()
	c.send(dead, string(lone.Body), sqsAttributes("type", events.ChangeType, "person", "zoe", ours.DeadReason, "why"))
	if got := c.redrive(exitOK, "announce-dead"); got.out != "announce-dead: 2 put back\n" {
		t.Errorf("said: %s", got.out)
	}
	var announced []string
	for _, body := range c.bodies(queue, "person") {
		change, err := events.DecodeChange([]byte(body[:strings.LastIndex(body, " ")]))
		if err != nil {
			t.Fatal(err)
		}
		announced = append(announced, fmt.Sprint(change.Kind, " ", change.Person, " ", change.Flavor, strings.TrimPrefix(body[strings.LastIndex(body, " "):], change.Person)))
	}
	slices.Sort(announced)
	if diff := cmp.Diff([]string{"created person1 mint1 person=person1", "created person2 mint2 person=person2", "created zoe lemon person=zoe"}, announced); diff != "" {
		t.Errorf("announced (-want +got):\n%s", diff)
	}

	t.Run("what stays", func(t *testing.T) {
		c.send(dead, stretchGivenUp(stream, shard, numbers[3], numbers[3]+"0"), nil) // its end never comes
		c.send(dead, "(empty)", nil)
		got := c.redrive(exitFailed, "announce-dead", "--json")
		var result struct {
			Restored int
			Failures []string
		}
		if err := json.Unmarshal([]byte(got.out), &result); err != nil || result.Restored != 0 || len(result.Failures) != 2 {
			t.Fatalf("%v: %s", err, got.out)
		}
		for _, want := range []string{"nothing more before record", "neither a change"} {
			if !strings.Contains(strings.Join(result.Failures, "\n"), want) {
				t.Errorf("the failures lack %q: %q", want, result.Failures)
			}
		}
		if n := c.depth(dead); n != 2 {
			t.Errorf("%d are left, want 2", n)
		}
	})
	t.Run("a function that is not there", func(t *testing.T) {
		c.bodies(dead, "")
		c.outputs["AnnounceFunctionName"] = "another"
		c.send(dead, stretchGivenUp(stream, shard, numbers[0], numbers[0]), nil)
		if got := c.redrive(exitFailed, "announce-dead"); !strings.Contains(got.err, "ResourceNotFoundException") {
			t.Errorf("said: %s%s", got.out, got.err)
		}
		if n := c.depth(dead); n != 1 {
			t.Errorf("%d are left, want 1", n)
		}
	})
}

// favorites makes a table with a stream, and so many people in it. It gives the stream, its shard, and the numbers of the
// records.
func (c *cloud) favorites(people int) (stream, shard string, numbers []string) {
	c.t.Helper()
	client, name := c.access.DynamoDB(), c.stack+"-favorites"
	attribute := func(name string, typ types.ScalarAttributeType) types.AttributeDefinition {
		return types.AttributeDefinition{AttributeName: &name, AttributeType: typ}
	}
	made, err := client.CreateTable(c.t.Context(), &dynamodb.CreateTableInput{
		TableName: &name, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{attribute("shard", types.ScalarAttributeTypeN), attribute("person", types.ScalarAttributeTypeS)},
		KeySchema:            []types.KeySchemaElement{{AttributeName: ptr("shard"), KeyType: types.KeyTypeHash}, {AttributeName: ptr("person"), KeyType: types.KeyTypeRange}},
		StreamSpecification:  &types.StreamSpecification{StreamEnabled: ptr(true), StreamViewType: types.StreamViewTypeNewAndOldImages},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	stream = *made.TableDescription.LatestStreamArn
	for i := range people {
		text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
		person := fmt.Sprint("person", i)
		version := change(c.t, person, "", "x", int64(i)).Version
		_, err := client.PutItem(c.t.Context(), &dynamodb.PutItemInput{TableName: &name, Item: map[string]types.AttributeValue{
			"shard": &types.AttributeValueMemberN{Value: "1"}, "person": text(person), "flavor": text(fmt.Sprint("mint", i)), "version": text(string(version)),
		}})
		if err != nil {
			c.t.Fatal(err)
		}
	}
	streams := dynamodbstreams.NewFromConfig(c.access.Config("DYNAMODB"))
	described, err := streams.DescribeStream(c.t.Context(), &dynamodbstreams.DescribeStreamInput{StreamArn: &stream})
	if err != nil {
		c.t.Fatal(err)
	}
	shard = *described.StreamDescription.Shards[0].ShardId
	at, err := streams.GetShardIterator(c.t.Context(), &dynamodbstreams.GetShardIteratorInput{StreamArn: &stream, ShardId: &shard, ShardIteratorType: "TRIM_HORIZON"})
	if err != nil {
		c.t.Fatal(err)
	}
	records, err := streams.GetRecords(c.t.Context(), &dynamodbstreams.GetRecordsInput{ShardIterator: at.ShardIterator})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, r := range records.Records {
		numbers = append(numbers, *r.Dynamodb.SequenceNumber)
	}
	if len(numbers) != people {
		c.t.Fatalf("the stream has %d records, want %d", len(numbers), people)
	}
	return stream, shard, numbers
}

// TestRedriveHere lets the table refuse a person until the updates are dead, and then mends it.
func TestRedriveHere(t *testing.T) {
	p := startServe(t, filepath.Join(t.TempDir(), "data"))
	db, err := sqlite.OpenConn(filepath.Join(p.dir, "flavorless.db"), sqlite.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetBusyTimeout(time.Minute)
	sql := func(statement string) {
		t.Helper()
		if err := sqlitex.ExecuteTransient(db, statement, nil); err != nil {
			t.Fatal(err)
		}
	}
	redrive := func(args ...string) result {
		return command(t, "", append([]string{"redrive", "--data", p.dir}, args...)...)
	}
	if got := redrive(); got.code != exitOK || got.out != "QUEUE        WAITING\ningest-dead  0\napply-dead   0\n" {
		t.Errorf("of empty queues: %+v", got)
	}
	sql("CREATE TRIGGER outage BEFORE INSERT ON favorites BEGIN SELECT RAISE(ABORT, 'the disk is on strike'); END")
	p.put("uploads/a.csv", "person,flavor\nandy,vanilla\n")
	listed := func() string { return redrive("--json").out }
	for deadline := time.Now().Add(2 * time.Minute); !strings.Contains(listed(), `"queue":"apply-dead","waiting":1`); {
		if time.Now().After(deadline) {
			t.Fatalf("no dead letter: %s", listed())
		}
		time.Sleep(50 * time.Millisecond) // between two looks
	}
	id := ""
	if uploads, err := p.recent(t.Context(), 1); err == nil && len(uploads) == 1 {
		id = uploads[0].ID
	}
	if got := redrive(); got.code != exitOK || !strings.Contains(got.out, "upload "+id) || !strings.Contains(got.out, "the disk is on strike") || !strings.Contains(got.out, "--data "+p.dir+" --all") {
		t.Errorf("listed: %+v", got)
	}
	sql("DROP TRIGGER outage")
	if got := redrive("apply-dead"); got.code != exitOK || got.out != "apply-dead: 1 put back\n" || got.err != "" {
		t.Errorf("redriven: %+v", got)
	}
	if u := p.settled("uploads/a.csv"); u.Status != events.Live || p.team()["andy"] != "vanilla" {
		t.Errorf("became %+v, team %v", u, p.team())
	}
	if got := redrive("--all"); got.code != exitOK || got.out != "ingest-dead: 0 put back\napply-dead: 0 put back\n" {
		t.Errorf("again: %+v", got)
	}
	if got := redrive("announce-dead"); got.code != exitUsage || !strings.Contains(got.err, "ingest-dead, apply-dead") {
		t.Errorf("unknown queue: %+v", got)
	}

	t.Run("not without the data folder", func(t *testing.T) {
		for _, token := range []string{"", p.token} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.info.API+local.DeadLettersPath, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+token)
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != http.StatusUnauthorized {
				t.Errorf("token %.5q: %s", token, res.Status)
			}
		}
		t.Setenv("FLAVORLESS_URL", p.info.API)
		if got := command(t, "", "redrive"); got.code != exitUsage || !strings.Contains(got.err, "--data") {
			t.Errorf("%+v", got)
		}
	})
}
