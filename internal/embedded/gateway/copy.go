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

// maxCopy is the maximum size of the source of one copy in bytes, as on S3. Larger objects are copied in parts.
const maxCopy = 5 << 30

// CopyObject reads the source and stores it as a new upload, also if an object is copied onto itself. The backend's own
// method accepts no absolute paths as a source, and only replaces the metadata of an object that is copied onto itself.
func (s *store) CopyObject(ctx context.Context, in s3response.CopyObjectInput) (s3response.CopyObjectOutput, error) {
	if err := s.admitKey(ctx, in.Bucket, in.Key, writeAccess); err != nil {
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
	source, err := s.openSource(ctx, &s3.GetObjectInput{
		Bucket: &bucket, Key: &key, IfMatch: in.CopySourceIfMatch, IfNoneMatch: in.CopySourceIfNoneMatch,
		IfModifiedSince: in.CopySourceIfModifiedSince, IfUnmodifiedSince: in.CopySourceIfUnmodifiedSince,
	})
	if err != nil {
		return s3response.CopyObjectOutput{}, err
	}
	defer source.Body.Close()
	if *source.ContentLength > maxCopy {
		return s3response.CopyObjectOutput{}, s3err.GetCopySourceObjectTooLargeErr(maxCopy)
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
		put.ChecksumAlgorithm = checksumAlgorithm(source)
	}
	if in.TaggingDirective == types.TaggingDirectiveReplace {
		put.Tagging = in.Tagging
	} else if source.TagCount != nil {
		if put.Tagging, err = s.encodedTags(ctx, bucket, key); err != nil {
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

// UploadPartCopy stores a range of an object as a part of a multipart upload.
func (s *store) UploadPartCopy(ctx context.Context, in *s3.UploadPartCopyInput) (s3response.CopyPartResult, error) {
	if err := s.admitUpload(ctx, in.Bucket, in.Key, in.UploadId, writeAccess); err != nil {
		return s3response.CopyPartResult{}, err
	}
	bucket, key, err := copySource(*in.CopySource)
	if err != nil {
		return s3response.CopyPartResult{}, err
	}
	byteRange := backend.GetStringFromPtr(in.CopySourceRange)
	whole, err := s.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return s3response.CopyPartResult{}, err
	}
	_, length, err := backend.ParseCopySourceRange(*whole.ContentLength, byteRange)
	if err != nil {
		return s3response.CopyPartResult{}, err
	}
	if length > maxCopy {
		return s3response.CopyPartResult{}, s3err.GetCopySourceObjectTooLargeErr(maxCopy)
	}
	source, err := s.openSource(ctx, &s3.GetObjectInput{
		Bucket: &bucket, Key: &key, Range: &byteRange, IfMatch: in.CopySourceIfMatch, IfNoneMatch: in.CopySourceIfNoneMatch,
		IfModifiedSince: in.CopySourceIfModifiedSince, IfUnmodifiedSince: in.CopySourceIfUnmodifiedSince,
	})
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

// openSource opens the source of a copy. If the source was not modified, the conditions of the copy don't hold.
func (s *store) openSource(ctx context.Context, in *s3.GetObjectInput) (*s3.GetObjectOutput, error) {
	in.ChecksumMode = types.ChecksumModeEnabled
	if in.Range == nil {
		in.Range = new(string) // the backend needs one
	}
	out, err := s.GetObject(ctx, in)
	if errors.Is(err, s3err.GetAPIError(s3err.ErrNotModified)) {
		return nil, s3err.GetAPIError(s3err.ErrPreconditionFailed)
	}
	if err == nil && out.Body == nil {
		out.Body = http.NoBody // a folder
	}
	return out, err
}

// encodedTags returns the tags of an object as a request has them.
func (s *store) encodedTags(ctx context.Context, bucket, key string) (*string, error) {
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

// checksumAlgorithm returns the algorithm that an object was stored with, or "" for the default.
func checksumAlgorithm(o *s3.GetObjectOutput) types.ChecksumAlgorithm {
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
