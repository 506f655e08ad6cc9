package gateway

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// The gateway creates its buckets when it starts, and requests can't change them. With each request versitygw asks for
// a bucket's ACL, policy, CORS and object lock. The answers are constant, whatever an earlier release stored on disk.

// ListBuckets lists all buckets, which every account may read. The backend's own method would list the working
// directory.
func (s *store) ListBuckets(
	ctx context.Context, in s3response.ListBucketsInput,
) (s3response.ListAllMyBucketsResult, error) {
	out := s3response.ListAllMyBucketsResult{Owner: s3response.CanonicalUser{ID: s.uploader.AccessKey}, Prefix: in.Prefix}
	if err := s.authorize(ctx, "", readAccess); err != nil {
		return out, err
	}
	err := checkTexts(map[string]*string{"prefix": &in.Prefix, "continuation-token": &in.ContinuationToken})
	if err != nil {
		return out, err
	}
	entries, err := s.buckets()
	if err != nil {
		return out, s.toS3Error(ctx, err)
	}
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasPrefix(name, in.Prefix) || name <= in.ContinuationToken {
			continue
		}
		info, err := entry.Info()
		if err != nil {
			continue // just deleted
		}
		if n := len(out.Buckets.Bucket); n > 0 && n == int(in.MaxBuckets) {
			out.ContinuationToken = out.Buckets.Bucket[n-1].Name
			break
		}
		entry := s3response.ListAllMyBucketsEntry{Name: name, CreationDate: info.ModTime()}
		out.Buckets.Bucket = append(out.Buckets.Bucket, entry)
	}
	return out, nil
}

// buckets returns the directories that are buckets, sorted by name.
func (s *store) buckets() ([]os.DirEntry, error) {
	entries, err := fs.ReadDir(s.files.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("listing buckets: %w", err)
	}
	return slices.DeleteFunc(entries, func(e os.DirEntry) bool {
		return !e.IsDir() || !utils.IsValidBucketName(e.Name())
	}), nil
}

// CreateBucket creates no bucket. It answers that a bucket exists, because some tools create theirs before they upload.
func (s *store) CreateBucket(ctx context.Context, in *s3.CreateBucketInput, _ []byte) error {
	if err := s.admitBucket(ctx, in.Bucket, readAccess); err != nil {
		return err
	}
	if _, err := s.files.Stat(*in.Bucket); err != nil {
		return s3err.GetAPIError(s3err.ErrAccessDenied)
	}
	return s3err.GetAPIError(s3err.ErrBucketAlreadyOwnedByYou)
}

// ensureBucket creates a bucket unless it exists.
func (s *store) ensureBucket(ctx context.Context, bucket string) error {
	if err := checkBucket(bucket); err != nil {
		return err
	}
	if info, err := s.files.Stat(bucket); err == nil && info.IsDir() {
		return nil
	}
	acl, err := s.acl(bucket)
	if err != nil {
		return err
	}
	return s.toS3Error(ctx, s.posix.CreateBucket(ctx, &s3.CreateBucketInput{
		Bucket: s.bucketDirPtr(&bucket), CreateBucketConfiguration: &types.CreateBucketConfiguration{},
		ObjectOwnership: types.ObjectOwnershipBucketOwnerEnforced,
	}, acl))
}

// GetBucketAcl returns the constant ACL of a bucket. versitygw calls it before each operation on a bucket, after it has
// verified the signature, and before it refuses a request without an account. So this is also where headers in the
// query and the filename of a form take effect.
//
//nolint:revive // the name is the interface's
func (s *store) GetBucketAcl(ctx context.Context, in *s3.GetBucketAclInput) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, s.toS3Error(ctx, err)
	}
	if err := s.admitBucket(asServer(ctx), in.Bucket, readAccess); err != nil {
		return nil, err
	}
	applyHoisted(ctx)
	resolveForm(ctx)
	if info, err := s.files.Stat(*in.Bucket); err != nil || !info.IsDir() {
		return nil, s3err.GetBucketErr(s3err.ErrNoSuchBucket, *in.Bucket)
	}
	return s.acl(*in.Bucket)
}

// GetBucketPolicy returns NoSuchBucketPolicy.
func (*store) GetBucketPolicy(context.Context, string) ([]byte, error) {
	return nil, s3err.GetAPIError(s3err.ErrNoSuchBucketPolicy)
}

// GetBucketCors returns NoSuchCORSConfiguration; see allowOrigins.
func (*store) GetBucketCors(context.Context, string) ([]byte, error) {
	return nil, s3err.GetAPIError(s3err.ErrNoSuchCORSConfiguration)
}

// GetObjectLockConfiguration returns that a bucket has no locks. versitygw calls it before it overwrites or deletes an
// object.
func (*store) GetObjectLockConfiguration(context.Context, string) ([]byte, error) {
	return nil, s3err.GetAPIError(s3err.ErrObjectLockConfigurationNotFound)
}

// GetBucketVersioning returns that a bucket has no versions.
func (s *store) GetBucketVersioning(ctx context.Context, bucket string) (s3response.GetBucketVersioningOutput, error) {
	return s3response.GetBucketVersioningOutput{}, s.admitBucket(ctx, &bucket, readAccess)
}

// HeadBucket returns an error unless the bucket exists.
func (s *store) HeadBucket(ctx context.Context, in *s3.HeadBucketInput) (*s3.HeadBucketOutput, error) {
	if err := s.admitBucket(ctx, in.Bucket, readAccess); err != nil {
		return nil, err
	}
	inner := *in
	inner.Bucket = s.bucketDirPtr(in.Bucket)
	out, err := s.posix.HeadBucket(ctx, &inner)
	return out, s.toS3Error(ctx, err)
}
