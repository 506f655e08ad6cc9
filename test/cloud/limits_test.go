package cloud_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/testutil"
	"github.com/flavorless/flavorless/test/cloud"
)

// stopAfterEachBatch gives ingest a timeout that is shorter than the reserve which it keeps for its last steps.
func stopAfterEachBatch(ingest *cloud.Function) (restore func()) {
	ingest.SetTimeout(15 * time.Second)
	return func() { ingest.SetTimeout(ingest.Timeout) }
}

// testResumed uploads a file that one invocation has no time for: the resume queue continues it, and its report is
// complete.
func testResumed(t *testing.T, d *deployment) {
	ingest := d.Functions[ingestFunction]
	defer stopAfterEachBatch(ingest)()
	before := len(ingest.Invocations())
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
		t.Fatalf("the upload is %s with %+v, want live with %d rows, 2 rejected, at least 3 batches", u.Status, u.Counts,
			rows+2)
	}
	if report := d.rejects(t, u); len(report) != 2 || len(u.Rejects) != 2 || report[1].Line != rows+3 {
		t.Errorf("the report is %+v, want the rejects of the whole file", report)
	}
	if n := int64(len(ingest.Invocations()) - before); n < u.Counts.Batches {
		t.Errorf("%d batches took %d invocations, want at least as many", u.Counts.Batches, n)
	}
	if got := d.request(t, http.MethodGet, "/ice-cream/person%209", d.token); !strings.Contains(string(got.body), " 999") {
		t.Errorf("GET /ice-cream/person 9 = %v, want the flavor of row 999", got)
	}
}

// testLoop uploads a file with forty continuations, which Lambda allows because of the function's RecursiveLoop.
// Without that, Lambda refuses the 17th invocation, and the rest of a file goes to the dead-letter queue.
func testLoop(t *testing.T, d *deployment) {
	ingest := d.Functions[ingestFunction]
	defer stopAfterEachBatch(ingest)()
	// The rows are few, and twice as long in a message. The file is compressed, because larger ones are sorted.
	file := func(batches int) string {
		var b bytes.Buffer
		zip := gzip.NewWriter(&b)
		fmt.Fprintln(zip, "person,flavor")
		for i := range batches * 32_000 / 490 {
			fmt.Fprintf(zip, "%s%d,%s%04d\n", strings.Repeat(`\`, 240), i%10, strings.Repeat(`\`, 240), i)
		}
		if err := zip.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	before := len(ingest.Invocations())
	d.put(t, "uploads/loop.csv.gz", file(42))
	for n := 10; n <= 40; n += 10 { // on a busy machine all of them take longer than testutil.Timeout
		testutil.WaitFor(t, fmt.Sprintf("ingest is invoked %d times", n), func() bool {
			return len(ingest.Invocations())-before >= n
		})
	}
	u := d.settled(t, "uploads/loop.csv.gz")
	if u.Status != events.Live || u.Counts.Batches < 41 {
		t.Errorf("the upload is %s with %d batches, want live with more than 40", u.Status, u.Counts.Batches)
	}
	if n := len(ingest.Invocations()) - before; n < 41 {
		t.Errorf("ingest was invoked %d times, want more than 40", n)
	}

	ingest.SetRecursive(false)
	defer ingest.SetRecursive(true)
	before = len(ingest.Invocations())
	d.put(t, "uploads/cut loop.csv.gz", file(20))
	rest := d.find(t, d.queue("ResumeDead"), "uploads/cut loop.csv.gz")
	if n := len(ingest.Invocations()) - before; n != 16 {
		t.Errorf("ingest was invoked %d times in one chain, want 16", n)
	}
	ingest.SetRecursive(true)
	d.sqs(t, "SendMessage", "ResumeQueue", map[string]any{"MessageBody": rest.Body}, nil)
	if u := d.settled(t, "uploads/cut loop.csv.gz"); u.Status != events.Live || u.Counts.Batches < 17 {
		t.Errorf("after the redrive the upload is %s with %d batches, want live with more than 16", u.Status,
			u.Counts.Batches)
	}
}

// testRace writes an item between the read and the write of apply, which then must apply the newer row.
func testRace(t *testing.T, d *deployment) {
	const key = "uploads/race.csv"
	counts := events.Counts{Rows: 1, Applied: 1, Batches: 1, BatchesApplied: 1}
	d.put(t, key, "person,flavor\nracer,old\n")
	d.checkLive(t, key, counts)
	var stored struct{ Items []map[string]any }
	d.table(t, "Scan", map[string]any{
		"FilterExpression":          "person = :racer",
		"ExpressionAttributeValues": map[string]any{":racer": map[string]string{"S": "racer"}},
	}, &stored)
	if len(stored.Items) != 1 {
		t.Fatalf("found %v, want one item", stored.Items)
	}
	item := stored.Items[0]
	d.table(t, "DeleteItem", map[string]any{"Key": map[string]any{"shard": item["shard"], "person": item["person"]}}, nil)
	var once sync.Once
	remove := d.Proxy.Intercept(applyFunction, "dynamodb:PartiQLInsert", func() int {
		once.Do(func() { d.table(t, "PutItem", map[string]any{"Item": item}, nil) })
		return 0
	})
	defer remove()
	d.put(t, key, "person,flavor\nracer,new\n")
	d.checkLive(t, key, counts)
	if got := d.request(t, http.MethodGet, "/ice-cream/racer", d.token); !strings.Contains(string(got.body), `"new"`) {
		t.Errorf("GET /ice-cream/racer = %v, want the flavor new", got)
	}
}

// testLongReport lets the storing of a long report fail: no unfinished multipart upload is left, and the retry stores
// the whole report. The file is so long that the command line uploads it in parts.
func testLongReport(t *testing.T, d *deployment) {
	const key, bad = "uploads/longreport.csv", 30_000
	file := filepath.Join(t.TempDir(), "longreport.csv")
	content := "person,flavor\nandy,mint\n" + strings.Repeat(strings.Repeat("x", 300)+",\n", bad)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	var reads atomic.Int32
	fix := d.Proxy.Intercept(ingestFunction, "s3:GetObject", func() int {
		if reads.Add(1) == 6 { // the first 8 MiB are stored by then
			return http.StatusForbidden
		}
		return 0
	})
	defer fix()
	d.aws(t, "s3", "cp", file, "s3://"+d.Ref("UploadsBucket")+"/"+key)
	u := d.settled(t, key)
	if report := d.rejects(t, u); u.Status != events.Live || u.Counts.Applied != 1 || u.Counts.Rejected != bad ||
		len(report) != bad {
		t.Errorf("the upload is %s with %+v and %d reported rejects, want live with 1 applied and %d rejected", u.Status,
			u.Counts, len(report), bad)
	}
	if n := reads.Load(); n < 12 {
		t.Errorf("parts of the report were read %d times, want at least 12 because of the retry", n)
	}
	reports := "/" + d.Ref("ReportsBucket")
	testutil.WaitFor(t, "the parts of the report are removed", func() bool {
		list, _, err := d.Admin().S3(t.Context(), http.MethodGet, reports+"?list-type=2&prefix="+u.ID+"/rejects/", nil, nil)
		return err == nil && strings.Contains(string(list), "<ListBucketResult") && !strings.Contains(string(list), "<Key>")
	})
	if !strings.HasSuffix(u.ETag, "-2") {
		t.Errorf("ETag = %q, want that of an upload in two parts", u.ETag)
	}
	body, _, err := d.Admin().S3(t.Context(), http.MethodGet, reports+"?uploads", nil, nil)
	if err != nil || strings.Contains(string(body), "<UploadId>") {
		t.Errorf("unfinished multipart uploads: %s, error %v, want none", body, err)
	}
}

// testHung never answers the first request that a reader makes: the reader retries and answers in time.
func testHung(t *testing.T, d *deployment) {
	release := make(chan struct{})
	defer close(release)
	var readers sync.WaitGroup
	for path, reader := range map[string]struct{ function, action string }{
		"/team": {"TeamLambdaFunction", "dynamodb:Query"}, "/ice-cream/andy": {"LookupLambdaFunction", "dynamodb:GetItem"},
		"/uploads": {"UploadsLambdaFunction", "dynamodb:Query"},
	} {
		var hung atomic.Bool
		remove := d.Proxy.Intercept(reader.function, reader.action, func() int {
			if !hung.Swap(true) {
				<-release
			}
			return 0
		})
		defer remove()
		readers.Go(func() {
			if got := d.request(t, http.MethodGet, path, d.token); got.status != http.StatusOK {
				t.Errorf("GET %s = %v, want 200", path, got)
			}
			if !hung.Load() {
				t.Errorf("GET %s made no call of %s, want one that hangs", path, reader.action)
			}
		})
	}
	readers.Wait()
}

// testNothingLeft checks that every message is processed and that there are no dead letters except those that tests
// received. A continuation that reaches apply, or a batch that reaches ingest, would be one.
func testNothingLeft(t *testing.T, d *deployment) {
	count := func(id string) (n int) {
		var out struct{ Attributes map[string]string }
		d.sqs(t, "GetQueueAttributes", id, map[string]any{"AttributeNames": []string{"All"}}, &out)
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
		testutil.WaitFor(t, id+" is empty", func() bool { return count(id) == 0 })
	}
	for _, id := range []string{"ApplyDead", "ResumeDead", "IngestDead", "AnnounceDead", "UpdatesUndelivered"} {
		if n := count(id); n > 0 {
			q := d.queue(id)
			d.receive(t, q)
			t.Errorf("%s has %d messages, want none: %+v", id, n, q.received)
		}
	}
}

// testRoles compares each role with the permissions that were used by the functions' calls and by AWS in their name.
// The proxy has denied what a role lacks; what is never used must be removed.
func testRoles(t *testing.T, d *deployment) {
	for _, why := range d.Proxy.Refused() {
		t.Error(why)
	}
	used := d.Proxy.Used()
	for function, policy := range d.Roles {
		for _, s := range policy.Statements {
			for _, action := range s.Actions {
				for _, resource := range s.Resources {
					if !slices.ContainsFunc(used, func(u cloud.Use) bool {
						return u.Function == function && u.Action == action && cloud.MatchARN(resource, u.Resource)
					}) {
						t.Errorf("the role of %s allows %s on %s, which nothing uses; remove it", function, action, resource)
					}
				}
			}
		}
	}
}
