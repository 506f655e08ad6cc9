package gateway

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/valyala/fasthttp"
	"github.com/versity/versitygw/s3api/middlewares"
	"github.com/versity/versitygw/s3err"
)

// spaceCheckInterval is the number of bytes of a body after which the disk space is checked again. Concurrent requests
// can overrun the reserve by at most this much each.
const spaceCheckInterval = 1 << 20

// body is the body of a request. Reading it fails at the store's limits and if its length is wrong. If a connection
// breaks off and there is no checksum, versitygw treats that as the end of the data: it would store half a file, or
// fill a part with zeros.
type body struct {
	io.Reader
	store      *store
	bucket     string
	read       int64
	minLength  int64                  // -1 if the length is not checked
	maxLength  int64                  // -1 if the length is not checked
	errTooLong error                  // the answer to a longer body
	nextCheck  int64                  // the disk space is checked after this many bytes
	atEnd      func(read int64) error // if not nil, called before the end is reported
}

// checkedBody is a body that is verified against a checksum at its end. The backend detects that by its type.
type checkedBody struct {
	body
	sum middlewares.ChecksumReader
}

// body wraps the body of a request. A nil length is unknown.
func (s *store) body(bucket string, r io.Reader, length *int64, atEnd func(read int64) error) io.Reader {
	if r == nil {
		return nil
	}
	b := body{
		Reader: r, store: s, bucket: bucket, minLength: -1, maxLength: -1, errTooLong: errLongBody,
		nextCheck: spaceCheckInterval, atEnd: atEnd,
	}
	if length != nil {
		b.minLength, b.maxLength = *length, *length
	}
	if sum, ok := r.(middlewares.ChecksumReader); ok {
		return &checkedBody{body: b, sum: sum}
	}
	return &b
}

// maxDrained is how many bytes of a refused body are read. A client that is still sending when the connection is closed
// does not see the answer. Most tools send parts of 5 to 64 MiB.
const maxDrained = 64 << 20

// drain reads and discards the rest of a refused body.
func drain(r io.Reader) {
	if r != nil {
		_, _ = io.CopyN(io.Discard, r, maxDrained) // the request is refused in any case
	}
}

// Read returns an error for an early or late end, for a body that is longer than an object may be, and when the disk
// fills up.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.read += int64(n)
	if errors.Is(err, io.EOF) && b.read < b.minLength {
		err = s3err.GetAPIError(s3err.ErrIncompleteBody)
	}
	if b.maxLength >= 0 && b.read > b.maxLength {
		drain(b.Reader)
		return max(0, n-int(b.read-b.maxLength)), b.errTooLong
	}
	if b.read > b.store.maxObject {
		drain(b.Reader)
		return n, s3err.GetEntityTooLargeErr(b.read, b.store.maxObject) //nolint:wrapcheck // the backend looks at its type
	}
	if err == nil && b.read >= b.nextCheck {
		b.nextCheck = b.read + spaceCheckInterval
		if full := b.store.checkSpace(b.bucket, 0); full != nil {
			b.store.log.Warn("upload aborted: the disk is full", slog.Int64("received", b.read), slog.Any("error", full))
			drain(b.Reader)
			return n, errDiskFull
		}
	}
	if errors.Is(err, io.EOF) && b.atEnd != nil {
		if refused := b.atEnd(b.read); refused != nil {
			return n, refused
		}
	}
	return n, err //nolint:wrapcheck // the backend looks at its type
}

// Algorithm returns the algorithm of the checksum, or "" if there is none.
func (b *checkedBody) Algorithm() string { return b.sum.Algorithm() }

// Checksum returns the checksum; it is valid once everything was read.
func (b *checkedBody) Checksum() string { return b.sum.Checksum() }

// isForm reports whether a request that stores an object is a browser's form. The length of a form says little about
// that of its file, but a form has an end of its own.
func isForm(ctx context.Context) bool {
	request, ok := ctx.(*fasthttp.RequestCtx)
	return ok && request.IsPost()
}
