package local_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/testutil"
)

var randomKeys = flag.Int("keys", 300, "number of random object keys that TestRandomKeys uploads")

// keyGenerator generates random object keys, some of which need the path of another one.
type keyGenerator struct {
	*rand.Rand

	keys []string // so far
}

// segment returns a segment of a key.
func (g *keyGenerator) segment() string {
	switch g.IntN(12) {
	case 0:
		return []string{"", ".", "..", "...", ".sgwtmp", "~", "meta", " ", "con", "-"}[g.IntN(10)]
	case 1:
		return []string{
			"%", "%2F", "%2e%2e", "%00", "%%", "100%.csv", "+", "a+b", "&", "?x=1",
			"#", "\\", "..\\x", "a:b", "a;b", "*", "'", `"`, "<", "$x",
		}[g.IntN(20)]
	case 2, 3: // any bytes
		b := make([]byte, 1+g.IntN(12))
		for i := range b {
			b[i] = byte(g.IntN(256))
		}
		return string(b)
	case 4: // long
		return strings.Repeat(string(rune('a'+g.IntN(26))), 200+g.IntN(120))
	case 5: // other scripts
		r := []rune("äßñéøžшщ日本語한국🍦\u200f\u0301\u00a0\u2028")
		return string(r[g.IntN(len(r))]) + string(r[g.IntN(len(r))])
	default: // any of ASCII
		b := make([]byte, 1+g.IntN(12))
		for i := range b {
			b[i] = byte(0x20 + g.IntN(0x5f))
		}
		return string(b)
	}
}

// next returns a new key of 1 to 1,100 bytes.
func (g *keyGenerator) next() string {
	for {
		var key string
		if g.IntN(10) > 0 {
			key = "uploads/"
		}
		if len(g.keys) > 0 && g.IntN(25) == 0 {
			key = g.keys[g.IntN(len(g.keys))] + "/"
		}
		segments := 1 + g.IntN(4)
		if g.IntN(40) == 0 {
			segments = 40 + g.IntN(60)
		}
		for n := range segments {
			if n > 0 {
				key += "/"
			}
			key += g.segment()
		}
		key += []string{
			"", "", "/", ".csv", ".csv", ".CSV", ".tsv", ".json", ".ndjson", ".jsonl", ".csv.gz", ".txt",
		}[g.IntN(12)]
		key = key[:min(len(key), 1100)]
		if key != "" && !slices.Contains(g.keys, key) {
			g.keys = append(g.keys, key)
			return key
		}
	}
}

// content returns a file with one row in the format that the key indicates, or else in CSV.
func content(t *testing.T, key, person, flavor string) string {
	t.Helper()
	format, _ := ingest.FileTypeOf(key)
	text := map[ingest.Format]string{
		"":       "person,flavor\n%s,%s\n",
		"csv":    "person,flavor\n%s,%s\n",
		"tsv":    "person\tflavor\n%s\t%s\n",
		"json":   `{%q: %q}`,
		"ndjson": `{"person": %q, "flavor": %q}`,
	}[format.Format]
	text = fmt.Sprintf(text, person, flavor)
	if format.Compression != "gzip" {
		return text
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// fate returns the status that the upload of an object must get, or "" if the object is not an upload.
func fate(key string) events.Status {
	if !strings.HasPrefix(key, "uploads/") || events.DefaultIgnoreList().Match(events.Object{Key: key, Size: 1}) {
		return ""
	}
	if _, err := ingest.FileTypeOf(key); err != nil {
		return events.Failed
	}
	return events.Live
}

// putRaw stores an object whose key may be any bytes, and returns the status of the response.
func (s *testServer) putRaw(key, body string) int {
	s.t.Helper()
	info := s.Info()
	var escaped strings.Builder
	for i := range len(key) {
		c := key[i]
		if strings.IndexByte("/-_.~", c) >= 0 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' {
			escaped.WriteByte(c)
		} else {
			fmt.Fprintf(&escaped, "%%%02X", c)
		}
	}
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPut, info.S3, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.URL.Opaque = "//" + req.URL.Host + "/" + info.Bucket + "/" + escaped.String()
	sum := sha256.Sum256([]byte(body))
	hash := hex.EncodeToString(sum[:])
	req.Header.Set("X-Amz-Content-Sha256", hash)
	err = v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }).SignHTTP(s.t.Context(),
		aws.Credentials{AccessKeyID: info.AccessKey, SecretAccessKey: info.SecretKey},
		req, hash, "s3", info.Region, time.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatalf("PUT %q: %v", key, err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		s.t.Fatalf("PUT %q: %v", key, err)
	}
	return resp.StatusCode
}

// TestRandomKeys checks that each key is either rejected without a trace, or is in the ledger exactly as it was sent,
// with its row live. Use -keys 10000 for a longer test.
func TestRandomKeys(t *testing.T) {
	t.Parallel()
	s := start(t)
	generator := &keyGenerator{Rand: rand.New(rand.NewPCG(17, 3))}
	stored, responses := map[string]int{}, map[int]int{} // numbers by key, counts by status
	for n := range *randomKeys {
		key := generator.next()
		status := s.putRaw(key, content(t, key, fmt.Sprintf("person%d", n), fmt.Sprintf("flavor%d", n)))
		responses[status]++
		switch {
		case status == http.StatusOK:
			stored[key] = n
		case status < 400 || status > 499:
			t.Errorf("PUT %q: status %d, want 200 or 4xx", key, status)
		}
	}
	if len(stored) < *randomKeys/4 || len(stored) == *randomKeys {
		t.Errorf("%d of %d keys are stored, want at least a quarter but not all", len(stored), *randomKeys)
	}
	want := map[string]events.Status{}
	fates := map[events.Status]int{}
	for key := range stored {
		fates[fate(key)]++
		if status := fate(key); status != "" {
			want[key] = status
		}
	}
	got, applied := s.ledger(len(want))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
	token := s.token()
	for key, n := range stored {
		if fate(key) != events.Live {
			continue
		}
		status, body := s.get(fmt.Sprintf("/ice-cream/person%d", n), "Authorization", "Bearer "+token)
		if status != http.StatusOK || !strings.Contains(body, fmt.Sprintf(`"flavor%d"`, n)) || applied[key] != 1 {
			t.Errorf("%q: %d rows applied, GET = %d %s; want 1 row that can be read", key, applied[key], status, body)
		}
	}
	s.onlyStored(stored)
	t.Logf("responses %v, stored %d: %d live, %d failed as unknown_format, %d not uploads",
		responses, len(stored), fates[events.Live], fates[events.Failed], fates[""])
}

// ledger waits until n uploads are settled, and returns the status and the number of applied rows for each key.
func (s *testServer) ledger(n int) (statuses map[string]events.Status, applied map[string]int64) {
	s.t.Helper()
	testutil.WaitFor(s.t, "all uploads to be settled", func() bool {
		statuses, applied = map[string]events.Status{}, map[string]int64{}
		for before, more := "", true; more; {
			page, err := s.Uploads(s.t.Context(), before, 500)
			if err != nil {
				s.t.Fatal(err)
			}
			for _, u := range page {
				if _, twice := statuses[u.Key]; twice {
					s.t.Fatalf("%q is in the ledger twice", u.Key)
				}
				statuses[u.Key], applied[u.Key], before = u.Status, u.Counts.Applied, u.ID
				if !u.Status.Settled() {
					return false
				}
				if u.Status == events.Failed && u.Failure.Code != events.UnknownFormat {
					s.t.Fatalf("%q failed with %+v, want unknown_format", u.Key, u.Failure)
				}
			}
			more = len(page) > 0
		}
		return len(statuses) >= n
	})
	return statuses, applied
}

// onlyStored checks that rejected keys left no trace: the listing and the folder have exactly the stored keys.
func (s *testServer) onlyStored(stored map[string]int) {
	s.t.Helper()
	want := map[string]bool{}
	for key := range stored {
		want[key] = true
	}
	bucket, listed := s.Info().Bucket, map[string]bool{}
	pages := s3.NewListObjectsV2Paginator(s.S3(), &s3.ListObjectsV2Input{Bucket: &bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		for _, o := range page.Contents {
			listed[*o.Key] = true
		}
	}
	if diff := cmp.Diff(want, listed); diff != "" {
		s.t.Errorf("listed keys (-want +got):\n%s", diff)
	}
	root, files, folders := filepath.Join(s.cfg.Dir, "bucket", "objects", bucket), map[string]bool{}, map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch name, _ := filepath.Rel(root, path); {
		case err != nil:
			return err
		case name == "." || name == ".sgwtmp" || name == filepath.Join(".sgwtmp", "multipart"):
		case d.IsDir():
			folders[filepath.ToSlash(name)+"/"] = true
		default:
			files[filepath.ToSlash(name)] = true
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if diff := cmp.Diff(want, files); diff != "" {
		s.t.Errorf("files (-want +got):\n%s", diff)
	}
	for key := range stored {
		for at, c := range key {
			if c == '/' {
				delete(folders, key[:at+1])
			}
		}
	}
	if len(folders) > 0 {
		s.t.Errorf("empty folders: %q, want none", slices.Sorted(maps.Keys(folders)))
	}
}
