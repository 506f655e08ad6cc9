package local

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/klauspost/compress/gzip"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/gateway"
)

// bucket has the uploads, which all cases share.
type bucket struct {
	client  *s3.Client
	mu      sync.Mutex
	objects []events.Object
	runs    int // number of buckets for reports in use
}

// maxRuns is the maximum number of cases. Each one has a bucket for its reports, and buckets are created when the
// gateway starts.
const maxRuns = 150

func reportsOf(run int) string { return fmt.Sprintf("reports-%d", run) }

func startBucket(t *testing.T) *bucket {
	t.Helper()
	b := &bucket{}
	names := []string{uploadsBucket}
	for i := range maxRuns {
		names = append(names, reportsOf(i+1))
	}
	g, err := gateway.Start(gateway.Config{
		Dir: t.TempDir(), AccessKey: "test", SecretKey: "test", Region: region, NoSync: true,
		Buckets: names, Bucket: uploadsBucket,
		OnStored: func(_ context.Context, o events.Object) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.objects = append(b.objects, o)
			return nil
		},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	b.client = s3.New(s3.Options{
		BaseEndpoint: aws.String(reachable("http", g.Addr())), Region: region, UsePathStyle: true, RetryMaxAttempts: 1,
		Credentials: awscredentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	b.put(t, "a.csv", "", manyRows("person,flavor,note\n", "person %d,%s,"+strings.Repeat("x", 100)+"\n", "vanilla", 0))
	b.put(t, "b.ndjson", "", manyRows("", "{\"person\":\"person %d\",\"flavor\":%q}\n", "mint", 1))
	b.put(t, "broken.json.gz", "", manyRows("[", "{\"person\":\"person %d\",\"flavor\":%q},\n", "fudge", 2)+"{")
	b.put(t, "whole.csv", "abort", "person,flavor\nandy,vanilla\ndan,mint\n")
	b.put(t, "aborted.csv", "abort", "person,flavor\nandy,fudge\ndan,\n")
	b.put(t, "removals.csv", "", "person,flavor,action\nperson 1,,remove\nperson 5,,remove\nnobody,,remove\n")
	return b
}

// manyRows returns a file with enough rows for several batches. Every twelfth row is rejected.
func manyRows(begin, row, flavor string, seed int) string {
	var b strings.Builder
	b.WriteString(begin)
	long := strings.Repeat(" and "+flavor, 12)
	for i := range 300 {
		f := flavor + long
		if i%12 == seed {
			f = ""
		}
		fmt.Fprintf(&b, row, (i*(seed+3))%100, f)
	}
	return b.String()
}

func (b *bucket) put(t *testing.T, name, onError, text string) {
	t.Helper()
	in := &s3.PutObjectInput{Bucket: aws.String(uploadsBucket), Key: aws.String(name), Body: strings.NewReader(text)}
	if onError != "" {
		in.Metadata = map[string]string{"on-error": onError}
	}
	if strings.HasSuffix(name, ".gz") {
		var packed strings.Builder
		w := gzip.NewWriter(&packed)
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		in.Body = strings.NewReader(packed.String())
	}
	if _, err := b.client.PutObject(t.Context(), in); err != nil {
		t.Fatal(err)
	}
}
