package test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws/queues"
	"github.com/flavorless/flavorless/internal/s3store"
	"github.com/flavorless/flavorless/internal/testutil"
)

// TestConvergenceOnAWS is TestConvergence on AWS: it runs the handlers of the Lambda functions with their adapters on
// DynamoDB Local and moto, while calls are throttled, fail, hang, succeed without a response, and batches fail in
// parts. Events are repeated and in any order, several functions run at the same time, and what they do not finish is
// delivered again.
func TestConvergenceOnAWS(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	random := rand.New(rand.NewPCG(1, 2))
	generator := rapid.Custom(func(t *rapid.T) upload {
		number := rapid.IntRange(0, 1<<30).Draw(t, "number")
		return drawUpload(t, number, 40)
	})
	for seed := range 30 {
		u := generator.Example(seed)
		u.object.Key = fmt.Sprintf("uploads/%d %s", seed, strings.TrimPrefix(u.object.Key, "uploads/")) // S3 escapes spaces
		d.put(t, u)
	}
	var s3Events [][]byte
	for _, u := range d.objects {
		for range 1 + random.IntN(2) {
			s3Events = append(s3Events, s3Event(t, u.object))
		}
	}
	random.Shuffle(len(s3Events), func(i, j int) { s3Events[i], s3Events[j] = s3Events[j], s3Events[i] })

	ctx, cancel := context.WithTimeout(t.Context(), 2*testutil.Timeout)
	defer cancel()
	d.run(ctx, t, s3Events)
	d.check(ctx, t)
}

// put uploads a file. The event that S3 sends has the times that were drawn.
func (d *deployment) put(t *testing.T, u upload) {
	t.Helper()
	in := &s3.PutObjectInput{Bucket: &d.bucket, Key: &u.object.Key, Body: strings.NewReader(u.text)}
	out, err := s3store.NewClient(d.direct).PutObject(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	u.object.Bucket, u.object.Size = d.bucket, int64(len(u.text))
	u.object.ETag, u.object.VersionID = strings.Trim(*out.ETag, `"`), aws.ToString(out.VersionId)
	d.objects[u.object.UploadID()] = u
}

func s3Event(t *testing.T, o events.Object) []byte {
	t.Helper()
	event, err := json.Marshal(map[string]any{"Records": []any{map[string]any{
		"eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
		"eventTime": o.Time.UTC().Format("2006-01-02T15:04:05.000Z"),
		"s3": map[string]any{
			"bucket": map[string]any{"name": o.Bucket},
			"object": map[string]any{
				"key": url.QueryEscape(o.Key), "size": o.Size, "eTag": o.ETag, "versionId": o.VersionID, "sequencer": o.Sequencer,
			},
		},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return event
}

// check compares the table, the ledger, the reports and the changes with the files.
func (d *deployment) check(ctx context.Context, t *testing.T) {
	for _, p := range d.proxies {
		var calls, faults int
		for operation, n := range p.Counts() {
			t.Logf("%s: %d calls, %d with faults", operation, n.Calls, n.Faults)
			calls, faults = calls+n.Calls, faults+n.Faults
		}
		if faults == 0 {
			t.Errorf("none of %d calls had a fault", calls)
		}
	}
	if letters := d.drain(ctx, t, d.deadQueue); len(letters) > 0 {
		t.Errorf("%d dead letters, want none: %v", len(letters), letters)
	}
	team, err := d.table.Team(ctx, "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	table := checkTable(t, d.objects, team, true)
	if len(table) == 0 {
		t.Error("the table is empty")
	}
	unchanged := int64(0)
	for id, u := range d.objects {
		got, err := d.table.Upload(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		unchanged += got.Counts.Unchanged
		checkUpload(t, u, got, d.report(ctx, t, got))
	}
	t.Logf("%d rows were unchanged", unchanged)
	var received []events.Change
	for _, body := range d.drain(ctx, t, d.changesQueue) {
		c, err := events.DecodeChange([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		received = append(received, c)
	}
	checkChanges(t, received, table)
}

func (d *deployment) report(ctx context.Context, t *testing.T, u events.Upload) []byte {
	if u.Counts.Rejected == 0 {
		return nil
	}
	key := strings.TrimPrefix(u.RejectsAt, "s3://"+d.reports+"/")
	out, err := s3store.NewClient(d.direct).GetObject(ctx, &s3.GetObjectInput{Bucket: &d.reports, Key: &key})
	if err != nil {
		t.Fatalf("reading the report of %s: %v", u.Key, err)
	}
	defer out.Body.Close()
	report, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// drain receives all messages of a queue and returns their bodies.
func (d *deployment) drain(ctx context.Context, t *testing.T, queue string) (bodies []string) {
	in := &sqs.ReceiveMessageInput{QueueUrl: &queue, MaxNumberOfMessages: 10, VisibilityTimeout: 600}
	for {
		got, err := queues.Client(d.direct).ReceiveMessage(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Messages) == 0 {
			return bodies
		}
		for _, m := range got.Messages {
			bodies = append(bodies, *m.Body)
		}
	}
}
