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

// AbortIncompleteUploads gives up the uploads in parts of a bucket to which nothing was added since that time, and tells how many
// those were. Their clients get NoSuchUpload, as on S3 after the lifecycle rule AbortIncompleteMultipartUpload.
func (g *Gateway) AbortIncompleteUploads(ctx context.Context, bucket string, before time.Time) (n int, err error) {
	ctx, s := asServer(ctx), g.store
	list := &s3.ListMultipartUploadsInput{Bucket: &bucket, MaxUploads: aws.Int32(1000)}
	for {
		page, err := s.ListMultipartUploads(ctx, list)
		if err != nil {
			return n, fmt.Errorf("listing unfinished uploads to %s: %w", bucket, err)
		}
		for _, u := range page.Uploads {
			if !u.Initiated.Before(before) { // in truth when the last part came
				continue
			}
			if err := s.abort(ctx, bucket, u.Key, u.UploadID); err != nil {
				return n, fmt.Errorf("giving up the unfinished upload of %s: %w", u.Key, err)
			}
			n++
		}
		if !page.IsTruncated {
			return n, nil
		}
		list.KeyMarker, list.UploadIdMarker = &page.NextKeyMarker, &page.NextUploadIDMarker
	}
}

// abort waits for a completion that is under way, which leaves nothing to be aborted.
func (s *store) abort(ctx context.Context, bucket, key, id string) error {
	defer s.completions.lock(id)()
	err := s.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: &id})
	if errors.Is(err, s3err.GetNoSuchUploadErr(id)) {
		return nil
	}
	return err
}

// DeleteBefore deletes the objects of a bucket that were stored before that time, and tells how many those were.
func (g *Gateway) DeleteBefore(ctx context.Context, bucket string, before time.Time) (n int, err error) {
	ctx, s := asServer(ctx), g.store
	err = s.walk(ctx, bucket, "", ".", func(o events.Object) error {
		if !o.Time.Before(before) {
			return nil
		}
		gone, err := s.remove(ctx, o.Bucket, o.Key, o.UploadID())
		if gone {
			n++
		}
		return err
	})
	return n, err
}

// Delete deletes an object if it is still that upload; what was stored under its key later stays.
func (g *Gateway) Delete(ctx context.Context, bucket, key, upload string) error {
	_, err := g.store.remove(asServer(ctx), bucket, key, upload)
	return err
}

// remove keeps writers of the key out while it looks and deletes.
func (s *store) remove(ctx context.Context, bucket, key, upload string) (gone bool, err error) {
	defer s.keys.lockKey(bucket, key)()
	is, err := s.identify(bucket, key)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, meta.ErrNoSuchKey) || errors.Is(err, fs.ErrInvalid) {
		return false, nil
	}
	if err != nil || is.UploadID() != upload {
		return false, err
	}
	if _, err := s.delete(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key}); err != nil {
		return false, fmt.Errorf("deleting %s: %w", path.Join(bucket, key), err)
	}
	return true, nil
}
