package gateway

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/s3err"

	"github.com/flavorless/flavorless/events"
)

// AbortIncompleteUploads aborts the multipart uploads to a bucket that got no part since the given time, and returns
// their number. Their clients get NoSuchUpload, as on S3 with the lifecycle rule AbortIncompleteMultipartUpload.
func (g *Gateway) AbortIncompleteUploads(ctx context.Context, bucket string, before time.Time) (n int, err error) {
	ctx, s := asServer(ctx), g.store
	list := &s3.ListMultipartUploadsInput{Bucket: &bucket, MaxUploads: aws.Int32(1000)}
	for {
		page, err := s.ListMultipartUploads(ctx, list)
		if err != nil {
			return n, fmt.Errorf("listing incomplete uploads to %s: %w", bucket, err)
		}
		for _, u := range page.Uploads {
			if !u.Initiated.Before(before) { // despite its name, the time of the last part
				continue
			}
			if err := s.abort(ctx, bucket, u.Key, u.UploadID); err != nil {
				return n, fmt.Errorf("aborting the incomplete upload of %s: %w", u.Key, err)
			}
			n++
		}
		if !page.IsTruncated {
			return n, nil
		}
		list.KeyMarker, list.UploadIdMarker = &page.NextKeyMarker, &page.NextUploadIDMarker
	}
}

// abort aborts a multipart upload, unless a completion that is in progress finishes it first.
func (s *store) abort(ctx context.Context, bucket, key, id string) error {
	defer s.completions.lock(id)()
	err := s.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: &id})
	if errors.Is(err, s3err.GetNoSuchUploadErr(id)) {
		return nil
	}
	return err
}

// DeleteBefore deletes the objects of a bucket that were stored before the given time, and returns their number. It
// leaves those for whose keys keep returns true; keep is called only for old objects.
func (g *Gateway) DeleteBefore(
	ctx context.Context, bucket string, before time.Time, keep func(key string) bool,
) (n int, err error) {
	ctx, s := asServer(ctx), g.store
	err = s.walk(ctx, bucket, "", ".", func(o events.Object) error {
		if !o.Time.Before(before) || keep(o.Key) {
			return nil
		}
		deleted, err := s.deleteUpload(ctx, o.Bucket, o.Key, o.UploadID())
		if deleted {
			n++
		}
		return err
	})
	return n, err
}

// Delete deletes an object if its content is still that of the given upload. A later upload under the same key stays.
func (g *Gateway) Delete(ctx context.Context, bucket, key, upload string) error {
	_, err := g.store.deleteUpload(asServer(ctx), bucket, key, upload)
	return err
}

// deleteUpload locks the key, so that no upload can replace the object between the comparison and the deletion.
func (s *store) deleteUpload(ctx context.Context, bucket, key, upload string) (deleted bool, err error) {
	defer s.keys.lockKey(bucket, key)()
	o, err := s.identify(bucket, key)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, meta.ErrNoSuchKey) || errors.Is(err, fs.ErrInvalid) {
		return false, nil
	}
	if err != nil || o.UploadID() != upload {
		return false, err
	}
	if _, err := s.delete(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key}); err != nil {
		return false, fmt.Errorf("deleting %s: %w", path.Join(bucket, key), err)
	}
	return true, nil
}
