package gateway_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/gateway"
	"github.com/flavorless/flavorless/test/raw"
)

const bucket = "uploads"

// recorder records what was announced. Its OnStored returns the error fail.
type recorder struct {
	mu   sync.Mutex
	seen []events.Object
	fail error
}

func (r *recorder) stored(_ context.Context, o events.Object) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, o)
	return r.fail
}

func (r *recorder) failWith(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = err
}

func (r *recorder) all() []events.Object {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen)
}

// last returns the latest announcement of a key.
func (r *recorder) last(t *testing.T, key string) events.Object {
	t.Helper()
	for _, o := range slices.Backward(r.all()) {
		if o.Key == key {
			return o
		}
	}
	t.Fatalf("%q was not announced, want an announcement", key)
	return events.Object{}
}

func (r *recorder) keys() []string {
	var keys []string
	for _, o := range r.all() {
		keys = append(keys, o.Key)
	}
	return keys
}

type testServer struct {
	*gateway.Gateway
	*recorder
	cfg gateway.Config
	s3  *s3.Client
}

// config returns a configuration with a new directory that announces the prefix uploads/ of the bucket uploads.
func config(t testing.TB, r *recorder) gateway.Config {
	t.Helper()
	return gateway.Config{
		Dir: t.TempDir(), AccessKey: "local", SecretKey: "local-secret", NoSync: true,
		Buckets: []string{bucket, "reports"}, Bucket: bucket, Prefix: "uploads/",
		OnStored: r.stored, Logger: slog.New(slog.DiscardHandler),
	}
}

func start(t testing.TB, change ...func(*gateway.Config)) *testServer {
	t.Helper()
	r := &recorder{}
	cfg := config(t, r)
	for _, c := range change {
		c(&cfg)
	}
	return open(t, cfg, r)
}

func open(t testing.TB, cfg gateway.Config, r *recorder) *testServer {
	t.Helper()
	g, err := gateway.Start(cfg)
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(func() { stop(t, g) })
	return &testServer{Gateway: g, recorder: r, cfg: cfg, s3: client(g.Addr(), cfg.SecretKey)}
}

func stop(t testing.TB, g *gateway.Gateway) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := g.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

func client(addr, secret string, change ...func(*s3.Options)) *s3.Client {
	opts := s3.Options{
		BaseEndpoint: aws.String("http://" + addr), Region: "us-east-1", UsePathStyle: true, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("local", secret, ""),
	}
	return s3.New(opts, change...)
}

func (srv *testServer) put(t *testing.T, key, body string) events.Object {
	t.Helper()
	out, err := srv.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &key, Body: strings.NewReader(body)})
	if err != nil {
		t.Fatalf("PutObject(%q): %v", key, err)
	}
	return events.Object{Bucket: bucket, Key: key, ETag: strings.Trim(*out.ETag, `"`), Size: int64(len(body))}
}

func (srv *testServer) get(t *testing.T, key string) string {
	t.Helper()
	out, err := srv.s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: &key})
	if err != nil {
		t.Fatalf("GetObject(%q): %v", key, err)
	}
	return read(t, out.Body)
}

func read(t *testing.T, r io.ReadCloser) string {
	t.Helper()
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("reading: %v", err)
	}
	return string(b)
}

// objects returns what Objects yields, by key.
func (srv *testServer) objects(t *testing.T) map[string]events.Object {
	t.Helper()
	found := map[string]events.Object{}
	err := srv.Objects(t.Context(), func(o events.Object) error {
		if _, twice := found[o.Key]; twice {
			t.Errorf("Objects yields %q twice, want once", o.Key)
		}
		found[o.Key] = o
		return nil
	})
	if err != nil {
		t.Fatalf("Objects: %v", err)
	}
	return found
}

// announced returns the latest announcement of each key.
func (r *recorder) announced() map[string]events.Object {
	last := map[string]events.Object{}
	for _, o := range r.all() {
		if o.Sequencer >= last[o.Key].Sequencer {
			last[o.Key] = o
		}
	}
	return last
}

// status returns the HTTP status of an SDK error, or 0.
func status(err error) int {
	var re *awshttp.ResponseError
	if errors.As(err, &re) {
		return re.HTTPStatusCode()
	}
	return 0
}

func etag(b []byte) string {
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}

func payload(n int) []byte { return bytes.Repeat([]byte("andy,cookie dough\n"), n/18+1)[:n] }

// timeout is how long a test waits for something that must happen.
const timeout = 3 * time.Minute

// await waits until the condition is true.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(timeout); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, timeout)
		}
	}
}

// code returns the S3 error code of an SDK error, or "".
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// staged returns the staged files of unfinished uploads.
func (srv *testServer) staged(t *testing.T) (left []string) {
	t.Helper()
	for _, b := range []string{bucket, "reports"} {
		err := filepath.WalkDir(filepath.Join(srv.cfg.Dir, "objects", b, ".sgwtmp"), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				left = append(left, path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return left
}

// nothingStored checks that refused uploads have left nothing.
func (srv *testServer) nothingStored(t *testing.T) {
	t.Helper()
	if got := srv.staged(t); len(got) > 0 {
		t.Errorf("staged files: %v, want none", got)
	}
	if got := srv.keys(); len(got) > 0 {
		t.Errorf("announced %v, want nothing", got)
	}
	if got := srv.objects(t); len(got) > 0 {
		t.Errorf("stored: %v, want nothing", got)
	}
}

func (srv *testServer) tryPut(t *testing.T, key string, body []byte) error {
	t.Helper()
	_, err := srv.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &key, Body: bytes.NewReader(body)})
	return err
}

func mkdir(t *testing.T, elem ...string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(elem...), 0o755); err != nil {
		t.Fatal(err)
	}
}

// withSidecar makes a gateway store metadata beside the objects.
func withSidecar(c *gateway.Config) { _ = os.Mkdir(filepath.Join(c.Dir, "metadata"), 0o700) }

// completeParts uploads an object as a multipart upload.
func completeParts(t *testing.T, srv *testServer, key string) {
	t.Helper()
	if _, err := srv.s3.CompleteMultipartUpload(t.Context(), srv.parts(t, key, payload(9))); err != nil {
		t.Fatal(err)
	}
}

// as returns a client with a credential.
func (srv *testServer) as(by gateway.Credential) *s3.Client {
	return client(srv.Addr(), "", func(o *s3.Options) {
		o.Credentials = credentials.NewStaticCredentialsProvider(by.AccessKey, by.SecretKey, "")
	})
}

// zeros is a seekable reader of zeros that needs no memory.
type zeros struct{ size, at int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.at == z.size {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.size-z.at)
	clear(p[:n])
	z.at += n
	return int(n), nil
}

func (z *zeros) Seek(offset int64, whence int) (int64, error) {
	z.at = offset + map[int]int64{io.SeekStart: 0, io.SeekCurrent: z.at, io.SeekEnd: z.size}[whence]
	return z.at, nil
}

// presigned returns the path and query of a presigned PUT.
func (srv *testServer) presigned(t *testing.T, key string) string {
	t.Helper()
	signed, err := s3.NewPresignClient(srv.s3).PresignPutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(signed.URL, "http://"+srv.Addr())
}

// parts starts a multipart upload, uploads its parts, and returns the input that completes it.
func (srv *testServer) parts(t *testing.T, key string, bodies ...[]byte) *s3.CompleteMultipartUploadInput {
	t.Helper()
	mp, err := srv.s3.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String(bucket), Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	done := &types.CompletedMultipartUpload{}
	for i, body := range bodies {
		n := aws.Int32(int32(i + 1))
		out, err := srv.s3.UploadPart(t.Context(), &s3.UploadPartInput{
			Bucket: aws.String(bucket), Key: &key, UploadId: mp.UploadId, PartNumber: n, Body: bytes.NewReader(body),
		})
		if err != nil {
			t.Fatal(err)
		}
		done.Parts = append(done.Parts, types.CompletedPart{ETag: out.ETag, PartNumber: n, ChecksumCRC32: out.ChecksumCRC32})
	}
	return &s3.CompleteMultipartUploadInput{Bucket: aws.String(bucket), Key: &key, UploadId: mp.UploadId, MultipartUpload: done}
}

// listed returns the keys that start with a prefix.
func (srv *testServer) listed(t *testing.T, prefix string) (keys []string) {
	t.Helper()
	pages := s3.NewListObjectsV2Paginator(srv.s3, &s3.ListObjectsV2Input{Bucket: aws.String(bucket), Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Contents {
			keys = append(keys, *o.Key)
		}
	}
	return keys
}

// checkScan compares the latest announcement of each key with what Objects finds.
func (srv *testServer) checkScan(t *testing.T) {
	t.Helper()
	if diff := cmp.Diff(srv.announced(), srv.objects(t)); diff != "" {
		t.Errorf("Objects (-announced +found):\n%s", diff)
	}
}

func (srv *testServer) delete(t *testing.T, key string) {
	t.Helper()
	if _, err := srv.s3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: &key}); err != nil {
		t.Fatalf("DeleteObject(%q): %v", key, err)
	}
}

func (srv *testServer) head(t *testing.T, key string) (*s3.HeadObjectOutput, error) {
	t.Helper()
	return srv.s3.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: &key})
}

// copy copies an object. The source starts with a bucket.
func (srv *testServer) copy(t *testing.T, source, key string) error {
	t.Helper()
	_, err := srv.s3.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String(bucket), Key: &key, CopySource: &source})
	return err
}

func (srv *testServer) complete(t *testing.T, in *s3.CompleteMultipartUploadInput) {
	t.Helper()
	if _, err := srv.s3.CompleteMultipartUpload(t.Context(), in); err != nil {
		t.Fatalf("CompleteMultipartUpload(%q): %v", *in.Key, err)
	}
}

// startUpload sends the first half of an upload of 100,000 bytes, and waits until the server stores it.
func (srv *testServer) startUpload(t *testing.T, key string) net.Conn {
	t.Helper()
	before := len(srv.staged(t))
	c := raw.Dial(t, srv.Addr())
	head := "PUT " + srv.presigned(t, key) + " HTTP/1.1\r\nHost: " + srv.Addr() + "\r\nContent-Length: 100000\r\n\r\n"
	if _, err := c.Write(append([]byte(head), payload(50_000)...)); err != nil {
		t.Fatal(err)
	}
	await(t, "storing of "+key, func() bool { return len(srv.staged(t)) == before+1 })
	return c
}

// finishUpload sends the second half.
func finishUpload(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := c.Write(payload(50_000)); err != nil {
		t.Fatal(err)
	}
}

// checkUnchanged compares a folder with what tree has returned before.
func checkUnchanged(t *testing.T, folder, before string) {
	t.Helper()
	if diff := cmp.Diff(strings.Split(before, "\n"), strings.Split(tree(t, folder), "\n")); diff != "" {
		t.Errorf("files changed (-before +after):\n%s", diff)
	}
}
