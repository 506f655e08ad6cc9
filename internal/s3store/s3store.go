// Package s3store reads uploads from S3 and writes reports to it.
package s3store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/flavorless/flavorless/events"
	internalaws "github.com/flavorless/flavorless/internal/aws"
)

// NewClient returns an S3 client.
func NewClient(a internalaws.Access) *s3.Client {
	c := a.Config("S3")
	return s3.NewFromConfig(c, func(o *s3.Options) { o.UsePathStyle = c.BaseEndpoint != nil })
}

// Objects reads uploads from S3.
type Objects struct{ Client *s3.Client }

// Open opens exactly the object that was announced, from a byte offset on: its version or, without versions, the object
// under its key if that has the announced ETag. The metadata contains the Content-Type. The error is
// events.ErrObjectGone if the object does not exist any more. If the offset is the size of the object, the body is
// empty and the metadata is nil, because S3 answers an empty range with 416.
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
func (s Objects) Open(ctx context.Context, o events.Object, offset int64) (io.ReadCloser, map[string]string, error) {
	in := &s3.GetObjectInput{Bucket: aws.String(o.Bucket), Key: aws.String(o.Key)}
	if o.VersionID != "" {
		in.VersionId = aws.String(o.VersionID)
	} else {
		in.IfMatch = aws.String(`"` + o.ETag + `"`)
	}
	if offset > 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", offset))
	}
	out, err := s.Client.GetObject(ctx, in)
	if err != nil {
		beyond := offset > 0 && statusOf(err) == http.StatusRequestedRangeNotSatisfiable
		if beyond && offset >= o.Size {
			return http.NoBody, nil, nil
		}
		if beyond || isGone(err) { // an object that is shorter than announced is another one
			err = fmt.Errorf("%w: %w", events.ErrObjectGone, err)
		}
		return nil, nil, fmt.Errorf("opening s3://%s/%s: %w", o.Bucket, o.Key, err)
	}
	if offset > 0 && !strings.HasPrefix(aws.ToString(out.ContentRange), fmt.Sprintf("bytes %d-", offset)) {
		_ = out.Body.Close() // nothing was read
		return nil, nil, fmt.Errorf("opening s3://%s/%s: requested the bytes from %d on, but the server sent %q",
			o.Bucket, o.Key, offset, aws.ToString(out.ContentRange))
	}
	metadata := maps.Clone(out.Metadata)
	if metadata == nil {
		metadata = map[string]string{}
	}
	metadata[events.MetadataContentType] = aws.ToString(out.ContentType)
	return out.Body, metadata, nil
}

// isGone reports whether an error means that the object does not exist any more. It uses the status for NoSuchVersion
// and PreconditionFailed, which have no type in the SDK.
func isGone(err error) bool {
	var noKey *types.NoSuchKey
	if errors.As(err, &noKey) {
		return true
	}
	var noBucket *types.NoSuchBucket
	status := statusOf(err)
	return status == http.StatusPreconditionFailed || status == http.StatusNotFound && !errors.As(err, &noBucket)
}

// statusOf returns the HTTP status of the answer, or 0 if there was none.
func statusOf(err error) int {
	var response *awshttp.ResponseError
	if !errors.As(err, &response) {
		return 0
	}
	return response.HTTPStatusCode()
}

// Reports writes objects of any length to one bucket.
type Reports struct {
	Client *s3.Client
	Bucket string
}

// reportPart is the size of a part of a report in bytes, the minimum on S3. Parts are uploaded one at a time, so it
// also bounds the memory.
const reportPart = 5 << 20

// Put stores body under key and returns its s3:// address. It uploads in parts, so an error of body leaves no object.
func (r Reports) Put(ctx context.Context, key string, body io.Reader) (string, error) {
	location := "s3://" + r.Bucket + "/" + key
	_, err := transfermanager.New(r.Client, func(o *transfermanager.Options) {
		o.PartSizeBytes, o.MultipartUploadThreshold, o.Concurrency = reportPart, reportPart, 1
	}).UploadObject(ctx, &transfermanager.UploadObjectInput{
		Bucket: aws.String(r.Bucket), Key: aws.String(key), Body: body, ContentType: aws.String(contentType(key)),
	})
	if err != nil {
		return "", fmt.Errorf("writing %s: %w", location, err)
	}
	return location, nil
}

// contentType returns the media type of an object in the reports bucket.
func contentType(key string) string {
	if strings.HasSuffix(key, ".parquet") {
		return "application/vnd.apache.parquet"
	}
	return "application/x-ndjson"
}

// Get opens the object that Put stored under key.
func (r Reports) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	out, err := r.Client.GetObject(ctx, &s3.GetObjectInput{Bucket: &r.Bucket, Key: &key})
	if err != nil {
		return nil, fmt.Errorf("opening s3://%s/%s: %w", r.Bucket, key, err)
	}
	return out.Body, nil
}

// OpenAt opens the object that Put stored under key for reading parts of it, each with one request, until ctx ends. The
// error is events.ErrObjectGone if there is none.
func (r Reports) OpenAt(ctx context.Context, key string) (io.ReaderAt, int64, error) {
	location := "s3://" + r.Bucket + "/" + key
	head, err := r.Client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &r.Bucket, Key: &key})
	if err != nil {
		if statusOf(err) == http.StatusNotFound {
			err = fmt.Errorf("%w: %w", events.ErrObjectGone, err)
		}
		return nil, 0, fmt.Errorf("opening %s: %w", location, err)
	}
	return readerAtFunc(func(p []byte, offset int64) (int, error) {
		if len(p) == 0 {
			return 0, nil
		}
		out, err := r.Client.GetObject(ctx, &s3.GetObjectInput{
			Bucket: &r.Bucket, Key: &key, IfMatch: head.ETag,
			Range: aws.String(fmt.Sprintf("bytes=%d-%d", offset, offset+int64(len(p))-1)),
		})
		if err != nil {
			return 0, fmt.Errorf("reading %s: %w", location, err)
		}
		defer out.Body.Close()
		return io.ReadFull(out.Body, p)
	}), aws.ToInt64(head.ContentLength), nil
}

type readerAtFunc func(p []byte, offset int64) (int, error)

func (f readerAtFunc) ReadAt(p []byte, offset int64) (int, error) { return f(p, offset) }

// Remove deletes all objects whose keys start with prefix. It is no error if there are none.
func (r Reports) Remove(ctx context.Context, prefix string) error {
	for more := true; more; {
		page, err := r.Client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &r.Bucket, Prefix: &prefix})
		if err != nil {
			return fmt.Errorf("listing s3://%s/%s: %w", r.Bucket, prefix, err)
		}
		more = aws.ToBool(page.IsTruncated)
		for _, o := range page.Contents {
			if _, err := r.Client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &r.Bucket, Key: o.Key}); err != nil {
				return fmt.Errorf("deleting s3://%s/%s: %w", r.Bucket, aws.ToString(o.Key), err)
			}
		}
	}
	return nil
}
