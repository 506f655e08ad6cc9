package gateway_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/s3err"

	"github.com/flavorless/flavorless/internal/embedded/gateway"
)

// disk is a disk that is full if full is not 0, or after until calls of checkSpace.
type disk struct{ full, asked, until atomic.Int64 }

func (d *disk) checkSpace(string, int64) error {
	if d.full.Load() != 0 || d.until.Load() > 0 && d.asked.Add(1) > d.until.Load() {
		return errors.New("internal detail")
	}
	return nil
}

func checkDiskFull(t *testing.T, operation string, err error) {
	t.Helper()
	if status(err) != 507 || code(err) != "InsufficientStorage" || !strings.Contains(err.Error(), "--min-free") ||
		strings.Contains(err.Error(), "detail") {
		t.Errorf("%s: status %d, code %q (%v), want 507 InsufficientStorage", operation, status(err), code(err), err)
	}
}

func TestFullDiskRefusesUploads(t *testing.T) {
	t.Parallel()
	var d disk
	srv := start(t, func(c *gateway.Config) { c.CheckSpace = d.checkSpace })
	srv.put(t, "drafts/a.csv", "x")
	complete := srv.parts(t, "uploads/parts.csv", payload(5<<20), payload(7))
	d.full.Store(1)
	checkDiskFull(t, "PUT", srv.tryPut(t, "uploads/a.csv", payload(100)))
	checkDiskFull(t, "empty PUT", srv.tryPut(t, "uploads/a.csv", nil))
	err := srv.copy(t, bucket+"/drafts/a.csv", "uploads/c.csv")
	checkDiskFull(t, "copy", err)
	_, err = srv.s3.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: uploads,
		Key: aws.String("uploads/m.csv")})
	checkDiskFull(t, "beginning parts", err)
	_, err = srv.s3.UploadPart(t.Context(), &s3.UploadPartInput{
		Bucket: uploads, Key: complete.Key, UploadId: complete.UploadId, PartNumber: aws.Int32(3),
		Body: bytes.NewReader(payload(7)),
	})
	checkDiskFull(t, "part", err)
	_, err = srv.s3.UploadPartCopy(t.Context(), &s3.UploadPartCopyInput{
		Bucket: uploads, Key: complete.Key, UploadId: complete.UploadId, PartNumber: aws.Int32(3),
		CopySource: aws.String(bucket + "/drafts/a.csv"),
	})
	checkDiskFull(t, "part by copy", err)
	_, err = srv.s3.CompleteMultipartUpload(t.Context(), complete)
	checkDiskFull(t, "completion", err)
	if got := srv.form(t, "uploads/form.csv", "x", 0); got.status != 507 {
		t.Errorf("form: %s, want 507", got)
	}
	srv.checkContent(t, "drafts/a.csv", "x")
	srv.checkNothingAnnounced(t, 0)
	srv.delete(t, "drafts/a.csv") // works while the disk is full
	d.full.Store(0)
	if _, err := srv.s3.CompleteMultipartUpload(t.Context(), complete); err != nil {
		t.Errorf("completing after space was freed: %v, want success", err)
	}
	if got := srv.last(t, "uploads/parts.csv").Size; got != 5<<20+7 {
		t.Errorf("announced size = %d, want that of the body", got)
	}
}

// TestDiskFillsUpDuringUpload checks that an upload is aborted and leaves nothing if it fills the disk.
func TestDiskFillsUpDuringUpload(t *testing.T) {
	t.Parallel()
	var d disk
	srv := start(t, func(c *gateway.Config) { c.CheckSpace = d.checkSpace })
	d.until.Store(2) // one check for the whole upload, one for its first MiB
	checkDiskFull(t, "PUT", srv.tryPut(t, "uploads/a.csv", payload(3<<20)))
	if d.asked.Load() != 3 {
		t.Errorf("checkSpace was called %d times, want 3", d.asked.Load())
	}
	srv.checkNothingStored(t)
}

// TestDiskFullErrors checks that errors of the operating system and of versitygw have the same answer.
func TestDiskFullErrors(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		&fs.PathError{Op: "write", Path: "/secret", Err: syscall.ENOSPC}, fmt.Errorf("open temp file: %w", syscall.EDQUOT),
		s3err.GetAPIError(s3err.ErrNoSpaceLeftOnDevice), s3err.GetAPIError(s3err.ErrQuotaExceeded),
	} {
		var answer s3err.S3Error
		if got := gateway.ToS3Error(err); !errors.As(got, &answer) || answer.StatusCode() != 507 ||
			strings.Contains(got.Error(), "secret") {
			t.Errorf("answer to %v = %v, want 507 without the path", err, got)
		}
	}
}
