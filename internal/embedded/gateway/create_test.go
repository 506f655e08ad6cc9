package gateway_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/internal/embedded/gateway"
)

func TestMultipart(t *testing.T) {
	t.Parallel()
	e := start(t)
	body := payload(23 << 20)
	tm := transfermanager.New(e.s3, func(o *transfermanager.Options) {
		o.PartSizeBytes, o.MultipartUploadThreshold = 5<<20, 6<<20
	})
	_, err := tm.UploadObject(t.Context(), &transfermanager.UploadObjectInput{
		Bucket: aws.String(bucket), Key: aws.String("uploads/many parts.csv"), Body: bytes.NewReader(body),
		Metadata: map[string]string{"on-error": "abort"},
	})
	if err != nil {
		t.Fatal(err)
	}
	o := e.last(t, "uploads/many parts.csv")
	if o.Size != int64(len(body)) || !strings.HasSuffix(o.ETag, "-5") {
		t.Errorf("announced size %d and ETag %s, want %d and five parts", o.Size, o.ETag, len(body))
	}
	if e.get(t, o.Key) != string(body) {
		t.Error("what is read is not what was uploaded")
	}
	head, err := e.s3.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: &o.Key, IfMatch: aws.String(`"` + o.ETag + `"`)})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"on-error": "abort"}, head.Metadata); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(e.announced(), e.objects(t)); diff != "" {
		t.Errorf("rescan (-announced +found):\n%s", diff)
	}
}

// parts begins a multipart upload and returns what completes it.
func (e *env) parts(t *testing.T, key string, bodies ...[]byte) *s3.CompleteMultipartUploadInput {
	t.Helper()
	mp, err := e.s3.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String(bucket), Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	done := &types.CompletedMultipartUpload{}
	for i, body := range bodies {
		n := aws.Int32(int32(i + 1))
		out, err := e.s3.UploadPart(t.Context(), &s3.UploadPartInput{
			Bucket: aws.String(bucket), Key: &key, UploadId: mp.UploadId, PartNumber: n, Body: bytes.NewReader(body),
		})
		if err != nil {
			t.Fatal(err)
		}
		done.Parts = append(done.Parts, types.CompletedPart{ETag: out.ETag, PartNumber: n, ChecksumCRC32: out.ChecksumCRC32})
	}
	return &s3.CompleteMultipartUploadInput{Bucket: aws.String(bucket), Key: &key, UploadId: mp.UploadId, MultipartUpload: done}
}

func TestCompletingAgainAnnouncesAgain(t *testing.T) {
	t.Parallel()
	e := start(t)
	complete := e.parts(t, "uploads/p.csv", payload(5<<20), payload(100))
	e.failWith(errors.New("queue down"))
	_, err := e.s3.CompleteMultipartUpload(t.Context(), complete)
	if got := status(err); got != 503 {
		t.Fatalf("status %d (%v), want 503", got, err)
	}
	e.failWith(nil)
	if _, err := e.s3.CompleteMultipartUpload(t.Context(), complete); err != nil {
		t.Fatal(err)
	}
	got := e.all()
	if len(got) != 2 {
		t.Fatalf("announced %d times, want 2", len(got))
	}
	if diff := cmp.Diff(got[0], got[1]); diff != "" {
		t.Errorf("the second announcement differs (-first +second):\n%s", diff)
	}
}

func TestConcurrentCompletions(t *testing.T) {
	t.Parallel()
	e := start(t)
	complete := e.parts(t, "uploads/p.csv", payload(5<<20), payload(5<<20), payload(9))
	errs := make(chan error)
	for range 4 {
		go func() {
			_, err := e.s3.CompleteMultipartUpload(t.Context(), complete)
			if err == nil && len(e.all()) == 0 {
				err = errors.New("answered before it was announced")
			}
			errs <- err
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	for _, o := range e.all() {
		if diff := cmp.Diff(e.objects(t)["uploads/p.csv"], o); diff != "" {
			t.Errorf("announced differs (-stored +announced):\n%s", diff)
		}
	}
}

func TestCopies(t *testing.T) {
	t.Parallel()
	e := start(t)
	_, err := e.s3.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: aws.String(bucket), Key: aws.String("drafts/a b%.csv"), Body: strings.NewReader("person,flavor\n"),
		Metadata: map[string]string{"on-error": "abort"}, Tagging: aws.String("team=ice&cone=yes"), ContentType: aws.String("text/csv"),
	})
	if err != nil {
		t.Fatal(err)
	}
	copyTo := func(t *testing.T, key string, in s3.CopyObjectInput) error {
		in.Bucket, in.Key, in.CopySource = aws.String(bucket), &key, aws.String(bucket+"/"+*in.CopySource)
		out, err := e.s3.CopyObject(t.Context(), &in)
		if err == nil && strings.Trim(*out.CopyObjectResult.ETag, `"`) != etag([]byte("person,flavor\n")) {
			t.Errorf("ETag = %s", *out.CopyObjectResult.ETag)
		}
		return err
	}
	if err := copyTo(t, "uploads/copy.csv", s3.CopyObjectInput{CopySource: aws.String("drafts/a%20b%25.csv")}); err != nil {
		t.Fatal(err)
	}
	first := e.last(t, "uploads/copy.csv")
	if first.Size != 14 {
		t.Errorf("announced size %d, want 14", first.Size)
	}
	head, err := e.s3.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: &first.Key})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"on-error": "abort"}, head.Metadata); diff != "" || *head.ContentType != "text/csv" {
		t.Errorf("type %s, metadata (-want +got):\n%s", *head.ContentType, diff)
	}
	tags, err := e.s3.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: aws.String(bucket), Key: &first.Key})
	if err != nil || len(tags.TagSet) != 2 {
		t.Errorf("tags = %v, %v; want two", tags, err)
	}

	t.Run("onto itself is a new upload", func(t *testing.T) {
		err := copyTo(t, first.Key, s3.CopyObjectInput{CopySource: &first.Key, MetadataDirective: types.MetadataDirectiveReplace})
		if err != nil {
			t.Fatal(err)
		}
		again := e.last(t, first.Key)
		if again.Sequencer <= first.Sequencer || again.ETag != first.ETag || again.UploadID() == first.UploadID() {
			t.Errorf("copied onto itself: %+v after %+v", again, first)
		}
		if got := e.get(t, first.Key); got != "person,flavor\n" {
			t.Errorf("content = %q", got)
		}
		head, err := e.s3.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: &first.Key})
		if err != nil || len(head.Metadata) != 0 {
			t.Errorf("metadata = %v, %v; want it replaced by none", head.Metadata, err)
		}
	})
	t.Run("onto itself unchanged is refused", func(t *testing.T) {
		if got := status(copyTo(t, first.Key, s3.CopyObjectInput{CopySource: &first.Key})); got != 400 {
			t.Errorf("status %d, want 400", got)
		}
	})
	t.Run("conditions", func(t *testing.T) {
		err := copyTo(t, "uploads/c.csv", s3.CopyObjectInput{CopySource: &first.Key, CopySourceIfMatch: aws.String(`"0000"`)})
		if got := status(err); got != 412 {
			t.Errorf("if-match: status %d (%v), want 412", got, err)
		}
		err = copyTo(t, "uploads/c.csv", s3.CopyObjectInput{CopySource: &first.Key, CopySourceIfNoneMatch: aws.String(`"` + first.ETag + `"`)})
		if got := status(err); got != 412 {
			t.Errorf("if-none-match: status %d (%v), want 412", got, err)
		}
	})
	t.Run("missing source", func(t *testing.T) {
		if got := status(copyTo(t, "uploads/c.csv", s3.CopyObjectInput{CopySource: aws.String("none")})); got != 404 {
			t.Errorf("status %d, want 404", got)
		}
	})
	if diff := cmp.Diff(e.announced(), e.objects(t)); diff != "" {
		t.Errorf("rescan (-announced +found):\n%s", diff)
	}
}

func TestCopyInParts(t *testing.T) {
	t.Parallel()
	e := start(t)
	body := payload(6 << 20)
	e.put(t, "drafts/big.csv", string(body))
	complete := e.parts(t, "uploads/big.csv")
	for i, span := range []string{"bytes=0-5242879", fmt.Sprintf("bytes=5242880-%d", len(body)-1)} {
		n := aws.Int32(int32(i + 1))
		out, err := e.s3.UploadPartCopy(t.Context(), &s3.UploadPartCopyInput{
			Bucket: aws.String(bucket), Key: complete.Key, UploadId: complete.UploadId, PartNumber: n,
			CopySource: aws.String(bucket + "/drafts/big.csv"), CopySourceRange: &span,
		})
		if err != nil {
			t.Fatal(err)
		}
		complete.MultipartUpload.Parts = append(complete.MultipartUpload.Parts, types.CompletedPart{ETag: out.CopyPartResult.ETag, PartNumber: n})
	}
	if _, err := e.s3.CompleteMultipartUpload(t.Context(), complete); err != nil {
		t.Fatal(err)
	}
	if e.get(t, "uploads/big.csv") != string(body) {
		t.Error("the copy differs")
	}
	if got := e.last(t, "uploads/big.csv").Size; got != int64(len(body)) {
		t.Errorf("announced size %d, want %d", got, len(body))
	}
}

func TestAnUploadThatCannotBeAnnouncedFails(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.failWith(errors.New("queue down"))
	put := &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String("uploads/a.csv"), Body: strings.NewReader("x")}
	_, err := e.s3.PutObject(t.Context(), put)
	if got := status(err); got != 503 || strings.Contains(err.Error(), "queue") {
		t.Errorf("PUT: status %d (%v), want 503 without the reason", got, err)
	}
	_, err = e.s3.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String(bucket), Key: aws.String("uploads/b.csv"), CopySource: aws.String(bucket + "/uploads/a.csv")})
	if got := status(err); got != 503 {
		t.Errorf("copy: status %d (%v), want 503", got, err)
	}
	if diff := cmp.Diff(e.announced(), e.objects(t)); diff != "" {
		t.Errorf("what is stored has to be found again (-announced +found):\n%s", diff)
	}
	time.AfterFunc(50*time.Millisecond, func() { e.failWith(nil) })
	retrying := client(e.Addr(), e.cfg.SecretKey, func(o *s3.Options) { o.RetryMaxAttempts = 20 })
	put.Body = strings.NewReader("x")
	if _, err := retrying.PutObject(t.Context(), put); err != nil {
		t.Errorf("a client that retries gets %v", err)
	}
}

// half sends the first half of a body, closes or resets the connection once it has begun to be stored, and waits until
// that is over.
func (e *env) half(t *testing.T, signed string, reset bool) {
	t.Helper()
	c, err := net.Dial("tcp", e.Addr())
	if err != nil {
		t.Fatal(err)
	}
	path := strings.TrimPrefix(signed, "http://"+e.Addr())
	if _, err := fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 100000\r\n\r\n%s", path, e.Addr(), payload(50000)); err != nil {
		t.Fatal(err)
	}
	await(t, "it is stored as it comes", func() bool { return len(e.staged(t)) > 0 })
	if reset {
		if err := c.(*net.TCPConn).SetLinger(0); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	await(t, "it is given up", func() bool { return len(e.staged(t)) == 0 })
}

func TestAnUploadCutShortIsNotStored(t *testing.T) {
	t.Parallel()
	e := start(t)
	for _, reset := range []bool{false, true} {
		key := fmt.Sprintf("uploads/cut-%v.csv", reset)
		signed, err := s3.NewPresignClient(e.s3).PresignPutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		e.half(t, signed.URL, reset)
	}
	if got, found := e.keys(), e.objects(t); len(got) != 0 || len(found) != 0 {
		t.Errorf("announced %v, stored %v; want nothing", got, found)
	}
	mp := e.parts(t, "uploads/parts.csv")
	part, err := s3.NewPresignClient(e.s3).PresignUploadPart(t.Context(), &s3.UploadPartInput{
		Bucket: aws.String(bucket), Key: mp.Key, UploadId: mp.UploadId, PartNumber: aws.Int32(1),
	})
	if err != nil {
		t.Fatal(err)
	}
	e.half(t, part.URL, false)
	parts, err := e.s3.ListParts(t.Context(), &s3.ListPartsInput{Bucket: aws.String(bucket), Key: mp.Key, UploadId: mp.UploadId})
	if err != nil || len(parts.Parts) != 0 {
		t.Errorf("parts %v, %v; want none", parts.Parts, err)
	}
	// The same request in full is accepted: it was not refused for another reason.
	signed, err := s3.NewPresignClient(e.s3).PresignPutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String("uploads/whole.csv")})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, signed.URL, bytes.NewReader(payload(100000)))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := e.last(t, "uploads/whole.csv").Size; resp.StatusCode != http.StatusOK || got != 100000 {
		t.Errorf("status %d, announced size %d", resp.StatusCode, got)
	}
}

func TestMetadataBesideTheObjects(t *testing.T) {
	t.Parallel()
	e := start(t, func(c *gateway.Config) { mkdir(t, c.Dir, "metadata") }) // a choice made earlier
	e.put(t, "uploads/a.csv", "one")
	complete := e.parts(t, "uploads/p.csv", payload(5<<20), payload(100))
	if _, err := e.s3.CompleteMultipartUpload(t.Context(), complete); err != nil {
		t.Fatal(err)
	}
	e.put(t, "uploads/a.csv", "two")
	if diff := cmp.Diff(e.announced(), e.objects(t)); diff != "" {
		t.Errorf("rescan (-announced +found):\n%s", diff)
	}
	if got := e.get(t, "uploads/a.csv"); got != "two" {
		t.Errorf("content = %q", got)
	}
}

// TestChecksumsOfUndeclaredAlgorithms are refused when an upload is completed: nothing could verify them.
func TestChecksumsOfUndeclaredAlgorithms(t *testing.T) {
	t.Parallel()
	e := start(t)
	wrong := "AAAAAA=="
	for _, declared := range []types.ChecksumAlgorithm{"", types.ChecksumAlgorithmCrc32, types.ChecksumAlgorithmSha256} {
		for name, set := range map[types.ChecksumAlgorithm]func(*s3.CompleteMultipartUploadInput){
			types.ChecksumAlgorithmCrc32:     func(in *s3.CompleteMultipartUploadInput) { in.ChecksumCRC32 = &wrong },
			types.ChecksumAlgorithmCrc32c:    func(in *s3.CompleteMultipartUploadInput) { in.ChecksumCRC32C = &wrong },
			types.ChecksumAlgorithmCrc64nvme: func(in *s3.CompleteMultipartUploadInput) { in.ChecksumCRC64NVME = aws.String("AAAAAAAAAAA=") },
			types.ChecksumAlgorithmSha1: func(in *s3.CompleteMultipartUploadInput) {
				in.ChecksumSHA1 = aws.String("2jmj7l5rSw0yVb/vlWAYkK/YBwk=")
			},
			types.ChecksumAlgorithmSha256: func(in *s3.CompleteMultipartUploadInput) {
				in.ChecksumSHA256 = aws.String("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")
			},
		} {
			key := "uploads/" + string(declared) + "-" + string(name) + ".csv"
			mp, err := e.s3.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String(bucket), Key: &key, ChecksumAlgorithm: declared})
			if err != nil {
				t.Fatal(err)
			}
			part, err := e.s3.UploadPart(t.Context(), &s3.UploadPartInput{
				Bucket: aws.String(bucket), Key: &key, UploadId: mp.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader([]byte("x")), ChecksumAlgorithm: declared,
			})
			if err != nil {
				t.Fatal(err)
			}
			in := &s3.CompleteMultipartUploadInput{Bucket: aws.String(bucket), Key: &key, UploadId: mp.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{
				ETag: part.ETag, PartNumber: aws.Int32(1), ChecksumCRC32: part.ChecksumCRC32, ChecksumSHA256: part.ChecksumSHA256,
			}}}}
			set(in)
			if _, err := e.s3.CompleteMultipartUpload(t.Context(), in); status(err) != 400 || code(err) != "BadDigest" && code(err) != "InvalidRequest" {
				t.Errorf("declared %q, sent %q: %v, want 400", declared, name, err)
			}
			in.ChecksumCRC32, in.ChecksumCRC32C, in.ChecksumCRC64NVME, in.ChecksumSHA1, in.ChecksumSHA256 = nil, nil, nil, nil, nil
			if _, err := e.s3.CompleteMultipartUpload(t.Context(), in); err != nil {
				t.Errorf("declared %q, sent none: %v", declared, err)
			}
		}
	}
}
