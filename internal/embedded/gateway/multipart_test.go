package gateway_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
)

// TestCompleteAgainAfterKeyBecameFolder repeats a completion after the object was deleted and its path has become a
// folder of another key.
func TestCompleteAgainAfterKeyBecameFolder(t *testing.T) {
	t.Parallel()
	srv := start(t)
	complete := srv.parts(t, "uploads/a", []byte("x"))
	srv.complete(t, complete)
	srv.delete(t, *complete.Key)
	srv.put(t, "uploads/a/b.csv", "x")
	announced := len(srv.all())
	if _, err := srv.s3.CompleteMultipartUpload(t.Context(), complete); status(err) != 404 && status(err) != 409 {
		t.Errorf("completing again: %v, want 404 or 409", err)
	}
	srv.checkNothingAnnounced(t, announced)
}

func TestMultipart(t *testing.T) {
	t.Parallel()
	srv := start(t)
	body := payload(23 << 20)
	tm := transfermanager.New(srv.s3, func(o *transfermanager.Options) {
		o.PartSizeBytes, o.MultipartUploadThreshold = 5<<20, 6<<20
	})
	_, err := tm.UploadObject(t.Context(), &transfermanager.UploadObjectInput{
		Bucket: uploads, Key: aws.String("uploads/many parts.csv"), Body: bytes.NewReader(body),
		Metadata: headers{"on-error": "abort"},
	})
	if err != nil {
		t.Fatal(err)
	}
	o := srv.last(t, "uploads/many parts.csv")
	if o.Size != int64(len(body)) || !strings.HasSuffix(o.ETag, "-5") {
		t.Errorf("announced size %d and ETag %s, want %d and five parts", o.Size, o.ETag, len(body))
	}
	srv.checkContent(t, o.Key, string(body))
	head, err := srv.s3.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: uploads, Key: &o.Key,
		IfMatch: aws.String(`"` + o.ETag + `"`)})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(headers{"on-error": "abort"}, head.Metadata); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	srv.checkScan(t)
}

func TestCompleteAgain(t *testing.T) {
	t.Parallel()
	srv := start(t)
	complete := srv.parts(t, "uploads/p.csv", payload(5<<20), payload(100))
	srv.failWith(errors.New("queue down"))
	_, err := srv.s3.CompleteMultipartUpload(t.Context(), complete)
	if got := status(err); got != 503 {
		t.Fatalf("status %d (%v), want 503", got, err)
	}
	srv.failWith(nil)
	srv.complete(t, complete)
	got := srv.all()
	if len(got) != 2 {
		t.Fatalf("announced %d times, want 2", len(got))
	}
	if diff := cmp.Diff(got[0], got[1]); diff != "" {
		t.Errorf("the second announcement differs (-first +second):\n%s", diff)
	}
}

func TestConcurrentCompletions(t *testing.T) {
	t.Parallel()
	srv := start(t)
	complete := srv.parts(t, "uploads/p.csv", payload(5<<20), payload(5<<20), payload(9))
	errs := make(chan error)
	for range 4 {
		go func() {
			_, err := srv.s3.CompleteMultipartUpload(t.Context(), complete)
			if err == nil && len(srv.all()) == 0 {
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
	for _, o := range srv.all() {
		if diff := cmp.Diff(srv.objects(t)["uploads/p.csv"], o); diff != "" {
			t.Errorf("announced differs (-stored +announced):\n%s", diff)
		}
	}
}

func TestCopyInParts(t *testing.T) {
	t.Parallel()
	srv := start(t)
	body := payload(6 << 20)
	srv.put(t, "drafts/big.csv", string(body))
	complete := srv.parts(t, "uploads/big.csv")
	for i, span := range []string{"bytes=0-5242879", fmt.Sprintf("bytes=5242880-%d", len(body)-1)} {
		n := aws.Int32(int32(i + 1))
		out, err := srv.s3.UploadPartCopy(t.Context(), &s3.UploadPartCopyInput{
			Bucket: uploads, Key: complete.Key, UploadId: complete.UploadId, PartNumber: n,
			CopySource: aws.String(bucket + "/drafts/big.csv"), CopySourceRange: &span,
		})
		if err != nil {
			t.Fatal(err)
		}
		complete.MultipartUpload.Parts = append(complete.MultipartUpload.Parts,
			types.CompletedPart{ETag: out.CopyPartResult.ETag, PartNumber: n})
	}
	srv.complete(t, complete)
	srv.checkContent(t, "uploads/big.csv", string(body))
	if got := srv.last(t, "uploads/big.csv").Size; got != int64(len(body)) {
		t.Errorf("announced size %d, want %d", got, len(body))
	}
}

// TestUndeclaredChecksumAlgorithm checks that a completion with a checksum that versitygw would not verify is refused.
func TestUndeclaredChecksumAlgorithm(t *testing.T) {
	t.Parallel()
	srv := start(t)
	wrong := "AAAAAA=="
	for _, declared := range []types.ChecksumAlgorithm{"", types.ChecksumAlgorithmCrc32, types.ChecksumAlgorithmSha256} {
		for name, set := range map[types.ChecksumAlgorithm]func(*s3.CompleteMultipartUploadInput){
			types.ChecksumAlgorithmCrc32:  func(in *s3.CompleteMultipartUploadInput) { in.ChecksumCRC32 = &wrong },
			types.ChecksumAlgorithmCrc32c: func(in *s3.CompleteMultipartUploadInput) { in.ChecksumCRC32C = &wrong },
			types.ChecksumAlgorithmCrc64nvme: func(in *s3.CompleteMultipartUploadInput) {
				in.ChecksumCRC64NVME = aws.String("AAAAAAAAAAA=")
			},
			types.ChecksumAlgorithmSha1: func(in *s3.CompleteMultipartUploadInput) {
				in.ChecksumSHA1 = aws.String("2jmj7l5rSw0yVb/vlWAYkK/YBwk=")
			},
			types.ChecksumAlgorithmSha256: func(in *s3.CompleteMultipartUploadInput) {
				in.ChecksumSHA256 = aws.String("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")
			},
		} {
			key := "uploads/" + string(declared) + "-" + string(name) + ".csv"
			mp, err := srv.s3.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: uploads, Key: &key,
				ChecksumAlgorithm: declared})
			if err != nil {
				t.Fatal(err)
			}
			part, err := srv.s3.UploadPart(t.Context(), &s3.UploadPartInput{
				Bucket: uploads, Key: &key, UploadId: mp.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader([]byte("x")),
				ChecksumAlgorithm: declared,
			})
			if err != nil {
				t.Fatal(err)
			}
			in := &s3.CompleteMultipartUploadInput{Bucket: uploads, Key: &key, UploadId: mp.UploadId,
				MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{
					ETag: part.ETag, PartNumber: aws.Int32(1), ChecksumCRC32: part.ChecksumCRC32, ChecksumSHA256: part.ChecksumSHA256,
				}}}}
			set(in)
			if _, err := srv.s3.CompleteMultipartUpload(t.Context(), in); status(err) != 400 || code(err) != "BadDigest" &&
				code(err) != "InvalidRequest" {
				t.Errorf("declared %q, sent %q: %v, want 400", declared, name, err)
			}
			in.ChecksumCRC32, in.ChecksumCRC32C, in.ChecksumCRC64NVME, in.ChecksumSHA1, in.ChecksumSHA256 = nil, nil, nil,
				nil, nil
			if _, err := srv.s3.CompleteMultipartUpload(t.Context(), in); err != nil {
				t.Errorf("declared %q, sent none: %v, want success", declared, err)
			}
		}
	}
}
