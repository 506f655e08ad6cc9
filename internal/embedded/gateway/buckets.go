package gateway

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3response"
)

// ListBuckets lists the directories that are buckets, all of them: there is one account. The backend's own would list
// the working directory.
func (s *store) ListBuckets(ctx context.Context, in s3response.ListBucketsInput) (s3response.ListAllMyBucketsResult, error) {
	out := s3response.ListAllMyBucketsResult{Owner: s3response.CanonicalUser{ID: in.Owner}, Prefix: in.Prefix}
	entries, err := os.ReadDir(s.root) // sorted
	if err != nil {
		return out, s.fail(ctx, fmt.Errorf("listing buckets: %w", err))
	}
	for _, entry := range entries {
		name := entry.Name()
		if !entry.IsDir() || !utils.IsValidBucketName(name) || !strings.HasPrefix(name, in.Prefix) || name <= in.ContinuationToken {
			continue
		}
		info, err := entry.Info()
		if err != nil {
			continue // deleted meanwhile
		}
		if n := len(out.Buckets.Bucket); n > 0 && n == int(in.MaxBuckets) {
			out.ContinuationToken = out.Buckets.Bucket[n-1].Name
			break
		}
		out.Buckets.Bucket = append(out.Buckets.Bucket, s3response.ListAllMyBucketsEntry{Name: name, CreationDate: info.ModTime()})
	}
	return out, nil
}

// CreateBucket makes a directory.
func (s *store) CreateBucket(ctx context.Context, in *s3.CreateBucketInput, acl []byte) error {
	inner := *in
	inner.Bucket = s.in(in.Bucket)
	return s.fail(ctx, s.posix.CreateBucket(ctx, &inner, acl))
}

// DeleteBucket removes an empty bucket.
func (s *store) DeleteBucket(ctx context.Context, bucket string) error {
	return s.fail(ctx, s.posix.DeleteBucket(ctx, s.at(bucket)))
}

// GetBucketAcl is who may use a bucket.
//
//nolint:revive // the name is the interface's
func (s *store) GetBucketAcl(ctx context.Context, in *s3.GetBucketAclInput) ([]byte, error) {
	inner := *in
	inner.Bucket = s.in(in.Bucket)
	out, err := s.posix.GetBucketAcl(ctx, &inner)
	return out, s.fail(ctx, err)
}

// GetBucketVersioning says that a bucket keeps no versions.
func (s *store) GetBucketVersioning(ctx context.Context, bucket string) (s3response.GetBucketVersioningOutput, error) {
	out, err := s.posix.GetBucketVersioning(ctx, s.at(bucket))
	return out, s.fail(ctx, err)
}

// GetBucketPolicy is looked at with every request.
func (s *store) GetBucketPolicy(ctx context.Context, bucket string) ([]byte, error) {
	out, err := s.posix.GetBucketPolicy(ctx, s.at(bucket))
	return out, s.fail(ctx, err)
}

// PutBucketPolicy stores a bucket's policy.
func (s *store) PutBucketPolicy(ctx context.Context, bucket string, policy []byte) error {
	return s.fail(ctx, s.posix.PutBucketPolicy(ctx, s.at(bucket), policy))
}

// DeleteBucketPolicy removes it.
func (s *store) DeleteBucketPolicy(ctx context.Context, bucket string) error {
	return s.fail(ctx, s.posix.DeleteBucketPolicy(ctx, s.at(bucket)))
}

// GetBucketCors says which web pages may use a bucket.
func (s *store) GetBucketCors(ctx context.Context, bucket string) ([]byte, error) {
	out, err := s.posix.GetBucketCors(ctx, s.at(bucket))
	return out, s.fail(ctx, err)
}

// PutBucketCors stores that.
func (s *store) PutBucketCors(ctx context.Context, bucket string, cors []byte) error {
	return s.fail(ctx, s.posix.PutBucketCors(ctx, s.at(bucket), cors))
}

// DeleteBucketCors removes it.
func (s *store) DeleteBucketCors(ctx context.Context, bucket string) error {
	return s.fail(ctx, s.posix.DeleteBucketCors(ctx, s.at(bucket)))
}

// GetBucketOwnershipControls says whose objects are.
func (s *store) GetBucketOwnershipControls(ctx context.Context, bucket string) (types.ObjectOwnership, error) {
	out, err := s.posix.GetBucketOwnershipControls(ctx, s.at(bucket))
	return out, s.fail(ctx, err)
}

// GetObjectLockConfiguration says that a bucket has no locks; it is looked at before anything is overwritten.
func (s *store) GetObjectLockConfiguration(ctx context.Context, bucket string) ([]byte, error) {
	out, err := s.posix.GetObjectLockConfiguration(ctx, s.at(bucket))
	return out, s.fail(ctx, err)
}

// GetBucketTagging reads a bucket's tags.
func (s *store) GetBucketTagging(ctx context.Context, bucket string) (map[string]string, error) {
	out, err := s.posix.GetBucketTagging(ctx, s.at(bucket))
	return out, s.fail(ctx, err)
}

// PutBucketTagging stores them.
func (s *store) PutBucketTagging(ctx context.Context, bucket string, tags map[string]string) error {
	return s.fail(ctx, s.posix.PutBucketTagging(ctx, s.at(bucket), tags))
}

// DeleteBucketTagging removes them.
func (s *store) DeleteBucketTagging(ctx context.Context, bucket string) error {
	return s.fail(ctx, s.posix.DeleteBucketTagging(ctx, s.at(bucket)))
}

// HeadBucket tells whether a bucket exists.
func (s *store) HeadBucket(ctx context.Context, in *s3.HeadBucketInput) (*s3.HeadBucketOutput, error) {
	inner := *in
	inner.Bucket = s.in(in.Bucket)
	out, err := s.posix.HeadBucket(ctx, &inner)
	return out, s.fail(ctx, err)
}
