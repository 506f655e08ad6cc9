package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// copyLimit is the largest source of one copy, as on S3; larger ones are copied in parts.
const copyLimit = 5 << 30

// CopyObject reads the source and puts it anew. The backend's own would not do: it takes no absolute paths as a source,
// and a copy onto itself would only replace the metadata, in place. Here that is a new upload like any other.
func (s *store) CopyObject(ctx context.Context, in s3response.CopyObjectInput) (s3response.CopyObjectOutput, error) {
	if err := s.admitKey(ctx, in.Bucket, in.Key, writing); err != nil {
		return s3response.CopyObjectOutput{}, err
	}
	replace := in.MetadataDirective == types.MetadataDirectiveReplace
	bucket, key, err := copySource(*in.CopySource)
	if err != nil {
		return s3response.CopyObjectOutput{}, err
	}
	if bucket == *in.Bucket && key == *in.Key && !replace {
		return s3response.CopyObjectOutput{}, s3err.GetAPIError(s3err.ErrInvalidCopyDest)
	}
	source, err := s.open(ctx, bucket, key, backend.PreConditions{
		IfMatch: in.CopySourceIfMatch, IfNoneMatch: in.CopySourceIfNoneMatch,
		IfModSince: in.CopySourceIfModifiedSince, IfUnmodeSince: in.CopySourceIfUnmodifiedSince,
	}, "")
	if err != nil {
		return s3response.CopyObjectOutput{}, err
	}
	defer source.Body.Close()
	if *source.ContentLength > copyLimit {
		return s3response.CopyObjectOutput{}, s3err.GetCopySourceObjectTooLargeErr(copyLimit)
	}

	put := s3response.PutObjectInput{
		Bucket: in.Bucket, Key: in.Key, Body: source.Body, ContentLength: source.ContentLength,
		ChecksumAlgorithm: in.ChecksumAlgorithm, WebsiteRedirectLocation: in.WebsiteRedirectLocation,
		ContentType: source.ContentType, ContentEncoding: source.ContentEncoding, CacheControl: source.CacheControl,
		ContentDisposition: source.ContentDisposition, ContentLanguage: source.ContentLanguage,
		Expires: source.ExpiresString, Metadata: source.Metadata,
	}
	if replace {
		put.ContentType, put.ContentEncoding, put.CacheControl = in.ContentType, in.ContentEncoding, in.CacheControl
		put.ContentDisposition, put.ContentLanguage = in.ContentDisposition, in.ContentLanguage
		put.Expires, put.Metadata = in.Expires, withHoisted(ctx, in.Metadata)
	}
	if put.ChecksumAlgorithm == "" {
		put.ChecksumAlgorithm = algorithm(source)
	}
	if in.TaggingDirective == types.TaggingDirectiveReplace {
		put.Tagging = in.Tagging
	} else if source.TagCount != nil {
		if put.Tagging, err = s.tags(ctx, bucket, key); err != nil {
			return s3response.CopyObjectOutput{}, err
		}
	}
	out, err := s.put(ctx, put)
	if err != nil {
		return s3response.CopyObjectOutput{}, err
	}
	modified := time.Now()
	if head, err := s.HeadObject(ctx, &s3.HeadObjectInput{Bucket: in.Bucket, Key: in.Key}); err == nil {
		modified = *head.LastModified
	}
	return s3response.CopyObjectOutput{CopyObjectResult: &s3response.CopyObjectResult{
		ETag: &out.ETag, LastModified: &modified, ChecksumType: out.ChecksumType,
		ChecksumCRC32: out.ChecksumCRC32, ChecksumCRC32C: out.ChecksumCRC32C, ChecksumCRC64NVME: out.ChecksumCRC64NVME,
		ChecksumSHA1: out.ChecksumSHA1, ChecksumSHA256: out.ChecksumSHA256, ChecksumSHA512: out.ChecksumSHA512,
	}}, nil
}

// UploadPartCopy makes a part of a multipart upload of a range of a stored object.
func (s *store) UploadPartCopy(ctx context.Context, in *s3.UploadPartCopyInput) (s3response.CopyPartResult, error) {
	if err := s.admitUpload(ctx, in.Bucket, in.Key, in.UploadId, writing); err != nil {
		return s3response.CopyPartResult{}, err
	}
	bucket, key, err := copySource(*in.CopySource)
	if err != nil {
		return s3response.CopyPartResult{}, err
	}
	span := backend.GetStringFromPtr(in.CopySourceRange)
	whole, err := s.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return s3response.CopyPartResult{}, err
	}
	_, length, err := backend.ParseCopySourceRange(*whole.ContentLength, span)
	if err != nil {
		return s3response.CopyPartResult{}, err
	}
	if length > copyLimit {
		return s3response.CopyPartResult{}, s3err.GetCopySourceObjectTooLargeErr(copyLimit)
	}
	source, err := s.open(ctx, bucket, key, backend.PreConditions{
		IfMatch: in.CopySourceIfMatch, IfNoneMatch: in.CopySourceIfNoneMatch,
		IfModSince: in.CopySourceIfModifiedSince, IfUnmodeSince: in.CopySourceIfUnmodifiedSince,
	}, span)
	if err != nil {
		return s3response.CopyPartResult{}, err
	}
	defer source.Body.Close()
	out, err := s.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: in.Bucket, Key: in.Key, UploadId: in.UploadId, PartNumber: in.PartNumber,
		Body: source.Body, ContentLength: source.ContentLength,
	})
	if err != nil {
		return s3response.CopyPartResult{}, err
	}
	return s3response.CopyPartResult{
		ETag: out.ETag, LastModified: time.Now(), ChecksumCRC32: out.ChecksumCRC32, ChecksumCRC32C: out.ChecksumCRC32C,
		ChecksumCRC64NVME: out.ChecksumCRC64NVME, ChecksumSHA1: out.ChecksumSHA1, ChecksumSHA256: out.ChecksumSHA256,
	}, nil
}

// open reads a copy's source. Conditions that a reader would be told "not modified" fail a copy.
func (s *store) open(ctx context.Context, bucket, key string, cond backend.PreConditions, span string) (*s3.GetObjectOutput, error) {
	out, err := s.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &bucket, Key: &key, Range: &span, ChecksumMode: types.ChecksumModeEnabled,
		IfMatch: cond.IfMatch, IfNoneMatch: cond.IfNoneMatch,
		IfModifiedSince: cond.IfModSince, IfUnmodifiedSince: cond.IfUnmodeSince,
	})
	if errors.Is(err, s3err.GetAPIError(s3err.ErrNotModified)) {
		return nil, s3err.GetAPIError(s3err.ErrPreconditionFailed)
	}
	if err == nil && out.Body == nil {
		out.Body = http.NoBody // a folder
	}
	return out, err
}

// tags are an object's, as a request would carry them.
func (s *store) tags(ctx context.Context, bucket, key string) (*string, error) {
	tags, err := s.GetObjectTagging(ctx, bucket, key, "")
	if err != nil {
		return nil, err
	}
	query := make(url.Values, len(tags))
	for k, v := range tags {
		query.Set(k, v)
	}
	encoded := query.Encode()
	return &encoded, nil
}

// algorithm is the checksum's that an object was stored with; empty for the default.
func algorithm(o *s3.GetObjectOutput) types.ChecksumAlgorithm {
	switch {
	case o.ChecksumCRC32 != nil:
		return types.ChecksumAlgorithmCrc32
	case o.ChecksumCRC32C != nil:
		return types.ChecksumAlgorithmCrc32c
	case o.ChecksumSHA1 != nil:
		return types.ChecksumAlgorithmSha1
	case o.ChecksumSHA256 != nil:
		return types.ChecksumAlgorithmSha256
	}
	return ""
}
