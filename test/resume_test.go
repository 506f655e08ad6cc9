package test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/local"
	"github.com/flavorless/flavorless/internal/testutil"
)

// TestResumeFiles reads a file of each format and compression in one go, and on another server in many parts through
// the queue. The batches, the counts and the report of rejected rows must be the same.
func TestResumeFiles(t *testing.T) {
	testutil.SkipIfShort(t)
	files := map[string][]byte{}
	for name, text := range longFiles() {
		for _, compression := range []string{"", ".gz", ".zst"} {
			files[name+compression] = compress(t, []byte(text), compression)
		}
	}
	whole := ingestAll(t, files, time.Hour)
	parts := ingestAll(t, files, time.Millisecond)
	for name := range files {
		w, p := whole[name], parts[name]
		if w.continuations != 0 || p.continuations == 0 { // how many depends on the speed of the machine
			t.Errorf("%s: %d and %d continuations, want none and then some", name, w.continuations, p.continuations)
		}
		if len(w.batches) < 10 || w.upload.Counts.Rejected < 100 {
			t.Errorf("%s is too small for this test: %d batches, %+v", name, len(w.batches), w.upload.Counts)
		}
		w.continuations, p.continuations = 0, 0
		if diff := gocmp.Diff(w, p, gocmp.AllowUnexported(outcome{})); diff != "" {
			t.Errorf("%s (-in one go +in parts):\n%s", name, diff)
		}
	}
}

// longFiles returns files, by name, that have more than ten batches, and a bad row among every seven.
func longFiles() map[string]string {
	var csv, tsv, ndjson, object, array strings.Builder
	csv.WriteString("person,note,flavor\n")
	tsv.WriteString("flavor\tperson\n")
	for i := range 3000 {
		person, flavor := fmt.Sprintf("person %d, %s", i, strings.Repeat("née ", 30)), strings.Repeat("crème brûlée, ", 8)
		if i%7 == 0 {
			flavor = ""
		}
		fmt.Fprintf(&csv, "%q,\"two\nlines\",%q\n", person, flavor)
		fmt.Fprintf(&tsv, "%s\t%s\n", flavor, person)
		fmt.Fprintf(&ndjson, "{\"person\":%q,\"flavor\":%q}\n", person, flavor)
		fmt.Fprintf(&array, "{\"person\":%q,\"flavor\":%q},\n", person, flavor)
		fmt.Fprintf(&object, "%q:%q,\n", person, flavor)
	}
	return map[string]string{
		"a.csv": csv.String(), "a.tsv": tsv.String(), "a.ndjson": ndjson.String(),
		"object.json": "{" + object.String() + `"x":"vanilla"}`,
		"array.json":  "[" + array.String() + `{"person":"x","flavor":"vanilla"}]`,
	}
}

// outcome is what became of a file, without what differs from run to run.
type outcome struct {
	upload        events.Upload
	batches       []string // offsets of those applied
	report        string
	continuations int
}

// ingestAll uploads the files to a server of their own.
func ingestAll(t *testing.T, files map[string][]byte, readFor time.Duration) map[string]outcome {
	t.Helper()
	log := &logRecorder{batches: map[string][]string{}, continuations: map[string]int{}, settled: map[string]bool{}}
	var ticks atomic.Int64
	began := time.Now()
	s := startServer(t, func(c *local.Config) {
		c.ReadFor, c.Log = readFor, slog.New(log)
		// The clock advances with every call, so that the number of pauses does not depend on the speed of the machine. The
		// API uses the clock, too, so the test does not call the API before the file is settled.
		c.Clock = func() time.Time { return began.Add(time.Duration(ticks.Add(1)) * time.Millisecond) }
	})
	all := map[string]outcome{}
	for name, content := range files {
		s.put("uploads/"+name, content, nil)
		testutil.WaitFor(t, name+" to be settled", func() bool { return log.isSettled("uploads/" + name) })
		u := s.settled("uploads/" + name)
		if status, body := s.get("/uploads/" + u.ID); status != http.StatusOK || json.Unmarshal(body, &u) != nil {
			t.Fatalf("GET /uploads/%s: status %d: %s", u.ID, status, body)
		}
		in := &s3.GetObjectInput{Bucket: aws.String(s.Info().ReportsBucket), Key: aws.String(u.ID + "/rejects.ndjson")}
		out, err := s.S3().GetObject(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		report, err := io.ReadAll(out.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = out.Body.Close()
		o := outcome{report: string(report)}
		testutil.WaitFor(t, "all batches to be logged", func() bool { // they are logged after the ledger is written
			o.batches, o.continuations = log.of(u.ID)
			return int64(len(o.batches)) == u.Counts.Batches
		})
		o.upload = events.Upload{
			Key: u.Key, Size: u.Size, Status: u.Status, Failure: u.Failure, Format: u.Format, Counts: u.Counts,
			Rejects: u.Rejects,
		}
		all[name] = o
	}
	return all
}

// logRecorder is a log handler that records the applied batches and the continuations of each upload, and which keys
// are settled. It recognizes records by their attributes.
type logRecorder struct {
	mu            sync.Mutex
	batches       map[string][]string // by upload id
	continuations map[string]int      // by upload id
	settled       map[string]bool     // by key
}

func (l *logRecorder) isSettled(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.settled[key]
}

func (l *logRecorder) of(upload string) (batches []string, continuations int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(slices.Values(l.batches[upload])), l.continuations[upload]
}

func (l *logRecorder) record(upload string, r slog.Record) {
	attributes := map[string]string{}
	r.Attrs(func(a slog.Attr) bool { attributes[a.Key] = a.Value.String(); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	if batch, ok := attributes["batch"]; ok { // it was applied
		upload, offset, _ := strings.Cut(batch, "/")
		l.batches[upload] = append(l.batches[upload], offset)
	}
	if _, ok := attributes["superseded"]; ok && attributes["key"] != "" {
		l.settled[attributes["key"]] = true
	}
	if _, ok := attributes["offset"]; ok { // reading was paused there
		l.continuations[upload]++
	}
}

// Enabled implements slog.Handler.
func (l *logRecorder) Enabled(context.Context, slog.Level) bool { return true }

// WithGroup implements slog.Handler.
func (l *logRecorder) WithGroup(string) slog.Handler { return l }

// WithAttrs implements slog.Handler.
func (l *logRecorder) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		if a.Key == "upload" {
			return &uploadLog{l, a.Value.String()}
		}
	}
	return l
}

// Handle implements slog.Handler.
func (l *logRecorder) Handle(_ context.Context, r slog.Record) error {
	l.record("", r)
	return nil
}

// uploadLog is the log of one upload.
type uploadLog struct {
	*logRecorder
	upload string
}

// Handle implements slog.Handler.
func (l *uploadLog) Handle(_ context.Context, r slog.Record) error {
	l.record(l.upload, r)
	return nil
}
