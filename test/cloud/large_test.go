package cloud_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/testutil"
)

// testLarge uploads two files that are sorted, and then delivers batches of an upload that is between them. The second
// file left the people of these batches unchanged, so they must keep its flavors.
func testLarge(t *testing.T, d *deployment) {
	const rows = 240                   // about 15 in each shard, which are enough to be read as a range
	file := func(changed int) string { // few rows, and spaces that make the file so large that it is sorted
		var b strings.Builder
		b.WriteString(`{"large": "mint"`)
		for i := range rows - 1 {
			flavor := "mint"
			if i < changed {
				flavor = "vanilla"
			}
			spaces := strings.Repeat(" ", ingest.DefaultSortFrom/(rows-1))
			fmt.Fprintf(&b, ",%s%q: %q", spaces, fmt.Sprint("large ", i), flavor)
		}
		return b.String() + "}"
	}
	d.put(t, "uploads/large 1.json", file(0))
	first := d.settled(t, "uploads/large 1.json")
	if c := first.Counts; first.Status != events.Live || c.Applied != rows {
		t.Fatalf("the first upload is %s with %+v, failure %+v; want live with %d applied", first.Status, c, first.Failure,
			rows)
	}
	d.put(t, "uploads/large 2.json", file(3))
	second := d.settled(t, "uploads/large 2.json")
	if c := second.Counts; second.Status != events.Live || c.Applied != 3 || c.Unchanged != rows-3 {
		t.Fatalf("the second upload is %s with %+v, want live with 3 applied and %d unchanged", second.Status, c, rows-3)
	}

	late := events.Object{
		Bucket: first.Bucket, Key: "uploads/late.csv", ETag: "e", Sequencer: "01",
		Time: first.Uploaded.Add(second.Uploaded.Sub(first.Uploaded) / 2).Truncate(time.Millisecond),
	}
	origin, err := late.Origin()
	if err != nil {
		t.Fatal(err)
	}
	deliver := func(offset int64) {
		batch := events.NewBatchWriter(origin)
		batch.Add(events.Update{Offset: offset, Person: "large 9", Flavor: "late"})
		d.sqs(t, "SendMessage", "ApplyQueue", map[string]any{"MessageBody": string(batch.Message().Body)}, nil)
	}
	deliver(10)
	testutil.WaitFor(t, "the late batch is applied", func() bool {
		answer := d.request(t, http.MethodGet, "/uploads/"+late.UploadID(), d.token)
		return answer.status == http.StatusOK && strings.Contains(string(answer.body), `"batchesApplied":1`)
	})
	answer := d.request(t, http.MethodGet, "/ice-cream/large%209", d.token)
	if !strings.Contains(string(answer.body), "mint") {
		t.Errorf("GET /ice-cream = %v, want the flavor of the second file", answer)
	}

	path := (&url.URL{Path: "/" + d.Ref("ReportsBucket") + "/" + second.ID + "/accepted.parquet"}).EscapedPath()
	if _, _, err := d.Admin().S3(t.Context(), http.MethodDelete, path, nil, nil); err != nil {
		t.Fatal(err)
	}
	deliver(20)
	m := d.find(t, d.queue("ApplyDead"), `"first":20`)
	if reason := m.MessageAttributes["dead-reason"].StringValue; !strings.Contains(reason, "accepted.parquet") {
		t.Errorf("the reason of the dead letter is %q, want one that names the sorted copy", reason)
	}
}
