package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3err"

	"github.com/flavorless/flavorless/events"
)

// store is versitygw's posix backend with announcements. upload.go, copy.go and multipart.go create objects; most other
// methods only convert bucket names to absolute paths and back. Each method first admits the request (access.go), which
// checks all names in it. Operations that have no method here (websites, ownership, locks, versions, changes to
// buckets) would answer 501 Not Implemented, but allowOnlyOperations refuses them before.
type store struct {
	backend.BackendUnsupported

	posix *posix.Posix
	meta  meta.MetadataStorer
	clock *clock
	root  string   // absolute; its directories are the buckets
	files *os.Root // opened on root; can't reach anything outside

	uploader, server Credential // the only accounts
	readOnly         []string   // buckets that only the server may write to

	bucket, prefix string                    // select the objects to announce
	onStored       func(events.Object) error // nil if nothing is announced
	maxObject      int64                     // bytes
	checkSpace     func(bucket string, bytes int64) error
	sync           bool
	log            *slog.Logger

	keys        stripes // held by lockKey from when an object was received until it has its name, and while it is deleted
	completions stripes // held while a multipart upload is completed
}

var _ backend.Backend = (*store)(nil)

func (*store) String() string { return "gateway" }

// close closes whatever openStore has opened.
func (s *store) close() error {
	if s.posix != nil {
		s.posix.Shutdown()
	}
	err := s.files.Close()
	if s.clock != nil {
		err = errors.Join(err, s.clock.close())
	}
	return err
}

// bucketDir returns the absolute path of a bucket's directory. The backend joins its bucket name with the key, so it
// accepts this path as a bucket name. admitBucket has checked the name before.
func (s *store) bucketDir(bucket string) string { return filepath.Join(s.root, bucket) }

// bucketDirPtr is bucketDir for the pointers in requests, which are not nil once the request was admitted.
func (s *store) bucketDirPtr(bucket *string) *string {
	dir := s.bucketDir(*bucket)
	return &dir
}

// isAnnounced reports whether OnStored is called for an object.
func (s *store) isAnnounced(bucket, key string) bool {
	return s.onStored != nil && bucket == s.bucket && strings.HasPrefix(key, s.prefix)
}

// toS3Error converts an error to the answer for the client. S3's errors stay, with the bucket's own name. Other errors
// are logged here, because versitygw would print them, and become a plain 500.
func (s *store) toS3Error(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var bucket s3err.BucketError
	if errors.As(err, &bucket) {
		bucket.BucketName = filepath.Base(bucket.BucketName)
		return bucket
	}
	if errors.Is(err, errDiskFull) { // logged before
		return errDiskFull
	}
	if isDiskFull(err) {
		s.log.WarnContext(ctx, "upload refused: the disk is full", slog.Any("error", err))
		return errDiskFull
	}
	var known s3err.S3Error
	if errors.As(err, &known) {
		return known
	}
	if errors.Is(err, context.Canceled) { // only a stop cancels requests; a client that disconnects does not
		return unavailable("The server is stopping. Please try again.")
	}
	s.log.ErrorContext(ctx, "bucket request failed", slog.Any("error", err))
	return s3err.GetAPIError(s3err.ErrInternalError)
}

// errDiskFull has a status that clients don't retry, because a disk does not empty itself in seconds.
var errDiskFull = newError(http.StatusInsufficientStorage, "InsufficientStorage",
	"The disk of the server is full. Nothing was stored. Free disk space, and upload again. "+
		"The option --min-free of the server sets how much has to stay free.")

// isDiskFull reports whether the operating system or versitygw reports a full disk.
func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) ||
		errors.Is(err, s3err.GetAPIError(s3err.ErrNoSpaceLeftOnDevice)) ||
		errors.Is(err, s3err.GetAPIError(s3err.ErrQuotaExceeded))
}

// checkCapacity returns an error if that many bytes can't be stored in a bucket. A nil size is unknown.
func (s *store) checkCapacity(ctx context.Context, bucket string, size *int64) error {
	n := int64(0)
	if size != nil {
		n = max(*size, 0)
	}
	if n > s.maxObject {
		return s3err.GetEntityTooLargeErr(n, s.maxObject)
	}
	if err := s.checkSpace(bucket, n); err != nil {
		s.log.WarnContext(ctx, "upload refused: the disk is full", slog.Any("error", err))
		return errDiskFull
	}
	return nil
}

// newError returns an answer to a client. The description is one or more sentences.
func newError(status int, code, description string) error {
	return s3err.APIError{Code: code, Description: description, HTTPStatusCode: status}
}

// unavailable returns an error after which clients retry.
func unavailable(description string) error {
	return newError(http.StatusServiceUnavailable, "ServiceUnavailable", description)
}

// invalidArgument returns the error InvalidArgument.
func invalidArgument(argument, value, description string) error {
	return s3err.InvalidArgumentError{Description: description, ArgumentName: argument, ArgumentValue: value}
}

func notImplemented(description string) error {
	return newError(http.StatusNotImplemented, "NotImplemented", description)
}
