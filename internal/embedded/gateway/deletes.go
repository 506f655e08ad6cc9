package gateway

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// DeleteObject deletes an object.
func (s *store) DeleteObject(ctx context.Context, in *s3.DeleteObjectInput) (*s3.DeleteObjectOutput, error) {
	ctx = context.WithoutCancel(ctx)
	if err := s.admitVersion(ctx, in.Bucket, in.Key, in.VersionId, writeAccess); err != nil {
		return nil, err
	}
	defer s.keys.lockKey(*in.Bucket, *in.Key)()
	return s.delete(ctx, in)
}

// delete deletes an object, and the folders that become empty. The caller has locked the key.
func (s *store) delete(ctx context.Context, in *s3.DeleteObjectInput) (*s3.DeleteObjectOutput, error) {
	inner := *in
	inner.Bucket = s.bucketDirPtr(in.Bucket)
	out, err := s.posix.DeleteObject(ctx, &inner)
	return out, s.toS3Error(ctx, err)
}

// maxDeletes is the maximum number of keys in one request, as on S3.
const maxDeletes = 1000

// DeleteObjects deletes several objects. The answer has an error for each that could not be deleted. The backend's own
// method does not check the keys, and its errors contain paths of files.
func (s *store) DeleteObjects(ctx context.Context, in *s3.DeleteObjectsInput) (s3response.DeleteResult, error) {
	ctx = context.WithoutCancel(ctx)
	var out s3response.DeleteResult
	if err := s.admitBucket(ctx, in.Bucket, writeAccess); err != nil {
		return out, err
	}
	if in.Delete == nil || len(in.Delete.Objects) > maxDeletes {
		return out, s3err.GetAPIError(s3err.ErrMalformedXML)
	}
	for _, o := range in.Delete.Objects {
		_, err := s.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: in.Bucket, Key: o.Key, VersionId: o.VersionId})
		if err != nil {
			out.Error = append(out.Error, s3err.ObjectDeleteError(aws.String(aws.ToString(o.Key)), o.VersionId, err))
			continue
		}
		out.Deleted = append(out.Deleted, types.DeletedObject{Key: o.Key, VersionId: o.VersionId})
	}
	return out, nil
}
