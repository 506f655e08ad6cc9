package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/local"
	"github.com/flavorless/flavorless/internal/operator"
	"github.com/flavorless/flavorless/internal/testutil"
	"github.com/flavorless/flavorless/internal/testutil/program"
)

// uploader uploads files while the program is killed, and knows which uploads the program accepted.
type uploader struct {
	t          *testing.T
	supervisor *supervisor
	stopped    atomic.Bool  // no more files are uploaded
	failed     atomic.Int64 // uploads without a response of 200
	running    sync.WaitGroup
	redriven   int // dead letters

	mu       sync.Mutex
	files    map[string]file // by key; each was sent at least once
	accepted map[string]bool // keys of those whose upload was answered with 200
	repeated int
}

// run uploads files until the uploader is stopped or ctx ends. After a failed upload it sends the file again, or
// moves on.
func (u *uploader) run(ctx context.Context, files *fileGenerator) {
	for sleep(ctx, time.Duration(files.random.IntN(40))*time.Millisecond) && !u.stopped.Load() {
		f := files.next()
		u.mu.Lock()
		u.files[f.object.Key] = f
		u.mu.Unlock()
		for !u.put(ctx, f) && files.random.IntN(2) == 0 {
			u.mu.Lock()
			u.repeated++
			u.mu.Unlock()
		}
	}
}

// put uploads a file, and reports whether the response was 200.
func (u *uploader) put(ctx context.Context, f file) bool {
	info, ready := u.supervisor.waitReady(ctx)
	if !ready {
		return false
	}
	_, err := program.S3(info).PutObject(ctx, &s3.PutObjectInput{
		Bucket: aws.String(info.Bucket), Key: aws.String(f.object.Key), Body: bytes.NewReader(f.body), Metadata: f.metadata,
	})
	var refused *awshttp.ResponseError
	if errors.As(err, &refused) {
		switch status := refused.HTTPStatusCode(); {
		case status == 0, status == http.StatusServiceUnavailable:
		case status == http.StatusInsufficientStorage && u.supervisor.diskFull:
		default:
			u.t.Errorf("uploading %s: %v", f.object.Key, err)
		}
	}
	if err != nil {
		u.failed.Add(1)
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.accepted[f.object.Key] = true
	return true
}

// waitForUploads waits until n more uploads have been accepted.
func (u *uploader) waitForUploads(n int) {
	u.t.Helper()
	accepted := func() int {
		u.mu.Lock()
		defer u.mu.Unlock()
		return len(u.accepted)
	}
	enough := accepted() + n
	testutil.WaitFor(u.t, "uploads to be accepted", func() bool { return accepted() >= enough })
}

// settle waits until everything in the bucket is settled. Meanwhile it redrives messages that became dead letters
// because too many processes ended while they were in flight.
func (u *uploader) settle(info local.Info) {
	u.t.Helper()
	settled := func() bool {
		known := map[string]bool{}
		for _, upload := range u.ledger(info) {
			known[upload.Key] = true
			if !upload.Status.Settled() {
				return false
			}
		}
		for _, key := range u.keys(info) {
			if !known[key] {
				return false
			}
		}
		return true
	}
	testutil.WaitFor(u.t, "all uploads to be settled", func() bool {
		if settled() {
			return true
		}
		u.redrive()
		return false
	})
}

// redrive redrives all dead letters, as an operator would.
func (u *uploader) redrive() {
	u.t.Helper()
	for line := range strings.Lines(u.supervisor.command("redrive", "--json")) {
		var queue operator.DeadQueue
		if err := json.Unmarshal([]byte(line), &queue); err != nil {
			u.t.Fatal(err)
		}
		for _, l := range queue.Letters {
			if !strings.Contains(l.Reason, "the process ended") {
				u.t.Errorf("queue %s has a dead letter that is not due to the end of a process: %+v", queue.Queue, l)
			}
		}
		if queue.Waiting > 0 {
			u.redriven += int(queue.Waiting)
			u.supervisor.command("redrive", queue.Queue)
		}
	}
}

// ledger returns all uploads.
func (u *uploader) ledger(info local.Info) (all []events.Upload) {
	u.t.Helper()
	for before := ""; ; before = "&before=" + all[len(all)-1].ID {
		var page struct {
			Uploads []events.Upload `json:"uploads"`
		}
		u.supervisor.get(info, "/uploads?limit=500"+before, &page)
		if all = append(all, page.Uploads...); len(page.Uploads) < 500 {
			return all
		}
	}
}

// keys returns the keys of all objects in the bucket.
func (u *uploader) keys(info local.Info) (keys []string) {
	u.t.Helper()
	in := &s3.ListObjectsV2Input{Bucket: aws.String(info.Bucket), Prefix: aws.String("uploads/")}
	pages := s3.NewListObjectsV2Paginator(program.S3(info), in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(u.t.Context())
		if err != nil {
			u.t.Fatal(err)
		}
		for _, o := range page.Contents {
			keys = append(keys, *o.Key)
		}
	}
	return keys
}

// lastPerson is a person who is only in the last file.
const lastPerson = "the last one"

// uploadLast uploads one more file when all others are settled. Since changes are announced in the order in which
// they are stored, its change is the last one.
func (u *uploader) uploadLast(info local.Info) {
	u.t.Helper()
	d := draft{format: formats[0]}
	d.set(lastPerson, "vanilla")
	last := d.finish()
	last.object.Key = "uploads/last.csv"
	f := file{upload: last, body: []byte(last.text)}
	u.files[f.object.Key] = f
	if !u.put(u.t.Context(), f) {
		u.t.Fatal("the last upload was not accepted")
	}
	u.settle(info)
}

// reports returns the reports of rejected rows, by upload.
func (u *uploader) reports(info local.Info) map[string][]byte {
	u.t.Helper()
	reports := map[string][]byte{}
	client := program.S3(info)
	for _, upload := range u.ledger(info) {
		if upload.RejectsAt == "" {
			continue
		}
		key, found := strings.CutPrefix(upload.RejectsAt, "s3://"+info.ReportsBucket+"/")
		if want := upload.ID + "/rejects.ndjson"; !found || key != want {
			u.t.Errorf("the report of %s is at %s, want %s in bucket %s", upload.Key, upload.RejectsAt, want, info.ReportsBucket)
		}
		in := &s3.GetObjectInput{Bucket: aws.String(info.ReportsBucket), Key: aws.String(key)}
		out, err := client.GetObject(u.t.Context(), in)
		if err == nil {
			reports[upload.ID], err = io.ReadAll(out.Body)
			_ = out.Body.Close()
		}
		if err != nil {
			u.t.Fatalf("reading the report of %s: %v", upload.Key, err)
		}
	}
	return reports
}
