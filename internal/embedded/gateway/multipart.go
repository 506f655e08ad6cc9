package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// CreateMultipartUpload starts a multipart upload.
func (s *store) CreateMultipartUpload(
	ctx context.Context, in s3response.CreateMultipartUploadInput,
) (s3response.InitiateMultipartUploadResult, error) {
	ctx = context.WithoutCancel(ctx)
	in.Metadata = withHoisted(ctx, in.Metadata)
	if err := s.admitMultipart(ctx, in); err != nil {
		return s3response.InitiateMultipartUploadResult{}, err
	}
	inner := in
	inner.Bucket, inner.ContentEncoding = s.bucketDirPtr(in.Bucket), withoutChunked(in.ContentEncoding)
	out, err := s.posix.CreateMultipartUpload(ctx, inner)
	out.Bucket = *in.Bucket
	return out, s.toS3Error(ctx, err)
}

// admitMultipart returns an error, which is the answer to the client, unless the multipart upload may start.
func (s *store) admitMultipart(ctx context.Context, in s3response.CreateMultipartUploadInput) error {
	if err := s.admitKey(ctx, in.Bucket, in.Key, writeAccess); err != nil {
		return err
	}
	if err := s.checkInside(ctx, *in.Bucket, partsFolder(*in.Key)); err != nil {
		return err
	}
	if err := checkDescription(in.Metadata, in.Tagging, in.ContentType, in.ContentEncoding, in.ContentDisposition,
		in.ContentLanguage, in.CacheControl, in.Expires); err != nil {
		return err
	}
	if strings.HasSuffix(*in.Key, "/") {
		return errFolderData
	}
	if err := s.admitPath(*in.Bucket, *in.Key); err != nil {
		return err
	}
	return s.checkCapacity(ctx, *in.Bucket, nil)
}

// UploadPart stores a part.
func (s *store) UploadPart(ctx context.Context, in *s3.UploadPartInput) (*s3.UploadPartOutput, error) {
	err := s.admitUpload(ctx, in.Bucket, in.Key, in.UploadId, writeAccess)
	if err == nil {
		err = s.checkCapacity(ctx, *in.Bucket, in.ContentLength)
	}
	if err != nil {
		drain(in.Body)
		return nil, err
	}
	inner := *in
	inner.Bucket = s.bucketDirPtr(in.Bucket)
	inner.Body = s.body(*in.Bucket, in.Body, in.ContentLength, nil)
	out, err := s.posix.UploadPart(context.WithoutCancel(ctx), &inner)
	return out, s.toS3Error(ctx, err)
}

// AbortMultipartUpload removes a multipart upload that is in progress.
func (s *store) AbortMultipartUpload(ctx context.Context, in *s3.AbortMultipartUploadInput) error {
	if err := s.admitUpload(ctx, in.Bucket, in.Key, in.UploadId, writeAccess); err != nil {
		return err
	}
	inner := *in
	inner.Bucket = s.bucketDirPtr(in.Bucket)
	return s.toS3Error(ctx, s.posix.AbortMultipartUpload(context.WithoutCancel(ctx), &inner))
}

// CompleteMultipartUpload assembles an object from its parts.
//
// A client that got no answer, or a 503 because of OnStored, completes again. versitygw then finds the object and no
// upload, and answers 200 without doing anything. In that case the existing object is announced again. Completions of
// one upload take turns, because versitygw would answer the second one while the first is still assembling.
func (s *store) CompleteMultipartUpload(
	ctx context.Context, in *s3.CompleteMultipartUploadInput,
) (out s3response.CompleteMultipartUploadResult, version string, err error) {
	ctx = context.WithoutCancel(ctx)
	if err := s.admitUpload(ctx, in.Bucket, in.Key, in.UploadId, writeAccess); err != nil {
		return out, "", err
	}
	if in.MultipartUpload == nil {
		return out, "", s3err.GetAPIError(s3err.ErrMalformedXML)
	}
	defer s.completions.lock(*in.UploadId)()
	if err := s.checkAlgorithm(in); err != nil {
		return out, "", s.toS3Error(ctx, err)
	}
	if err := s.admitPath(*in.Bucket, *in.Key); err != nil {
		return out, "", err
	}
	size := s.sizeOfParts(in)
	if err := s.checkCapacity(ctx, *in.Bucket, &size); err != nil {
		return out, "", err
	}
	u := s.newUpload(*in.Bucket, *in.Key)
	defer u.release()
	out, version, assembled, err := s.assemble(ctx, u, in)
	if err != nil {
		return s3response.CompleteMultipartUploadResult{}, "", u.cleanUp(ctx, err)
	}
	out.Bucket = in.Bucket
	if !u.staged {
		if err := u.locate(*in.UploadId, assembled); err != nil {
			return s3response.CompleteMultipartUploadResult{}, "", s.toS3Error(ctx, err)
		}
	}
	u.release()
	if err := u.announce(ctx, *out.ETag); err != nil {
		return s3response.CompleteMultipartUploadResult{}, "", err
	}
	return out, version, nil
}

// assemble assembles and stages the object. It reports whether this call assembled it, rather than an earlier one.
func (s *store) assemble(
	ctx context.Context, u *upload, in *s3.CompleteMultipartUploadInput,
) (out s3response.CompleteMultipartUploadResult, version string, assembled bool, err error) {
	inner := *in
	inner.Bucket = s.bucketDirPtr(in.Bucket)
	remaining := len(in.MultipartUpload.Parts)
	var conflict error
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	out, version, err = s.posix.CompleteMultipartUploadWithCopy(ctx, &inner, func(part, object *os.File) (bool, error) {
		assembled = true
		err := appendPart(object, part)
		if remaining--; remaining > 0 {
			return true, err
		}
		if err == nil {
			err = u.stage(object)
		}
		u.lock() // after an error, versitygw copies in another way
		if conflict = s.findConflict(u.bucket, u.key); conflict != nil {
			stop() // before versitygw writes attributes to the folder that has the key's path
		}
		return true, err
	})
	if conflict != nil {
		err = conflict
	}
	return out, version, assembled, err
}

// checkAlgorithm returns an error if a completion has a checksum of the whole object whose algorithm was not declared
// when the upload was created. versitygw ignores such a checksum.
func (s *store) checkAlgorithm(in *s3.CompleteMultipartUploadInput) error {
	upload := path.Join(partsFolder(*in.Key), *in.UploadId)
	if _, err := s.files.Stat(path.Join(*in.Bucket, upload)); err != nil {
		return nil //nolint:nilerr // it was completed before, or there is no such upload
	}
	var declared s3response.Checksum
	stored, err := s.meta.RetrieveAttribute(nil, s.bucketDir(*in.Bucket), upload, checksumsAttribute)
	if err == nil {
		err = json.Unmarshal(stored, &declared)
	}
	if err != nil && !errors.Is(err, meta.ErrNoSuchKey) {
		return fmt.Errorf("reading the checksum algorithm of an upload: %w", err)
	}
	for algorithm, value := range map[types.ChecksumAlgorithm]*string{
		types.ChecksumAlgorithmCrc32: in.ChecksumCRC32, types.ChecksumAlgorithmCrc32c: in.ChecksumCRC32C,
		types.ChecksumAlgorithmCrc64nvme: in.ChecksumCRC64NVME, types.ChecksumAlgorithmMd5: in.ChecksumMD5,
		types.ChecksumAlgorithmSha1: in.ChecksumSHA1, types.ChecksumAlgorithmSha256: in.ChecksumSHA256,
		types.ChecksumAlgorithmSha512: in.ChecksumSHA512, types.ChecksumAlgorithmXxhash3: in.ChecksumXXHASH3,
		types.ChecksumAlgorithmXxhash64: in.ChecksumXXHASH64, types.ChecksumAlgorithmXxhash128: in.ChecksumXXHASH128,
	} {
		if value != nil && algorithm != declared.Algorithm {
			return newError(http.StatusBadRequest, "InvalidRequest", fmt.Sprintf(
				"The request has a checksum of the algorithm %[1]s, which was not declared when the upload was created. "+
					"Declare %[1]s with x-amz-checksum-algorithm in CreateMultipartUpload, or leave out the checksum.", algorithm))
		}
	}
	return nil
}

// sizeOfParts returns the size of the completed object in bytes, without missing parts, which the backend reports.
func (s *store) sizeOfParts(in *s3.CompleteMultipartUploadInput) (size int64) {
	parts := path.Join(*in.Bucket, partsFolder(*in.Key), *in.UploadId)
	for _, p := range in.MultipartUpload.Parts {
		if p.PartNumber == nil {
			continue
		}
		if info, err := s.files.Stat(path.Join(parts, strconv.Itoa(int(*p.PartNumber)))); err == nil {
			size += info.Size()
		}
	}
	return size
}

// appendPart appends a part to the object. If it fails, it restores both files, because versitygw then copies the part
// in another way.
func appendPart(object, part *os.File) error {
	end, err := object.Seek(0, io.SeekCurrent)
	if err != nil {
		return fmt.Errorf("finding the end of the assembled object: %w", err)
	}
	if _, err := io.Copy(object, part); err != nil {
		_, rewound := part.Seek(0, io.SeekStart)
		_, reset := object.Seek(end, io.SeekStart)
		return errors.Join(fmt.Errorf("appending a part: %w", err), object.Truncate(end), reset, rewound)
	}
	return nil
}
