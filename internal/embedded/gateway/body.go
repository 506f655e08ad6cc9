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

// roomEvery is after how many bytes of a body the disk is looked at again: what many requests at once can take of it
// beyond its reserve.
const roomEvery = 1 << 20

// body is a request's, held to what the store takes, and with its length checked. Where no checksum tells, versitygw takes
// a connection that breaks off for the end of the data: it would store the first half of a file as if it were the file, and
// fill up a part with zeros.
type body struct {
	io.Reader
	store  *store
	bucket string
	read   int64
	want   int64 // the least and the greatest length; negative if it is not to be checked
	most   int64
	excess error                  // the answer to more
	look   int64                  // when so much was read, the disk is looked at
	atEnd  func(read int64) error // called before the end is reported, if not nil
}

// checkedBody is a body that the server verifies against a checksum at its end. The backend asks for that by type.
type checkedBody struct {
	body
	sum middlewares.ChecksumReader
}

// body wraps a request's. Its reader gets an error if fewer or more bytes come than were announced, if any number was.
func (s *store) body(bucket string, r io.Reader, length *int64, atEnd func(read int64) error) io.Reader {
	if r == nil {
		return nil
	}
	b := body{Reader: r, store: s, bucket: bucket, want: -1, most: -1, excess: errTooMuch, look: roomEvery, atEnd: atEnd}
	if length != nil {
		b.want, b.most = *length, *length
	}
	if sum, ok := r.(middlewares.ChecksumReader); ok {
		return &checkedBody{body: b, sum: sum}
	}
	return &b
}

// mostDrained is how much of a refused body is read on, in bytes: a client that is still sending when the connection is
// closed does not see the answer. Most tools send parts of 5 to 64 MiB.
const mostDrained = 64 << 20

// drain lets the client send its body to the end, for nothing.
func drain(r io.Reader) {
	if r != nil {
		_, _ = io.CopyN(io.Discard, r, mostDrained) // it is refused, whatever comes
	}
}

// Read reads on, and objects to an early or late end, to more than an object may have, and to a disk that fills up.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.read += int64(n)
	if errors.Is(err, io.EOF) && b.read < b.want {
		err = s3err.GetAPIError(s3err.ErrIncompleteBody)
	}
	if b.most >= 0 && b.read > b.most {
		drain(b.Reader)
		return max(0, n-int(b.read-b.most)), b.excess
	}
	if b.read > b.store.maxObject {
		drain(b.Reader)
		return n, s3err.GetEntityTooLargeErr(b.read, b.store.maxObject) //nolint:wrapcheck // the backend looks at what kind it is
	}
	if err == nil && b.read >= b.look {
		b.look = b.read + roomEvery
		if full := b.store.room(b.bucket, 0); full != nil {
			b.store.log.Warn("an upload was broken off: the disk is full", slog.Int64("after", b.read), slog.Any("error", full))
			drain(b.Reader)
			return n, errFull
		}
	}
	if errors.Is(err, io.EOF) && b.atEnd != nil {
		if refused := b.atEnd(b.read); refused != nil {
			return n, refused
		}
	}
	return n, err //nolint:wrapcheck // the backend looks at what kind it is
}

// Algorithm is the checksum's, empty if there is none.
func (b *checkedBody) Algorithm() string { return b.sum.Algorithm() }

// Checksum is valid once everything is read.
func (b *checkedBody) Checksum() string { return b.sum.Checksum() }

// isForm tells a browser's form upload. Its length is known roughly only, but it ends with a mark of its own.
func isForm(ctx context.Context) bool {
	request, ok := ctx.(*fasthttp.RequestCtx)
	return ok && request.IsPost()
}
