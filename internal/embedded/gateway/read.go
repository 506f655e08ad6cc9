package gateway

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// rereads is how often a read starts over because the object is being replaced under it.
const rereads = 20

// GetObject opens an object.
//
// The backend reads the ETag, compares it with the request's conditions, and then opens the file by its name: an upload
// in between, and the reader gets the new bytes under the old ETag, with If-Match satisfied. The time of the opened file
// tells, for no two uploads share one. So what is answered is compared with the ETag and the time that one open file had
// just before, and read anew if they differ.
func (s *store) GetObject(ctx context.Context, in *s3.GetObjectInput) (*s3.GetObjectOutput, error) {
	if err := s.admitVersion(ctx, in.Bucket, in.Key, in.VersionId, reading); err != nil {
		return nil, err
	}
	inner := *in
	inner.Bucket = s.in(in.Bucket)
	for range rereads {
		before, known := s.look(*in.Bucket, *in.Key)
		out, err := s.posix.GetObject(ctx, &inner)
		if err != nil {
			return out, s.fail(ctx, err)
		}
		if known != nil && !errors.Is(known, fs.ErrNotExist) { // a folder, or a file that nobody uploaded
			return out, nil
		}
		if out.LastModified.Equal(before.mtime) && strings.Trim(*out.ETag, `"`) == before.etag {
			return out, nil
		}
		if out.Body != nil {
			if err := out.Body.Close(); err != nil {
				return nil, s.fail(ctx, err)
			}
		}
	}
	return nil, unavailable("The object is being replaced. Please try again.")
}
