package gateway

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/s3response"
)

// CreateMultipartUpload begins an upload in parts.
func (s *store) CreateMultipartUpload(ctx context.Context, in s3response.CreateMultipartUploadInput) (s3response.InitiateMultipartUploadResult, error) {
	ctx = context.WithoutCancel(ctx)
	if err := s.fits(ctx, *in.Bucket, nil); err != nil {
		return s3response.InitiateMultipartUploadResult{}, err
	}
	inner := in
	inner.Bucket = s.in(in.Bucket)
	out, err := s.posix.CreateMultipartUpload(ctx, inner)
	out.Bucket = *in.Bucket
	return out, s.fail(ctx, err)
}

// ListParts lists the parts of an upload.
func (s *store) ListParts(ctx context.Context, in *s3.ListPartsInput) (s3response.ListPartsResult, error) {
	inner := *in
	inner.Bucket = s.in(in.Bucket)
	out, err := s.posix.ListParts(ctx, &inner)
	out.Bucket = *in.Bucket
	return out, s.fail(ctx, err)
}

// ListMultipartUploads lists the uploads under way.
func (s *store) ListMultipartUploads(ctx context.Context, in *s3.ListMultipartUploadsInput) (s3response.ListMultipartUploadsResult, error) {
	inner := *in
	inner.Bucket = s.in(in.Bucket)
	out, err := s.posix.ListMultipartUploads(ctx, &inner)
	out.Bucket = *in.Bucket
	return out, s.fail(ctx, err)
}

// HeadObject describes an object.
func (s *store) HeadObject(ctx context.Context, in *s3.HeadObjectInput) (*s3.HeadObjectOutput, error) {
	inner := *in
	inner.Bucket = s.in(in.Bucket)
	out, err := s.posix.HeadObject(ctx, &inner)
	return out, s.fail(ctx, err)
}

// GetObjectAttributes describes an object otherwise.
func (s *store) GetObjectAttributes(ctx context.Context, in *s3.GetObjectAttributesInput) (s3response.GetObjectAttributesResponse, error) {
	inner := *in
	inner.Bucket = s.in(in.Bucket)
	out, err := s.posix.GetObjectAttributes(ctx, &inner)
	return out, s.fail(ctx, err)
}

// ListObjects lists a bucket.
func (s *store) ListObjects(ctx context.Context, in *s3.ListObjectsInput) (s3response.ListObjectsResult, error) {
	inner := *in
	inner.Bucket = s.in(in.Bucket)
	out, err := s.posix.ListObjects(ctx, &inner)
	out.Name = in.Bucket
	return out, s.fail(ctx, err)
}

// ListObjectsV2 lists a bucket.
func (s *store) ListObjectsV2(ctx context.Context, in *s3.ListObjectsV2Input) (s3response.ListObjectsV2Result, error) {
	inner := *in
	inner.Bucket = s.in(in.Bucket)
	out, err := s.posix.ListObjectsV2(ctx, &inner)
	out.Name = in.Bucket
	return out, s.fail(ctx, err)
}

// DeleteObject deletes an object.
func (s *store) DeleteObject(ctx context.Context, in *s3.DeleteObjectInput) (*s3.DeleteObjectOutput, error) {
	ctx = context.WithoutCancel(ctx)
	inner := *in
	inner.Bucket = s.in(in.Bucket)
	out, err := s.posix.DeleteObject(ctx, &inner)
	return out, s.fail(ctx, err)
}

// DeleteObjects deletes objects.
func (s *store) DeleteObjects(ctx context.Context, in *s3.DeleteObjectsInput) (s3response.DeleteResult, error) {
	ctx = context.WithoutCancel(ctx)
	inner := *in
	inner.Bucket = s.in(in.Bucket)
	out, err := s.posix.DeleteObjects(ctx, &inner)
	return out, s.fail(ctx, err)
}

// AbortMultipartUpload gives an upload up.
func (s *store) AbortMultipartUpload(ctx context.Context, in *s3.AbortMultipartUploadInput) error {
	inner := *in
	inner.Bucket = s.in(in.Bucket)
	return s.fail(ctx, s.posix.AbortMultipartUpload(context.WithoutCancel(ctx), &inner))
}

// GetObjectTagging reads an object's tags.
func (s *store) GetObjectTagging(ctx context.Context, bucket, object, version string) (map[string]string, error) {
	out, err := s.posix.GetObjectTagging(ctx, s.at(bucket), object, version)
	return out, s.fail(ctx, err)
}

// PutObjectTagging stores them. It is no new upload, as on S3.
func (s *store) PutObjectTagging(ctx context.Context, bucket, object, version string, tags map[string]string) error {
	return s.fail(ctx, s.posix.PutObjectTagging(ctx, s.at(bucket), object, version, tags))
}

// DeleteObjectTagging removes them.
func (s *store) DeleteObjectTagging(ctx context.Context, bucket, object, version string) error {
	return s.fail(ctx, s.posix.DeleteObjectTagging(ctx, s.at(bucket), object, version))
}

// NormalizeObjectKey is the key as policies see it.
func (s *store) NormalizeObjectKey(bucket, object string) string {
	return s.posix.NormalizeObjectKey(s.at(bucket), object)
}
