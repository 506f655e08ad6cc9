package gateway_test

import (
	"bytes"
	"cmp"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/gateway"
	"github.com/flavorless/flavorless/internal/testutil"
	"github.com/flavorless/flavorless/test/raw"
)

func client(addr, secret string, change ...func(*s3.Options)) *s3.Client {
	opts := s3.Options{
		BaseEndpoint: aws.String("http://" + addr), Region: "us-east-1", UsePathStyle: true, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("local", secret, ""),
	}
	return s3.New(opts, change...)
}

func (srv *testServer) put(t *testing.T, key, body string) events.Object {
	t.Helper()
	out, err := srv.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: uploads, Key: &key,
		Body: strings.NewReader(body)})
	if err != nil {
		t.Fatalf("PutObject(%q): %v", key, err)
	}
	return events.Object{Bucket: bucket, Key: key, ETag: strings.Trim(*out.ETag, `"`), Size: int64(len(body))}
}

func (srv *testServer) get(t *testing.T, key string) string {
	t.Helper()
	out, err := srv.s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: uploads, Key: &key})
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

// code returns the S3 error code of an SDK error, or "".
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func (srv *testServer) tryPut(t *testing.T, key string, body []byte) error {
	t.Helper()
	_, err := srv.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: uploads, Key: &key, Body: bytes.NewReader(body)})
	return err
}

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
	signed, err := s3.NewPresignClient(srv.s3).PresignPutObject(t.Context(),
		&s3.PutObjectInput{Bucket: uploads, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(signed.URL, "http://"+srv.Addr())
}

// parts starts a multipart upload, uploads its parts, and returns the input that completes it.
func (srv *testServer) parts(t *testing.T, key string, bodies ...[]byte) *s3.CompleteMultipartUploadInput {
	t.Helper()
	mp, err := srv.s3.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: uploads, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	done := &types.CompletedMultipartUpload{}
	for i, body := range bodies {
		n := aws.Int32(int32(i + 1))
		out, err := srv.s3.UploadPart(t.Context(), &s3.UploadPartInput{
			Bucket: uploads, Key: &key, UploadId: mp.UploadId, PartNumber: n, Body: bytes.NewReader(body),
		})
		if err != nil {
			t.Fatal(err)
		}
		done.Parts = append(done.Parts, types.CompletedPart{ETag: out.ETag, PartNumber: n, ChecksumCRC32: out.ChecksumCRC32})
	}
	return &s3.CompleteMultipartUploadInput{Bucket: uploads, Key: &key, UploadId: mp.UploadId, MultipartUpload: done}
}

// listed returns the keys that start with a prefix.
func (srv *testServer) listed(t *testing.T, prefix string) (keys []string) {
	t.Helper()
	pages := s3.NewListObjectsV2Paginator(srv.s3, &s3.ListObjectsV2Input{Bucket: uploads, Prefix: &prefix})
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

func (srv *testServer) delete(t *testing.T, key string) {
	t.Helper()
	if _, err := srv.s3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: uploads, Key: &key}); err != nil {
		t.Fatalf("DeleteObject(%q): %v", key, err)
	}
}

func (srv *testServer) head(t *testing.T, key string) (*s3.HeadObjectOutput, error) {
	t.Helper()
	return srv.s3.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: uploads, Key: &key})
}

// copy copies an object. The source starts with a bucket.
func (srv *testServer) copy(t *testing.T, source, key string) error {
	t.Helper()
	_, err := srv.s3.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: uploads, Key: &key, CopySource: &source})
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
	testutil.WaitFor(t, "storing of "+key, func() bool { return len(srv.staged(t)) == before+1 })
	return c
}

// finishUpload sends the second half.
func finishUpload(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := c.Write(payload(50_000)); err != nil {
		t.Fatal(err)
	}
}

// putObject stores an object, by default in the bucket uploads.
func (srv *testServer) putObject(t *testing.T, in *s3.PutObjectInput) {
	t.Helper()
	in.Bucket = cmp.Or(in.Bucket, uploads)
	if _, err := srv.s3.PutObject(t.Context(), in); err != nil {
		t.Fatalf("PutObject(%q): %v", *in.Key, err)
	}
}

func (srv *testServer) checkContent(t *testing.T, key, want string) {
	t.Helper()
	if got := srv.get(t, key); got != want {
		t.Errorf("GetObject(%q) = %.100q (%d bytes), want %.100q (%d bytes)", key, got, len(got), want, len(want))
	}
}
