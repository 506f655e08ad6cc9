package gateway

import (
	"context"
	"io"
	"net/http"
	"reflect"

	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/s3err"
)

// maxFields is how long the fields of a browser's form may be, in bytes; S3 takes 20 KB.
const maxFields = 64 << 10

// boundForm limits what of a browser's form can be read before its fields are known. versitygw collects them in memory,
// however long they are, before it knows from whom they come. The request's stream can't be replaced by what fasthttp
// offers, which would end it, so its private field is set; a release that names it otherwise is noticed by the first form.
func boundForm(c fiber.Ctx) error {
	stream := c.Request().BodyStream()
	if !streamed(c) || c.Method() != fiber.MethodPost || stream == nil {
		return nil
	}
	field := reflect.ValueOf(c.Request()).Elem().FieldByName("bodyStream")
	if !field.IsValid() || field.Type() != reflect.TypeFor[io.Reader]() {
		return notImplemented("Forms are not taken by this release. Upload with PUT.")
	}
	body := &formBody{body: stream, left: maxFields}
	*(*io.Reader)(field.Addr().UnsafePointer()) = body
	c.RequestCtx().SetUserValue(formKey{}, body)
	return nil
}

type formKey struct{}

// formBody is the body of a form. It ends with an error after maxFields, unless its fields are known by then.
type formBody struct {
	body io.Reader
	left int
	open bool
}

// openForm lets the file in a form be read, once its fields are known.
func openForm(ctx context.Context) {
	if body, ok := ctx.Value(formKey{}).(*formBody); ok {
		body.open = true
	}
}

func (b *formBody) Read(p []byte) (int, error) {
	if b.open {
		return b.body.Read(p) //nolint:wrapcheck // the body's own
	}
	if b.left == 0 {
		return 0, s3err.APIError{Code: "MaxPostPreDataLengthExceededError", Description: "The fields of the form are too long.", HTTPStatusCode: http.StatusBadRequest}
	}
	n, err := b.body.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err //nolint:wrapcheck // likewise
}
