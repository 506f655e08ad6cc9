package gateway

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/valyala/fasthttp"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// maxRereads is how often a read is repeated because the object was replaced.
const maxRereads = 20

// GetObject opens an object.
//
// The backend reads the ETag, compares it with the conditions of the request, and then opens the file by its name. If
// an upload replaces the object in between, the reader gets the new bytes under the old ETag, and If-Match seems to
// hold. So the result is compared with the ETag and the modification time that one open file had just before, and is
// read again if they differ. No two uploads have the same modification time.
func (s *store) GetObject(ctx context.Context, in *s3.GetObjectInput) (*s3.GetObjectOutput, error) {
	if err := s.admitVersion(ctx, in.Bucket, in.Key, in.VersionId, readAccess); err != nil {
		return nil, err
	}
	inner := *in
	inner.Bucket = s.bucketDirPtr(in.Bucket)
	inner.IfModifiedSince, inner.IfUnmodifiedSince = endOfSecond(in.IfModifiedSince), endOfSecond(in.IfUnmodifiedSince)
	for range maxRereads {
		before, missing := s.inspect(*in.Bucket, *in.Key)
		if missing == nil {
			inner.IfMatch = matchETag(in.IfMatch, before.etag, false)
			inner.IfNoneMatch = matchETag(in.IfNoneMatch, before.etag, true)
			inner.Range = in.Range
			if !ifRangeHolds(ctx, before) {
				inner.Range = new(string)
			}
		}
		out, err := s.posix.GetObject(ctx, &inner)
		if err != nil {
			s.addCacheHeaders(ctx, in.Bucket, in.Key, err)
			return out, s.toS3Error(ctx, err)
		}
		if missing != nil && !errors.Is(missing, fs.ErrNotExist) { // a folder, or a file that was not uploaded
			return out, nil
		}
		if out.LastModified.Equal(before.mtime) && strings.Trim(*out.ETag, `"`) == before.etag {
			return out, nil
		}
		if out.Body != nil {
			if err := out.Body.Close(); err != nil {
				return nil, s.toS3Error(ctx, err)
			}
		}
	}
	return nil, unavailable("The object is being replaced. Please try again.")
}

// matchETag returns an If-Match or If-None-Match condition with at most one ETag, as versitygw needs it: the object's
// ETag if the condition contains it. Weak comparison treats W/"x" like "x"; strong comparison never matches W/"x".
// https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3.2
func matchETag(condition *string, etag string, weak bool) *string {
	if condition == nil || !strings.Contains(*condition, ",") && !strings.HasPrefix(*condition, "W/") {
		return condition
	}
	for tag := range strings.SplitSeq(*condition, ",") {
		tag, isWeak := strings.CutPrefix(strings.TrimSpace(tag), "W/")
		if strings.Trim(tag, `"`) == etag && (weak || !isWeak) {
			return &etag
		}
	}
	none := "none" // no object has this ETag
	return &none
}

// ifRangeHolds reports whether the If-Range condition of a request holds for an object. Otherwise the range is ignored.
// https://www.rfc-editor.org/rfc/rfc9110#section-13.1.5
func ifRangeHolds(ctx context.Context, object objectState) bool {
	request, ok := ctx.(*fasthttp.RequestCtx)
	if !ok || !request.IsGet() {
		return true
	}
	condition := string(request.Request.Header.Peek("If-Range"))
	if date, err := http.ParseTime(condition); err == nil {
		return date.Equal(object.mtime.Truncate(time.Second))
	}
	return condition == "" || condition == `"`+object.etag+`"`
}

// endOfSecond returns the end of the second of a condition's date. Dates in HTTP have whole seconds, but times of files
// have fractions: an object would always have been modified after its own Last-Modified.
func endOfSecond(date *time.Time) *time.Time {
	if date == nil {
		return nil
	}
	end := date.Add(time.Second - time.Nanosecond)
	return &end
}

// HeadObject returns the headers of an object.
func (s *store) HeadObject(ctx context.Context, in *s3.HeadObjectInput) (*s3.HeadObjectOutput, error) {
	if err := s.admitVersion(ctx, in.Bucket, in.Key, in.VersionId, readAccess); err != nil {
		return nil, err
	}
	inner := *in
	inner.Bucket = s.bucketDirPtr(in.Bucket)
	inner.IfModifiedSince, inner.IfUnmodifiedSince = endOfSecond(in.IfModifiedSince), endOfSecond(in.IfUnmodifiedSince)
	if object, err := s.inspect(*in.Bucket, *in.Key); err == nil {
		inner.IfMatch = matchETag(in.IfMatch, object.etag, false)
		inner.IfNoneMatch = matchETag(in.IfNoneMatch, object.etag, true)
	}
	out, err := s.posix.HeadObject(ctx, &inner)
	s.addCacheHeaders(ctx, in.Bucket, in.Key, err)
	return out, s.toS3Error(ctx, err)
}

// addCacheHeaders adds to a 304 the headers of a 200 that caches need; versitygw sends none.
// https://www.rfc-editor.org/rfc/rfc9110#section-15.4.5
func (s *store) addCacheHeaders(ctx context.Context, bucket, key *string, err error) {
	request, ok := ctx.(*fasthttp.RequestCtx)
	if !ok || !errors.Is(err, s3err.GetAPIError(s3err.ErrNotModified)) || !request.IsGet() && !request.IsHead() {
		return
	}
	head, err := s.posix.HeadObject(ctx, &s3.HeadObjectInput{Bucket: s.bucketDirPtr(bucket), Key: key})
	if err != nil {
		return // just deleted
	}
	modified := head.LastModified.UTC().Format(http.TimeFormat)
	for name, value := range map[string]*string{
		"ETag": head.ETag, "Last-Modified": &modified, "Cache-Control": head.CacheControl, "Expires": head.ExpiresString,
	} {
		if value != nil && *value != "" {
			request.Response.Header.Set(name, *value)
		}
	}
}

// GetObjectAttributes returns attributes of an object.
func (s *store) GetObjectAttributes(
	ctx context.Context, in *s3.GetObjectAttributesInput,
) (s3response.GetObjectAttributesResponse, error) {
	if err := s.admitVersion(ctx, in.Bucket, in.Key, in.VersionId, readAccess); err != nil {
		return s3response.GetObjectAttributesResponse{}, err
	}
	inner := *in
	inner.Bucket = s.bucketDirPtr(in.Bucket)
	out, err := s.posix.GetObjectAttributes(ctx, &inner)
	return out, s.toS3Error(ctx, err)
}

// NormalizeObjectKey returns the key unchanged. versitygw compares it with policies, of which there are none.
func (s *store) NormalizeObjectKey(_, object string) string { return object }
