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
	inner.IfModifiedSince, inner.IfUnmodifiedSince = wholeSecond(in.IfModifiedSince), wholeSecond(in.IfUnmodifiedSince)
	for range rereads {
		before, known := s.look(*in.Bucket, *in.Key)
		if known == nil {
			inner.IfMatch, inner.IfNoneMatch = oneTag(in.IfMatch, before.etag, false), oneTag(in.IfNoneMatch, before.etag, true)
			inner.Range = in.Range
			if !inRange(ctx, before) {
				inner.Range = new(string)
			}
		}
		out, err := s.posix.GetObject(ctx, &inner)
		if err != nil {
			s.describe(ctx, in.Bucket, in.Key, err)
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

// oneTag returns the condition If-Match or If-None-Match of a request with one ETag at most, as versitygw compares it: that of
// the object if it is among those of the condition. Weak comparison takes W/"x" for "x", and strong comparison for no ETag at all.
// https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3.2
func oneTag(condition *string, etag string, weak bool) *string {
	if condition == nil || !strings.Contains(*condition, ",") && !strings.HasPrefix(*condition, "W/") {
		return condition
	}
	for tag := range strings.SplitSeq(*condition, ",") {
		tag, isWeak := strings.CutPrefix(strings.TrimSpace(tag), "W/")
		if strings.Trim(tag, `"`) == etag && (weak || !isWeak) {
			return &etag
		}
	}
	none := "none" // which is no object's
	return &none
}

// inRange reports whether the condition If-Range of a request holds for an object. Else its range is ignored.
// https://www.rfc-editor.org/rfc/rfc9110#section-13.1.5
func inRange(ctx context.Context, is state) bool {
	request, ok := ctx.(*fasthttp.RequestCtx)
	if !ok || !request.IsGet() {
		return true
	}
	condition := string(request.Request.Header.Peek("If-Range"))
	if date, err := http.ParseTime(condition); err == nil {
		return date.Equal(is.mtime.Truncate(time.Second))
	}
	return condition == "" || condition == `"`+is.etag+`"`
}

// wholeSecond returns the end of the second that a condition names. Dates in HTTP have no fractions, but the times of files
// do: without it, an object would always have been modified after the Last-Modified that it was sent with.
func wholeSecond(date *time.Time) *time.Time {
	if date == nil {
		return nil
	}
	end := date.Add(time.Second - time.Nanosecond)
	return &end
}

// HeadObject describes an object.
func (s *store) HeadObject(ctx context.Context, in *s3.HeadObjectInput) (*s3.HeadObjectOutput, error) {
	if err := s.admitVersion(ctx, in.Bucket, in.Key, in.VersionId, reading); err != nil {
		return nil, err
	}
	inner := *in
	inner.Bucket = s.in(in.Bucket)
	inner.IfModifiedSince, inner.IfUnmodifiedSince = wholeSecond(in.IfModifiedSince), wholeSecond(in.IfUnmodifiedSince)
	if is, err := s.look(*in.Bucket, *in.Key); err == nil {
		inner.IfMatch, inner.IfNoneMatch = oneTag(in.IfMatch, is.etag, false), oneTag(in.IfNoneMatch, is.etag, true)
	}
	out, err := s.posix.HeadObject(ctx, &inner)
	s.describe(ctx, in.Bucket, in.Key, err)
	return out, s.fail(ctx, err)
}

// describe adds to the answer "not modified" the headers that a 200 would have had and that a cache needs. versitygw sends
// none. https://www.rfc-editor.org/rfc/rfc9110#section-15.4.5
func (s *store) describe(ctx context.Context, bucket, key *string, err error) {
	request, ok := ctx.(*fasthttp.RequestCtx)
	if !ok || !errors.Is(err, s3err.GetAPIError(s3err.ErrNotModified)) || !request.IsGet() && !request.IsHead() {
		return
	}
	head, err := s.posix.HeadObject(ctx, &s3.HeadObjectInput{Bucket: s.in(bucket), Key: key})
	if err != nil {
		return // it was deleted meanwhile
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
