package gateway

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3response"
)

// PutObject stores an object. versitygw also calls it for forms.
func (s *store) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	in.Metadata = withHoisted(ctx, in.Metadata)
	return s.put(ctx, in)
}

// put stores an object.
func (s *store) put(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	length := in.ContentLength
	form := isForm(ctx)
	if form {
		length = nil // it is the form's, not the object's
		if f := formOf(ctx); f != nil {
			f.accepted = true
		}
		if strings.HasSuffix(aws.ToString(in.Key), "/") && isEmpty(in.Body) {
			in.ContentLength = new(int64)
		}
	}
	if err := s.admitObject(ctx, in, length); err != nil {
		drain(in.Body)
		return s3response.PutObjectOutput{}, err
	}
	u := s.newUpload(*in.Bucket, *in.Key)
	defer u.release()
	in.Body = s.body(u.bucket, in.Body, length, func(read int64) error {
		if err := checkFormSize(ctx, read); err != nil {
			return err
		}
		u.lock() // next, versitygw creates the folders of the key
		return nil
	})
	if b, ok := in.Body.(*body); ok && form { // a file longer than the form or its policy allows
		b.maxLength, b.errTooLong = aws.ToInt64(in.ContentLength), errMalformedForm
		if err := checkFormSize(ctx, b.maxLength+1); err != nil {
			b.errTooLong = err
		}
	}
	in.ContentEncoding = withoutChunked(in.ContentEncoding)
	ctx = context.WithoutCancel(ctx) // a graceful stop cancels requests; those that got this far may finish
	in.Bucket = s.bucketDirPtr(in.Bucket)
	if strings.HasSuffix(u.key, "/") {
		return s.putFolder(ctx, u, in)
	}
	var err error
	if u.tags, err = backend.ParseObjectTags(aws.ToString(in.Tagging)); err != nil {
		return s3response.PutObjectOutput{}, err
	}
	in.Tagging = nil
	out, err := s.posix.PutObjectWithPostFunc(ctx, in, u.stage)
	if err == nil {
		err = u.checkNamed()
	}
	if err != nil {
		return s3response.PutObjectOutput{}, u.cleanUp(ctx, err)
	}
	u.release()
	if err := u.announce(ctx, out.ETag); err != nil {
		return s3response.PutObjectOutput{}, err
	}
	return out, nil
}

// putFolder stores a folder marker. It has no time of its own, and is not announced.
func (s *store) putFolder(
	ctx context.Context, u *upload, in s3response.PutObjectInput,
) (s3response.PutObjectOutput, error) {
	u.lock()
	defer u.release()
	if err := s.findConflict(u.bucket, u.key); err != nil {
		return s3response.PutObjectOutput{}, err
	}
	existed := s.isMarker(u.bucket, u.key)
	out, err := s.posix.PutObject(ctx, in)
	if err == nil {
		return out, nil
	}
	err = s.asConflict(u.bucket, u.key, err)
	if !existed { // remove what was stored
		_, deleteErr := s.posix.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: in.Bucket, Key: in.Key})
		err = errors.Join(err, deleteErr)
	}
	return s3response.PutObjectOutput{}, s.toS3Error(ctx, err)
}

// admitObject returns an error, which is the answer to the client, unless the request may store its object.
func (s *store) admitObject(ctx context.Context, in s3response.PutObjectInput, length *int64) error {
	if err := s.admitKey(ctx, in.Bucket, in.Key, writeAccess); err != nil {
		return err
	}
	if err := checkForm(ctx); err != nil {
		return err
	}
	if err := checkDescription(in.Metadata, in.Tagging, in.ContentType, in.ContentEncoding, in.ContentDisposition,
		in.ContentLanguage, in.CacheControl, in.Expires); err != nil {
		return err
	}
	if strings.HasSuffix(*in.Key, "/") && in.ContentLength != nil && *in.ContentLength != 0 {
		return errFolderData
	}
	if err := s.admitPath(*in.Bucket, *in.Key); err != nil {
		return err
	}
	return s.checkCapacity(ctx, *in.Bucket, length)
}
