package gateway_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/internal/testutil"
)

func TestCopies(t *testing.T) {
	t.Parallel()
	srv := start(t)
	srv.putObject(t, &s3.PutObjectInput{
		Bucket: uploads, Key: aws.String("drafts/a b%.csv"), Body: strings.NewReader("person,flavor\n"),
		Metadata: headers{"on-error": "abort"}, Tagging: aws.String("team=ice&cone=yes"), ContentType: aws.String("text/csv"),
	})
	copyTo := func(t *testing.T, key string, in s3.CopyObjectInput) error {
		in.Bucket, in.Key, in.CopySource = aws.String(bucket), &key, aws.String(bucket+"/"+*in.CopySource)
		out, err := srv.s3.CopyObject(t.Context(), &in)
		if err == nil && strings.Trim(*out.CopyObjectResult.ETag, `"`) != etag([]byte("person,flavor\n")) {
			t.Errorf("ETag = %s, want that of the source", *out.CopyObjectResult.ETag)
		}
		return err
	}
	if err := copyTo(t, "uploads/copy.csv",
		s3.CopyObjectInput{CopySource: aws.String("drafts/a%20b%25.csv")}); err != nil {
		t.Fatal(err)
	}
	first := srv.last(t, "uploads/copy.csv")
	if first.Size != 14 {
		t.Errorf("announced size %d, want 14", first.Size)
	}
	head, err := srv.head(t, first.Key)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(headers{"on-error": "abort"}, head.Metadata); diff != "" || *head.ContentType != "text/csv" {
		t.Errorf("type %s, metadata (-want +got):\n%s", *head.ContentType, diff)
	}
	tags, err := srv.s3.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: uploads, Key: &first.Key})
	if err != nil || len(tags.TagSet) != 2 {
		t.Errorf("tags = %v, %v; want two", tags, err)
	}

	t.Run("onto itself is a new upload", func(t *testing.T) {
		err := copyTo(t, first.Key, s3.CopyObjectInput{CopySource: &first.Key,
			MetadataDirective: types.MetadataDirectiveReplace})
		if err != nil {
			t.Fatal(err)
		}
		again := srv.last(t, first.Key)
		if again.Sequencer <= first.Sequencer || again.ETag != first.ETag || again.UploadID() == first.UploadID() {
			t.Errorf("copied onto itself: %+v after %+v, want a new upload", again, first)
		}
		srv.checkContent(t, first.Key, "person,flavor\n")
		head, err := srv.head(t, first.Key)
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
		err = copyTo(t, "uploads/c.csv", s3.CopyObjectInput{CopySource: &first.Key,
			CopySourceIfNoneMatch: aws.String(`"` + first.ETag + `"`)})
		if got := status(err); got != 412 {
			t.Errorf("if-none-match: status %d (%v), want 412", got, err)
		}
	})
	t.Run("missing source", func(t *testing.T) {
		if got := status(copyTo(t, "uploads/c.csv", s3.CopyObjectInput{CopySource: aws.String("none")})); got != 404 {
			t.Errorf("status %d, want 404", got)
		}
	})
	srv.checkScan(t)
}

func TestOnStoredFails(t *testing.T) {
	t.Parallel()
	srv := start(t)
	srv.failWith(errors.New("queue down"))
	put := &s3.PutObjectInput{Bucket: uploads, Key: aws.String("uploads/a.csv"), Body: strings.NewReader("x")}
	_, err := srv.s3.PutObject(t.Context(), put)
	if got := status(err); got != 503 || strings.Contains(err.Error(), "queue") {
		t.Errorf("PUT: status %d (%v), want 503 without the reason", got, err)
	}
	err = srv.copy(t, bucket+"/uploads/a.csv", "uploads/b.csv")
	if got := status(err); got != 503 {
		t.Errorf("copy: status %d (%v), want 503", got, err)
	}
	srv.checkScan(t)
	time.AfterFunc(50*time.Millisecond, func() { srv.failWith(nil) })
	retrying := client(srv.Addr(), srv.cfg.SecretKey, func(o *s3.Options) { o.RetryMaxAttempts = 20 })
	put.Body = strings.NewReader("x")
	if _, err := retrying.PutObject(t.Context(), put); err != nil {
		t.Errorf("a client that retries: %v, want success", err)
	}
}

// sendHalf sends the first half of a body, closes or resets the connection once the body is being stored, and waits
// until the staged file is removed.
func (srv *testServer) sendHalf(t *testing.T, signed string, reset bool) {
	t.Helper()
	c, err := net.Dial("tcp", srv.Addr())
	if err != nil {
		t.Fatal(err)
	}
	path := strings.TrimPrefix(signed, "http://"+srv.Addr())
	if _, err := fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 100000\r\n\r\n%s", path, srv.Addr(),
		payload(50000)); err != nil {
		t.Fatal(err)
	}
	testutil.WaitFor(t, "the body is being stored", func() bool { return len(srv.staged(t)) > 0 })
	if reset {
		if err := c.(*net.TCPConn).SetLinger(0); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	testutil.WaitFor(t, "the staged file is removed", func() bool { return len(srv.staged(t)) == 0 })
}

func TestTruncatedUploadIsNotStored(t *testing.T) {
	t.Parallel()
	srv := start(t)
	for _, reset := range []bool{false, true} {
		key := fmt.Sprintf("uploads/cut-%v.csv", reset)
		signed, err := s3.NewPresignClient(srv.s3).PresignPutObject(t.Context(),
			&s3.PutObjectInput{Bucket: uploads, Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		srv.sendHalf(t, signed.URL, reset)
	}
	if got, found := srv.keys(), srv.objects(t); len(got) != 0 || len(found) != 0 {
		t.Errorf("announced %v, stored %v; want nothing", got, found)
	}
	mp := srv.parts(t, "uploads/parts.csv")
	part, err := s3.NewPresignClient(srv.s3).PresignUploadPart(t.Context(), &s3.UploadPartInput{
		Bucket: uploads, Key: mp.Key, UploadId: mp.UploadId, PartNumber: aws.Int32(1),
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.sendHalf(t, part.URL, false)
	parts, err := srv.s3.ListParts(t.Context(), &s3.ListPartsInput{Bucket: uploads, Key: mp.Key, UploadId: mp.UploadId})
	if err != nil || len(parts.Parts) != 0 {
		t.Errorf("parts %v, %v; want none", parts.Parts, err)
	}
	// The complete request is accepted, so it was not refused for another reason.
	signed, err := s3.NewPresignClient(srv.s3).PresignPutObject(t.Context(),
		&s3.PutObjectInput{Bucket: uploads, Key: aws.String("uploads/whole.csv")})
	if err != nil {
		t.Fatal(err)
	}
	got := srv.sendSigned(t, "PUT", signed.URL, signed.SignedHeader, string(payload(100000)))
	if size := srv.last(t, "uploads/whole.csv").Size; got.status != 200 || size != 100000 {
		t.Errorf("complete upload: %s, announced size %d; want 200 and 100000", got, size)
	}
}
