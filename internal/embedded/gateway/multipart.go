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

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// UploadPart stores a part.
func (s *store) UploadPart(ctx context.Context, in *s3.UploadPartInput) (*s3.UploadPartOutput, error) {
	err := s.admitUpload(ctx, in.Bucket, in.Key, in.UploadId, writing)
	if err == nil {
		err = s.fits(ctx, *in.Bucket, in.ContentLength)
	}
	if err != nil {
		drain(in.Body)
		return nil, err
	}
	inner := *in
	inner.Bucket = s.in(in.Bucket)
	inner.Body = s.body(*in.Bucket, in.Body, in.ContentLength, nil)
	out, err := s.posix.UploadPart(context.WithoutCancel(ctx), &inner)
	return out, s.fail(ctx, err)
}

// CompleteMultipartUpload assembles an object of its parts.
//
// A client that got no answer, or a 503 because of Stored, completes again. versitygw then finds the upload gone and the
// object there, and answers 200 without having done anything: what is there is announced once more in that case.
// Completions of one upload take turns, for it would answer the second one while the first is still assembling.
func (s *store) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput) (s3response.CompleteMultipartUploadResult, string, error) {
	ctx = context.WithoutCancel(ctx)
	if err := s.admitUpload(ctx, in.Bucket, in.Key, in.UploadId, writing); err != nil {
		return s3response.CompleteMultipartUploadResult{}, "", err
	}
	if in.MultipartUpload == nil {
		return s3response.CompleteMultipartUploadResult{}, "", s3err.GetAPIError(s3err.ErrMalformedXML)
	}
	defer s.completions.lock(*in.UploadId)()
	if err := s.checkAlgorithm(in); err != nil {
		return s3response.CompleteMultipartUploadResult{}, "", s.fail(ctx, err)
	}
	if err := s.admitPlace(*in.Bucket, *in.Key); err != nil {
		return s3response.CompleteMultipartUploadResult{}, "", err
	}
	size := s.sizeOfParts(in)
	if err := s.fits(ctx, *in.Bucket, &size); err != nil {
		return s3response.CompleteMultipartUploadResult{}, "", err
	}
	u := s.begin(*in.Bucket, *in.Key)
	inner := *in
	inner.Bucket = s.in(in.Bucket)
	left := len(in.MultipartUpload.Parts)
	var blocked error
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	out, version, err := s.posix.CompleteMultipartUploadWithCopy(ctx, &inner, func(part, object *os.File) (bool, error) {
		err := appendPart(object, part)
		if left--; left > 0 {
			return true, err
		}
		if err == nil {
			err = u.stage(object)
		}
		u.lock() // after an error, versitygw goes on by other means
		if blocked = s.checkPlace(u.bucket, u.key); blocked != nil {
			stop() // before it writes attributes, which would be those of the folder that is in the way
		}
		return true, err
	})
	if blocked != nil {
		err = blocked
	}
	if err != nil {
		return s3response.CompleteMultipartUploadResult{}, "", u.failed(ctx, err)
	}
	out.Bucket = in.Bucket
	if !u.staged {
		if err := u.find(*in.UploadId, left < len(in.MultipartUpload.Parts)); err != nil {
			u.release()
			return s3response.CompleteMultipartUploadResult{}, "", s.fail(ctx, err)
		}
	}
	u.release()
	if err := u.settle(ctx, *out.ETag); err != nil {
		return s3response.CompleteMultipartUploadResult{}, "", err
	}
	return out, version, nil
}

// checkAlgorithm returns an error if a completion has a checksum of the whole object, of an algorithm that was not declared when
// the upload was created. versitygw ignores such a checksum.
func (s *store) checkAlgorithm(in *s3.CompleteMultipartUploadInput) error {
	upload := path.Join(partsFolder(*in.Key), *in.UploadId)
	if _, err := s.files.Stat(path.Join(*in.Bucket, upload)); err != nil {
		return nil // it was completed before, or there is no such upload
	}
	var declared s3response.Checksum
	stored, err := s.meta.RetrieveAttribute(nil, s.at(*in.Bucket), upload, checksumsAttribute)
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
			return s3err.APIError{Code: "InvalidRequest", HTTPStatusCode: http.StatusBadRequest, Description: fmt.Sprintf(
				"The request has a checksum of the algorithm %[1]s, which was not declared when the upload was created. "+
					"Declare %[1]s with x-amz-checksum-algorithm in CreateMultipartUpload, or leave out the checksum.", algorithm)}
		}
	}
	return nil
}

// sizeOfParts is how long the completed object will be, in bytes. What is not there counts nothing: the backend will say so.
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

// appendPart copies a part to the end of the whole. After an error both are as before, because versitygw then tries by
// other means.
func appendPart(whole, part *os.File) error {
	end, err := whole.Seek(0, io.SeekCurrent)
	if err != nil {
		return fmt.Errorf("finding the end of the assembled object: %w", err)
	}
	if _, err := io.Copy(whole, part); err != nil {
		_, back := part.Seek(0, io.SeekStart)
		_, start := whole.Seek(end, io.SeekStart)
		return errors.Join(fmt.Errorf("appending a part: %w", err), whole.Truncate(end), start, back)
	}
	return nil
}

// find takes the identity from the disk, for a completion that did not stamp a staged file: mostly a repeated one. If
// this one assembled the object, by other means than ours, it is stamped where it is.
func (u *upload) find(id string, assembled bool) error {
	u.lock()
	if assembled {
		if _, err := u.store.clock.stamp(u.store.files, u.path()); err != nil {
			return err
		}
	}
	info, err := u.store.files.Stat(u.path())
	if err != nil {
		return fmt.Errorf("looking for the completed object: %w", err)
	}
	if info.IsDir() { // the object was deleted, and others were stored below its name
		return s3err.GetNoSuchUploadErr(id)
	}
	u.size, u.mtime = info.Size(), info.ModTime()
	return nil
}
