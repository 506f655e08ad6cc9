package gateway

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// CreateMultipartUpload begins an upload in parts.
func (s *store) CreateMultipartUpload(ctx context.Context, in s3response.CreateMultipartUploadInput) (s3response.InitiateMultipartUploadResult, error) {
	ctx = context.WithoutCancel(ctx)
	if err := s.admitKey(ctx, in.Bucket, in.Key, writing); err != nil {
		return s3response.InitiateMultipartUploadResult{}, err
	}
	if err := s.inside(ctx, *in.Bucket, partsFolder(*in.Key)); err != nil {
		return s3response.InitiateMultipartUploadResult{}, err
	}
	in.Metadata = withHoisted(ctx, in.Metadata)
	says := described{metadata: in.Metadata, tagging: in.Tagging, headers: []*string{
		in.ContentType, in.ContentEncoding, in.ContentDisposition, in.ContentLanguage, in.CacheControl, in.Expires,
	}}
	if err := says.check(); err != nil {
		return s3response.InitiateMultipartUploadResult{}, err
	}
	if strings.HasSuffix(*in.Key, "/") {
		return s3response.InitiateMultipartUploadResult{}, errFolderData
	}
	if err := s.admitPlace(*in.Bucket, *in.Key); err != nil {
		return s3response.InitiateMultipartUploadResult{}, err
	}
	if err := s.fits(ctx, *in.Bucket, nil); err != nil {
		return s3response.InitiateMultipartUploadResult{}, err
	}
	inner := in
	inner.Bucket, inner.ContentEncoding = s.in(in.Bucket), withoutChunks(in.ContentEncoding)
	out, err := s.posix.CreateMultipartUpload(ctx, inner)
	out.Bucket = *in.Bucket
	return out, s.fail(ctx, err)
}

// ListParts lists the parts of an upload.
func (s *store) ListParts(ctx context.Context, in *s3.ListPartsInput) (s3response.ListPartsResult, error) {
	if err := s.admitUpload(ctx, in.Bucket, in.Key, in.UploadId, reading); err != nil {
		return s3response.ListPartsResult{}, err
	}
	inner := *in
	inner.Bucket = s.in(in.Bucket)
	out, err := s.posix.ListParts(ctx, &inner)
	out.Bucket = *in.Bucket
	return out, s.fail(ctx, err)
}

// ListMultipartUploads lists the uploads under way.
func (s *store) ListMultipartUploads(ctx context.Context, in *s3.ListMultipartUploadsInput) (s3response.ListMultipartUploadsResult, error) {
	// A prefix that no key can have needs no care here: the backend compares it with the keys of uploads, and opens no path.
	if _, err := s.admitList(ctx, in.Bucket, in.Prefix); err != nil {
		return s3response.ListMultipartUploadsResult{}, err
	}
	if err := checkTexts(map[string]*string{"key-marker": in.KeyMarker, "upload-id-marker": in.UploadIdMarker, "delimiter": in.Delimiter}); err != nil {
		return s3response.ListMultipartUploadsResult{}, err
	}
	if err := s.inside(ctx, *in.Bucket, posix.MetaTmpMultipartDir); err != nil {
		return s3response.ListMultipartUploadsResult{}, err
	}
	inner := *in
	inner.Bucket = s.in(in.Bucket)
	out, err := s.posix.ListMultipartUploads(ctx, &inner)
	out.Bucket = *in.Bucket
	if encoded(ctx) {
		encodeUploads(&out)
	}
	return out, s.fail(ctx, err)
}

// GetObjectAttributes returns the attributes of an object that the request names.
func (s *store) GetObjectAttributes(ctx context.Context, in *s3.GetObjectAttributesInput) (s3response.GetObjectAttributesResponse, error) {
	if err := s.admitVersion(ctx, in.Bucket, in.Key, in.VersionId, reading); err != nil {
		return s3response.GetObjectAttributesResponse{}, err
	}
	inner := *in
	inner.Bucket = s.in(in.Bucket)
	out, err := s.posix.GetObjectAttributes(ctx, &inner)
	return out, s.fail(ctx, err)
}

// ListObjects lists a bucket.
func (s *store) ListObjects(ctx context.Context, in *s3.ListObjectsInput) (s3response.ListObjectsResult, error) {
	some, err := s.admitList(ctx, in.Bucket, in.Prefix)
	if err == nil {
		err = checkTexts(map[string]*string{"marker": in.Marker, "delimiter": in.Delimiter})
	}
	if err != nil {
		return s3response.ListObjectsResult{}, err
	}
	if !some {
		out := s3response.ListObjectsResult{
			Name: in.Bucket, Prefix: in.Prefix, Marker: in.Marker, Delimiter: in.Delimiter, MaxKeys: in.MaxKeys, IsTruncated: new(bool),
		}
		if encoded(ctx) {
			encodeList(&out)
		}
		return out, nil
	}
	inner := *in
	inner.Bucket = s.in(in.Bucket)
	out, err := s.posix.ListObjects(ctx, &inner)
	if s.cleared(ctx, *in.Bucket, err) {
		out, err = s.posix.ListObjects(ctx, &inner)
	}
	out.Name = in.Bucket
	if encoded(ctx) {
		encodeList(&out)
	}
	return out, s.fail(ctx, err)
}

// ListObjectsV2 lists a bucket.
func (s *store) ListObjectsV2(ctx context.Context, in *s3.ListObjectsV2Input) (s3response.ListObjectsV2Result, error) {
	some, err := s.admitList(ctx, in.Bucket, in.Prefix)
	if err == nil {
		err = checkTexts(map[string]*string{"continuation-token": in.ContinuationToken, "start-after": in.StartAfter, "delimiter": in.Delimiter})
	}
	if err != nil {
		return s3response.ListObjectsV2Result{}, err
	}
	if !some {
		out := s3response.ListObjectsV2Result{
			Name: in.Bucket, Prefix: in.Prefix, StartAfter: in.StartAfter, Delimiter: in.Delimiter, MaxKeys: in.MaxKeys,
			KeyCount: new(int32), IsTruncated: new(bool),
		}
		if encoded(ctx) {
			encodeListV2(&out)
		}
		return out, nil
	}
	inner := *in
	inner.Bucket = s.in(in.Bucket)
	out, err := s.posix.ListObjectsV2(ctx, &inner)
	if s.cleared(ctx, *in.Bucket, err) {
		out, err = s.posix.ListObjectsV2(ctx, &inner)
	}
	out.Name = in.Bucket
	if encoded(ctx) {
		encodeListV2(&out)
	}
	return out, s.fail(ctx, err)
}

// DeleteObject deletes an object.
func (s *store) DeleteObject(ctx context.Context, in *s3.DeleteObjectInput) (*s3.DeleteObjectOutput, error) {
	ctx = context.WithoutCancel(ctx)
	if err := s.admitVersion(ctx, in.Bucket, in.Key, in.VersionId, writing); err != nil {
		return nil, err
	}
	defer s.keys.lockKey(*in.Bucket, *in.Key)()
	return s.delete(ctx, in)
}

// delete deletes an object whose key the caller has locked, and the folders that are empty then.
func (s *store) delete(ctx context.Context, in *s3.DeleteObjectInput) (*s3.DeleteObjectOutput, error) {
	inner := *in
	inner.Bucket = s.in(in.Bucket)
	out, err := s.posix.DeleteObject(ctx, &inner)
	return out, s.fail(ctx, err)
}

// maxDeletes is how many keys one request may name, as on S3.
const maxDeletes = 1000

// DeleteObjects deletes objects one by one. The answer says which could not be deleted, and why. The backend's own
// does not check the keys, and tells clients the paths of files.
func (s *store) DeleteObjects(ctx context.Context, in *s3.DeleteObjectsInput) (s3response.DeleteResult, error) {
	ctx = context.WithoutCancel(ctx)
	var out s3response.DeleteResult
	if err := s.admitBucket(ctx, in.Bucket, writing); err != nil {
		return out, err
	}
	if in.Delete == nil || len(in.Delete.Objects) > maxDeletes {
		return out, s3err.GetAPIError(s3err.ErrMalformedXML)
	}
	for _, o := range in.Delete.Objects {
		if _, err := s.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: in.Bucket, Key: o.Key, VersionId: o.VersionId}); err != nil {
			out.Error = append(out.Error, s3err.ObjectDeleteError(aws.String(aws.ToString(o.Key)), o.VersionId, err))
			continue
		}
		out.Deleted = append(out.Deleted, types.DeletedObject{Key: o.Key, VersionId: o.VersionId})
	}
	return out, nil
}

// AbortMultipartUpload gives an upload up.
func (s *store) AbortMultipartUpload(ctx context.Context, in *s3.AbortMultipartUploadInput) error {
	if err := s.admitUpload(ctx, in.Bucket, in.Key, in.UploadId, writing); err != nil {
		return err
	}
	inner := *in
	inner.Bucket = s.in(in.Bucket)
	return s.fail(ctx, s.posix.AbortMultipartUpload(context.WithoutCancel(ctx), &inner))
}

// GetObjectTagging reads an object's tags.
func (s *store) GetObjectTagging(ctx context.Context, bucket, object, version string) (map[string]string, error) {
	if err := s.admitVersion(ctx, &bucket, &object, &version, reading); err != nil {
		return nil, err
	}
	out, err := s.posix.GetObjectTagging(ctx, s.at(bucket), object, version)
	return out, s.fail(ctx, err)
}

// PutObjectTagging stores them. It is no new upload, as on S3.
func (s *store) PutObjectTagging(ctx context.Context, bucket, object, version string, tags map[string]string) error {
	if err := s.admitVersion(ctx, &bucket, &object, &version, writing); err != nil {
		return err
	}
	if len(tags) > maxTags {
		return s3err.GetAPIError(s3err.ErrObjectTaggingLimited)
	}
	return s.fail(ctx, s.posix.PutObjectTagging(ctx, s.at(bucket), object, version, tags))
}

// DeleteObjectTagging removes them.
func (s *store) DeleteObjectTagging(ctx context.Context, bucket, object, version string) error {
	if err := s.admitVersion(ctx, &bucket, &object, &version, writing); err != nil {
		return err
	}
	return s.fail(ctx, s.posix.DeleteObjectTagging(ctx, s.at(bucket), object, version))
}

// NormalizeObjectKey is the key as policies see it. There are none.
func (s *store) NormalizeObjectKey(_, object string) string { return object }
