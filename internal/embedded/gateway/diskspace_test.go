package gateway_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/s3err"

	"github.com/flavorless/flavorless/internal/embedded/gateway"
)

// disk is a Room that is full when it is told so, or once it was asked so often.
type disk struct{ full, asked, until atomic.Int64 }

func (d *disk) room(string, int64) error {
	if d.full.Load() != 0 || d.until.Load() > 0 && d.asked.Add(1) > d.until.Load() {
		return errors.New("full to the brim")
	}
	return nil
}

func wantFull(t *testing.T, what string, err error) {
	t.Helper()
	if status(err) != 507 || code(err) != "InsufficientStorage" || !strings.Contains(err.Error(), "--min-free") || strings.Contains(err.Error(), "brim") {
		t.Errorf("%s: status %d, code %q: %v", what, status(err), code(err), err)
	}
}

func TestAFullDiskRefusesUploads(t *testing.T) {
	t.Parallel()
	var d disk
	srv := start(t, func(c *gateway.Config) { c.CheckSpace = d.room })
	srv.put(t, "drafts/a.csv", "x")
	complete := srv.parts(t, "uploads/parts.csv", payload(5<<20), payload(7))
	d.full.Store(1)
	wantFull(t, "PUT", srv.tryPut(t, "uploads/a.csv", payload(100)))
	wantFull(t, "empty PUT", srv.tryPut(t, "uploads/a.csv", nil))
	err := srv.copy(t, bucket+"/drafts/a.csv", "uploads/c.csv")
	wantFull(t, "copy", err)
	_, err = srv.s3.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String(bucket), Key: aws.String("uploads/m.csv")})
	wantFull(t, "beginning parts", err)
	_, err = srv.s3.UploadPart(t.Context(), &s3.UploadPartInput{
		Bucket: aws.String(bucket), Key: complete.Key, UploadId: complete.UploadId, PartNumber: aws.Int32(3), Body: bytes.NewReader(payload(7)),
	})
	wantFull(t, "part", err)
	_, err = srv.s3.UploadPartCopy(t.Context(), &s3.UploadPartCopyInput{
		Bucket: aws.String(bucket), Key: complete.Key, UploadId: complete.UploadId, PartNumber: aws.Int32(3), CopySource: aws.String(bucket + "/drafts/a.csv"),
	})
	wantFull(t, "part by copy", err)
	_, err = srv.s3.CompleteMultipartUpload(t.Context(), complete)
	wantFull(t, "completion", err)
	resp := srv.form(t, "uploads/form.csv", "x", 0)
	resp.Body.Close()
	if resp.StatusCode != http.StatusInsufficientStorage {
		t.Errorf("form: status %d, want 507", resp.StatusCode)
	}
	if got := srv.get(t, "drafts/a.csv"); got != "x" {
		t.Errorf("reading gives %q", got)
	}
	if got := srv.keys(); len(got) > 0 {
		t.Errorf("announced: %v", got)
	}
	if _, err := srv.s3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: aws.String("drafts/a.csv")}); err != nil {
		t.Errorf("deleting, which makes checkSpace: %v", err)
	}
	d.full.Store(0)
	if _, err := srv.s3.CompleteMultipartUpload(t.Context(), complete); err != nil {
		t.Errorf("completion, once there is checkSpace: %v", err)
	}
	if got := srv.last(t, "uploads/parts.csv").Size; got != 5<<20+7 {
		t.Errorf("announced size %d", got)
	}
}

// TestADiskThatFillsUpMeanwhile refuses what is on its way, and keeps nothing of it.
func TestADiskThatFillsUpMeanwhile(t *testing.T) {
	t.Parallel()
	var d disk
	srv := start(t, func(c *gateway.Config) { c.CheckSpace = d.room })
	d.until.Store(2) // once for the whole, once for its first MiB
	wantFull(t, "PUT", srv.tryPut(t, "uploads/a.csv", payload(3<<20)))
	if d.asked.Load() != 3 {
		t.Errorf("the disk was looked at %d times", d.asked.Load())
	}
	srv.nothingStored(t)
}

// TestNoSpaceLeft: what the operating system or versitygw calls it, a client is told alike.
func TestNoSpaceLeft(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		&fs.PathError{Op: "write", Path: "/secret", Err: syscall.ENOSPC}, fmt.Errorf("open temp file: %w", syscall.EDQUOT),
		s3err.GetAPIError(s3err.ErrNoSpaceLeftOnDevice), s3err.GetAPIError(s3err.ErrQuotaExceeded),
	} {
		var told s3err.S3Error
		if got := gateway.Answer(err); !errors.As(got, &told) || told.StatusCode() != 507 || strings.Contains(got.Error(), "secret") {
			t.Errorf("%v is answered with %v", err, got)
		}
	}
}
