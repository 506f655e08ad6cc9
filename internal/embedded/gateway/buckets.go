package gateway

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// Buckets are made when the gateway starts, and requests can't change them. What versitygw asks about them with each
// request (ACL, policy, CORS, object lock) has the same answer whatever an earlier release stored on disk.

// ListBuckets lists the directories that are buckets, all of them: everybody may read them. The backend's own would list
// the working directory.
func (s *store) ListBuckets(ctx context.Context, in s3response.ListBucketsInput) (s3response.ListAllMyBucketsResult, error) {
	out := s3response.ListAllMyBucketsResult{Owner: s3response.CanonicalUser{ID: s.uploader.AccessKey}, Prefix: in.Prefix}
	if err := s.may(ctx, "", reading); err != nil {
		return out, err
	}
	if err := checkTexts(map[string]*string{"prefix": &in.Prefix, "continuation-token": &in.ContinuationToken}); err != nil {
		return out, err
	}
	entries, err := s.buckets()
	if err != nil {
		return out, s.fail(ctx, err)
	}
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasPrefix(name, in.Prefix) || name <= in.ContinuationToken {
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

// buckets returns the directories that are buckets, sorted by name.
func (s *store) buckets() ([]os.DirEntry, error) {
	dir, err := s.files.Open(".")
	if err != nil {
		return nil, fmt.Errorf("listing buckets: %w", err)
	}
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return nil, fmt.Errorf("listing buckets: %w", err)
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return !e.IsDir() || !utils.IsValidBucketName(e.Name()) })
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// CreateBucket creates none. Tools that make sure of a bucket before they upload are told that it is there.
func (s *store) CreateBucket(ctx context.Context, in *s3.CreateBucketInput, _ []byte) error {
	if err := s.admitBucket(ctx, in.Bucket, reading); err != nil {
		return err
	}
	if _, err := s.files.Stat(*in.Bucket); err != nil {
		return s3err.GetAPIError(s3err.ErrAccessDenied)
	}
	return s3err.GetAPIError(s3err.ErrBucketAlreadyOwnedByYou)
}

// ensureBucket creates a bucket unless there is one.
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
	return s.fail(ctx, s.posix.CreateBucket(ctx, &s3.CreateBucketInput{
		Bucket: s.in(&bucket), CreateBucketConfiguration: &types.CreateBucketConfiguration{},
		ObjectOwnership: types.ObjectOwnershipBucketOwnerEnforced,
	}, acl))
}

// GetBucketAcl returns the constant ACL of a bucket. versitygw calls it before each operation on a bucket, after it has
// checked the signature, and before a request that carries no account is refused.
//
//nolint:revive // the name is the interface's
func (s *store) GetBucketAcl(ctx context.Context, in *s3.GetBucketAclInput) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, s.fail(ctx, err)
	}
	if err := s.admitBucket(asServer(ctx), in.Bucket, reading); err != nil {
		return nil, err
	}
	applyHoisted(ctx)
	nameFile(ctx)
	if info, err := s.files.Stat(*in.Bucket); err != nil || !info.IsDir() {
		return nil, s3err.GetBucketErr(s3err.ErrNoSuchBucket, *in.Bucket)
	}
	return s.acl(*in.Bucket)
}

// GetBucketPolicy says that a bucket has none.
func (*store) GetBucketPolicy(context.Context, string) ([]byte, error) {
	return nil, s3err.GetAPIError(s3err.ErrNoSuchBucketPolicy)
}

// GetBucketCors says that no web page may use a bucket.
func (*store) GetBucketCors(context.Context, string) ([]byte, error) {
	return nil, s3err.GetAPIError(s3err.ErrNoSuchCORSConfiguration)
}

// GetObjectLockConfiguration says that a bucket has no locks. versitygw calls it before it overwrites or deletes an object.
func (*store) GetObjectLockConfiguration(context.Context, string) ([]byte, error) {
	return nil, s3err.GetAPIError(s3err.ErrObjectLockConfigurationNotFound)
}

// GetBucketVersioning says that a bucket keeps no versions.
func (s *store) GetBucketVersioning(ctx context.Context, bucket string) (s3response.GetBucketVersioningOutput, error) {
	return s3response.GetBucketVersioningOutput{}, s.admitBucket(ctx, &bucket, reading)
}

// HeadBucket tells whether a bucket exists.
func (s *store) HeadBucket(ctx context.Context, in *s3.HeadBucketInput) (*s3.HeadBucketOutput, error) {
	if err := s.admitBucket(ctx, in.Bucket, reading); err != nil {
		return nil, err
	}
	inner := *in
	inner.Bucket = s.in(in.Bucket)
	out, err := s.posix.HeadBucket(ctx, &inner)
	return out, s.fail(ctx, err)
}
