package gateway

import (
	"context"

	"github.com/versity/versitygw/s3err"
)

const maxTags = 10 // of an object, as on S3

// GetObjectTagging returns the tags of an object.
func (s *store) GetObjectTagging(ctx context.Context, bucket, object, version string) (map[string]string, error) {
	if err := s.admitVersion(ctx, &bucket, &object, &version, readAccess); err != nil {
		return nil, err
	}
	out, err := s.posix.GetObjectTagging(ctx, s.bucketDir(bucket), object, version)
	return out, s.toS3Error(ctx, err)
}

// PutObjectTagging sets the tags of an object. It is not a new upload, as on S3.
func (s *store) PutObjectTagging(ctx context.Context, bucket, object, version string, tags map[string]string) error {
	if err := s.admitVersion(ctx, &bucket, &object, &version, writeAccess); err != nil {
		return err
	}
	if len(tags) > maxTags {
		return s3err.GetAPIError(s3err.ErrObjectTaggingLimited)
	}
	return s.toS3Error(ctx, s.posix.PutObjectTagging(ctx, s.bucketDir(bucket), object, version, tags))
}

// DeleteObjectTagging removes the tags of an object.
func (s *store) DeleteObjectTagging(ctx context.Context, bucket, object, version string) error {
	if err := s.admitVersion(ctx, &bucket, &object, &version, writeAccess); err != nil {
		return err
	}
	return s.toS3Error(ctx, s.posix.DeleteObjectTagging(ctx, s.bucketDir(bucket), object, version))
}
