package gateway

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3response"
)

// ListObjects lists the objects in a bucket.
func (s *store) ListObjects(
	ctx context.Context, in *s3.ListObjectsInput,
) (out s3response.ListObjectsResult, err error) {
	possible, err := s.admitList(ctx, in.Bucket, in.Prefix)
	if err == nil {
		err = checkTexts(map[string]*string{"marker": in.Marker, "delimiter": in.Delimiter})
	}
	if err != nil {
		return s3response.ListObjectsResult{}, err
	}
	if possible {
		inner := *in
		inner.Bucket = s.bucketDirPtr(in.Bucket)
		out, err = s.posix.ListObjects(ctx, &inner)
		if s.setAsideUnreadable(ctx, *in.Bucket, err) {
			out, err = s.posix.ListObjects(ctx, &inner)
		}
	} else {
		out = s3response.ListObjectsResult{
			Prefix: in.Prefix, Marker: in.Marker, Delimiter: in.Delimiter, MaxKeys: in.MaxKeys, IsTruncated: new(bool),
		}
	}
	out.Name = in.Bucket
	if wantsEncoding(ctx) {
		encodeList(&out)
	}
	return out, s.toS3Error(ctx, err)
}

// ListObjectsV2 lists the objects in a bucket.
func (s *store) ListObjectsV2(
	ctx context.Context, in *s3.ListObjectsV2Input,
) (out s3response.ListObjectsV2Result, err error) {
	possible, err := s.admitList(ctx, in.Bucket, in.Prefix)
	if err == nil {
		err = checkTexts(map[string]*string{
			"continuation-token": in.ContinuationToken, "start-after": in.StartAfter, "delimiter": in.Delimiter,
		})
	}
	if err != nil {
		return s3response.ListObjectsV2Result{}, err
	}
	if possible {
		inner := *in
		inner.Bucket = s.bucketDirPtr(in.Bucket)
		out, err = s.posix.ListObjectsV2(ctx, &inner)
		if s.setAsideUnreadable(ctx, *in.Bucket, err) {
			out, err = s.posix.ListObjectsV2(ctx, &inner)
		}
	} else {
		out = s3response.ListObjectsV2Result{
			Prefix: in.Prefix, StartAfter: in.StartAfter, Delimiter: in.Delimiter, MaxKeys: in.MaxKeys,
			KeyCount: new(int32), IsTruncated: new(bool),
		}
	}
	out.Name = in.Bucket
	if wantsEncoding(ctx) {
		encodeListV2(&out)
	}
	return out, s.toS3Error(ctx, err)
}

// ListMultipartUploads lists the multipart uploads that are in progress.
func (s *store) ListMultipartUploads(
	ctx context.Context, in *s3.ListMultipartUploadsInput,
) (s3response.ListMultipartUploadsResult, error) {
	// A prefix that no key can have is harmless here: the backend compares it with the keys of uploads, and opens no path.
	if _, err := s.admitList(ctx, in.Bucket, in.Prefix); err != nil {
		return s3response.ListMultipartUploadsResult{}, err
	}
	if err := checkTexts(map[string]*string{
		"key-marker": in.KeyMarker, "upload-id-marker": in.UploadIdMarker, "delimiter": in.Delimiter,
	}); err != nil {
		return s3response.ListMultipartUploadsResult{}, err
	}
	if err := s.checkInside(ctx, *in.Bucket, posix.MetaTmpMultipartDir); err != nil {
		return s3response.ListMultipartUploadsResult{}, err
	}
	inner := *in
	inner.Bucket = s.bucketDirPtr(in.Bucket)
	out, err := s.posix.ListMultipartUploads(ctx, &inner)
	out.Bucket = *in.Bucket
	if wantsEncoding(ctx) {
		encodeUploads(&out)
	}
	return out, s.toS3Error(ctx, err)
}

// ListParts lists the parts of a multipart upload.
func (s *store) ListParts(ctx context.Context, in *s3.ListPartsInput) (s3response.ListPartsResult, error) {
	if err := s.admitUpload(ctx, in.Bucket, in.Key, in.UploadId, readAccess); err != nil {
		return s3response.ListPartsResult{}, err
	}
	inner := *in
	inner.Bucket = s.bucketDirPtr(in.Bucket)
	out, err := s.posix.ListParts(ctx, &inner)
	out.Bucket = *in.Bucket
	return out, s.toS3Error(ctx, err)
}
