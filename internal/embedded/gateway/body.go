package gateway

import (
	"context"
	"errors"
	"io"

	"github.com/valyala/fasthttp"
	"github.com/versity/versitygw/s3api/middlewares"
	"github.com/versity/versitygw/s3err"
)

// body is a request's, with its length checked. Where no checksum tells, versitygw takes a connection that breaks off for
// the end of the data: it would store the first half of a file as if it were the file, and fill up a part with zeros.
type body struct {
	io.Reader

	left int64
}

// checkedBody is a body that the server verifies against a checksum at its end. The backend asks for that by type.
type checkedBody struct {
	body

	sum middlewares.ChecksumReader
}

// whole gives an error to a reader whom fewer bytes reach than were announced. An unknown length is not checked.
func whole(r io.Reader, length *int64) io.Reader {
	if r == nil || length == nil {
		return r
	}
	b := body{Reader: r, left: *length}
	if sum, ok := r.(middlewares.ChecksumReader); ok {
		return &checkedBody{body: b, sum: sum}
	}
	return &b
}

// Read reads on, and objects to an early end.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.left -= int64(n)
	if errors.Is(err, io.EOF) && b.left > 0 {
		err = s3err.GetAPIError(s3err.ErrIncompleteBody)
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
