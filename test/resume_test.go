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

// TestResumeThroughTheHouse lets a file of each format and compression be read in one go, and then, in another house, piece
// by piece through the queue: the batches, the counts and the report of rejected rows are the same.
func TestResumeThroughTheHouse(t *testing.T) {
	files := map[string][]byte{}
	for name, text := range longFiles() {
		for _, compression := range []string{"", ".gz", ".zst"} {
			files[name+compression] = compress(t, []byte(text), compression)
		}
	}
	whole := ingestAll(t, files, time.Hour)
	pieces := ingestAll(t, files, time.Nanosecond)
	for name := range files {
		w, p := whole[name], pieces[name]
		if w.spans != 0 || p.spans == 0 { // how often depends on how fast this machine is
			t.Errorf("%s was handed on %d times, and then %d times; want never, and more often", name, w.spans, p.spans)
		}
		if len(w.batches) < 10 || w.upload.Counts.Rejected < 100 {
			t.Errorf("%s proves nothing: %d batches, %+v", name, len(w.batches), w.upload.Counts)
		}
		w.spans, p.spans = 0, 0
		if diff := gocmp.Diff(w, p, gocmp.AllowUnexported(ingested{})); diff != "" {
			t.Errorf("%s (-in one go +in pieces):\n%s", name, diff)
		}
	}
}

// longFiles have a dozen batches and more, and a bad row now and then.
func longFiles() map[string]string {
	var csv, tsv, ndjson, object, array strings.Builder
	csv.WriteString("person,note,flavor\n")
	tsv.WriteString("flavor\tperson\n")
	for i := range 4000 {
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
		"object.json": "{" + object.String() + `"x":"vanilla"}`, "array.json": "[" + array.String() + `{"person":"x","flavor":"vanilla"}]`,
	}
}

// ingested is what became of a file, but for what is different at each time.
type ingested struct {
	upload  events.Upload
	batches []string // offsets of those applied
	report  string
	spans   int
}

// ingestAll uploads the files to a house of their own.
func ingestAll(t *testing.T, files map[string][]byte, readFor time.Duration) map[string]ingested {
	t.Helper()
	log := &batchLog{batches: map[string][]string{}, spans: map[string]int{}, settled: map[string]bool{}}
	var ticks atomic.Int64
	began := time.Now()
	p := startPipeline(t, func(c *local.Config) {
		c.ReadFor, c.Log = readFor, slog.New(log)
		// A clock that goes on each time that it is asked: how often reading pauses does not depend on how fast it is. (So
		// nobody asks the API, which looks at the clock as well, before all is settled.)
		c.Clock = func() time.Time { return began.Add(time.Duration(ticks.Add(1)) * time.Millisecond) }
	})
	all := map[string]ingested{}
	for name, content := range files {
		p.put("uploads/"+name, content, nil)
		testutil.WaitFor(t, name+" to be settled", func() bool { return log.isSettled("uploads/" + name) })
		u := p.settled("uploads/" + name)
		if status, body := p.get("/uploads/" + u.ID); status != http.StatusOK || json.Unmarshal(body, &u) != nil {
			t.Fatalf("%s: %d %s", name, status, body)
		}
		out, err := p.S3().GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(p.Info().ReportsBucket), Key: aws.String(u.ID + "/rejects.ndjson")})
		if err != nil {
			t.Fatal(err)
		}
		report, err := io.ReadAll(out.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = out.Body.Close()
		done := ingested{upload: u, report: string(report)}
		testutil.WaitFor(t, "the log to tell of all batches", func() bool { // it does so behind the ledger
			done.batches, done.spans = log.of(u.ID)
			return int64(len(done.batches)) == u.Counts.Batches
		})
		done.upload = events.Upload{Key: u.Key, Size: u.Size, Status: u.Status, Failure: u.Failure, Format: u.Format, Counts: u.Counts, Rejects: u.Rejects}
		all[name] = done
	}
	return all
}

// batchLog notes of each upload which batches were applied, how often the rest of it was handed on, and, by its key, whether
// it is settled.
type batchLog struct {
	mu      sync.Mutex
	batches map[string][]string
	spans   map[string]int
	settled map[string]bool
}

func (l *batchLog) isSettled(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.settled[key]
}

func (l *batchLog) of(upload string) (batches []string, spans int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(slices.Values(l.batches[upload])), l.spans[upload]
}

func (l *batchLog) Enabled(context.Context, slog.Level) bool { return true }
func (l *batchLog) WithGroup(string) slog.Handler            { return l }

func (l *batchLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		if a.Key == "upload" {
			return &uploadLog{l, a.Value.String()}
		}
	}
	return l
}

func (l *batchLog) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Attrs(func(a slog.Attr) bool {
		upload, first, _ := strings.Cut(a.Value.String(), "/")
		switch {
		case r.Message == "applied" && a.Key == "batch":
			l.batches[upload] = append(l.batches[upload], first)
		case r.Message == "settled" && a.Key == "key":
			l.settled[a.Value.String()] = true
		}
		return true
	})
	return nil
}

// uploadLog is the log of one reading.
type uploadLog struct {
	*batchLog
	upload string
}

func (l *uploadLog) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "handed on" {
		l.mu.Lock()
		l.spans[l.upload]++
		l.mu.Unlock()
	}
	return l.batchLog.Handle(ctx, r)
}
