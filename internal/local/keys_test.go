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
)

var randomKeys = flag.Int("keys", 300, "how many random object keys TestRandomKeys uploads")

// keyMaker makes random object keys, some of which need the path of another one.
type keyMaker struct {
	*rand.Rand

	made []string
}

// segment makes one segment of a key.
func (m *keyMaker) segment() string {
	switch m.IntN(12) {
	case 0:
		return []string{"", ".", "..", "...", ".sgwtmp", "~", "meta", " ", "con", "-"}[m.IntN(10)]
	case 1:
		return []string{
			"%", "%2F", "%2e%2e", "%00", "%%", "100%.csv", "+", "a+b", "&", "?x=1", "#", "\\", "..\\x", "a:b", "a;b", "*", "'", `"`, "<", "$x",
		}[m.IntN(20)]
	case 2, 3: // any bytes
		b := make([]byte, 1+m.IntN(12))
		for i := range b {
			b[i] = byte(m.IntN(256))
		}
		return string(b)
	case 4: // long
		return strings.Repeat(string(rune('a'+m.IntN(26))), 200+m.IntN(120))
	case 5: // other scripts
		r := []rune("äßñéøžшщ日本語한국🍦\u200f\u0301\u00a0\u2028")
		return string(r[m.IntN(len(r))]) + string(r[m.IntN(len(r))])
	default: // any of ASCII
		b := make([]byte, 1+m.IntN(12))
		for i := range b {
			b[i] = byte(0x20 + m.IntN(0x5f))
		}
		return string(b)
	}
}

// next makes a key of 1 to 1,100 bytes that was not made before.
func (m *keyMaker) next() string {
	for {
		var key string
		if m.IntN(10) > 0 {
			key = "uploads/"
		}
		if len(m.made) > 0 && m.IntN(25) == 0 {
			key = m.made[m.IntN(len(m.made))] + "/"
		}
		segments := 1 + m.IntN(4)
		if m.IntN(40) == 0 {
			segments = 40 + m.IntN(60)
		}
		for n := range segments {
			if n > 0 {
				key += "/"
			}
			key += m.segment()
		}
		key += []string{"", "", "/", ".csv", ".csv", ".CSV", ".tsv", ".json", ".ndjson", ".jsonl", ".csv.gz", ".txt"}[m.IntN(12)]
		key = key[:min(len(key), 1100)]
		seen := false
		for _, made := range m.made {
			seen = seen || made == key
		}
		if key != "" && !seen {
			m.made = append(m.made, key)
			return key
		}
	}
}

// content is a file of one row in the format that the key says, and CSV where it says none.
func content(t *testing.T, key, person, flavor string) string {
	t.Helper()
	format, _ := ingest.FileTypeOf(key)
	text := map[string]string{
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

// fate returns the status in which the upload of a stored object has to end, and "" if the object is no upload.
func fate(key string) events.Status {
	if !strings.HasPrefix(key, "uploads/") || events.DefaultIgnoreList().Match(events.Object{Key: key, Size: 1}) {
		return ""
	}
	if _, err := ingest.FileTypeOf(key); err != nil {
		return events.Failed
	}
	return events.Live
}

// putRaw stores an object under any bytes, and returns the status of the answer.
func (s *testServer) putRaw(key, body string) int {
	s.t.Helper()
	info := s.Info()
	var escaped strings.Builder
	for i := range len(key) {
		if c := key[i]; strings.IndexByte("/-_.~", c) >= 0 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' {
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
		aws.Credentials{AccessKeyID: info.AccessKey, SecretAccessKey: info.SecretKey}, req, hash, "s3", info.Region, time.Now())
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

// TestRandomKeys: a key is refused and leaves no trace, or its upload ends in the ledger under exactly that key, with
// its rows live. Run it with -keys 10000 for longer.
func TestRandomKeys(t *testing.T) {
	t.Parallel()
	s := start(t)
	maker := &keyMaker{Rand: rand.New(rand.NewPCG(17, 3))}
	stored, answers := map[string]int{}, map[int]int{} // key to its number; how often each status
	for n := range *randomKeys {
		key := maker.next()
		status := s.putRaw(key, content(t, key, fmt.Sprintf("person%d", n), fmt.Sprintf("flavor%d", n)))
		answers[status]++
		switch {
		case status == http.StatusOK:
			stored[key] = n
		case status < 400 || status > 499:
			t.Errorf("PUT %q: status %d, want 200 or 4xx", key, status)
		}
	}
	if len(stored) < *randomKeys/4 || len(stored) == *randomKeys {
		t.Errorf("%d of %d keys are stored", len(stored), *randomKeys)
	}
	want := map[string]events.Status{}
	ends := map[events.Status]int{}
	for key := range stored {
		ends[fate(key)]++
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
			t.Errorf("the row of %q: %d applied, read as %d %s", key, applied[key], status, body)
		}
	}
	s.onlyStored(stored)
	t.Logf("answers %v, stored %d: %d live, %d failed as unknown_format, %d no uploads",
		answers, len(stored), ends[events.Live], ends[events.Failed], ends[""])
}

// ledger waits until so many uploads are settled, and returns the status of each key and how many rows of it were
// applied.
func (s *testServer) ledger(n int) (statuses map[string]events.Status, applied map[string]int64) {
	s.t.Helper()
	await(s.t, "the end of all uploads", func() bool {
		statuses, applied = map[string]events.Status{}, map[string]int64{}
		for before, more := "", true; more; {
			page, err := s.Uploads(s.t.Context(), before, 500)
			if err != nil {
				s.t.Fatal(err)
			}
			for _, u := range page {
				if _, twice := statuses[u.Key]; twice {
					s.t.Fatalf("%q is twice in the ledger", u.Key)
				}
				statuses[u.Key], applied[u.Key], before = u.Status, u.Counts.Applied, u.ID
				if !u.Status.Settled() {
					return false
				}
				if u.Status == events.Failed && u.Failure.Code != events.UnknownFormat {
					s.t.Fatalf("%q: %+v", u.Key, u.Failure)
				}
			}
			more = len(page) > 0
		}
		return len(statuses) >= n
	})
	return statuses, applied
}

// onlyStored makes sure that what was refused has left no trace: lists and the folder have the stored keys, and nothing
// else.
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
		s.t.Errorf("folders that hold nothing: %q", slices.Sorted(maps.Keys(folders)))
	}
}
