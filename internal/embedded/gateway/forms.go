package gateway

import (
	"bytes"
	"context"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"reflect"
	"strings"

	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/s3api/middlewares"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
)

// errMalformedForm is the answer to a form that ends before its end.
var errMalformedForm = s3err.GetAPIError(s3err.ErrMalformedPOSTRequest)

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
	_, parameters, _ := mime.ParseMediaType(c.Get(fiber.HeaderContentType))
	body := &formBody{body: stream, left: maxFields, boundary: parameters["boundary"]}
	*(*io.Reader)(field.Addr().UnsafePointer()) = body
	c.RequestCtx().SetUserValue(formKey{}, body)
	return nil
}

type formKey struct{}

// formBody is the body of a form. It ends with an error after maxFields, unless its fields are known by then.
type formBody struct {
	body     io.Reader
	left     int
	open     bool // the file may be read
	named    bool // nameFile was called
	boundary string
	head     bytes.Buffer // what was read before the file was opened
}

// openForm lets the file in a form be read, once its fields are known.
func openForm(ctx context.Context) {
	if body, ok := ctx.Value(formKey{}).(*formBody); ok {
		body.open, body.head = true, bytes.Buffer{}
	}
}

// unreadForm reports whether a request is a form of which the file was not reached.
func unreadForm(c fiber.Ctx) bool {
	body, ok := c.RequestCtx().Value(formKey{}).(*formBody)
	return ok && !body.open
}

// filename is what S3 replaces by the name of the file in all fields of a form. Their policy is about the result.
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTForms.html
const filename = "${filename}"

// nameFile replaces the filename in the fields of a form. It is called after versitygw has checked the signature of the
// policy, and before it applies the policy.
func nameFile(ctx context.Context) {
	form, isForm := ctx.Value(string(utils.ContextKeyObjectPostResult)).(middlewares.PostObjectResult)
	body, bounded := ctx.Value(formKey{}).(*formBody)
	if !isForm || !bounded || body.named {
		return
	}
	body.named = true
	for name, value := range form.Fields {
		if strings.Contains(value, filename) {
			form.Fields[name] = strings.ReplaceAll(value, filename, body.filename())
		}
	}
}

// filename returns the last element of the file's path, as the client's system writes paths, and nothing if there is no file.
// versitygw reads past it and does not keep it, so the fields are read again.
func (b *formBody) filename() string {
	parts := multipart.NewReader(bytes.NewReader(b.head.Bytes()), b.boundary)
	for {
		part, err := parts.NextRawPart()
		if err != nil {
			return ""
		}
		_, parameters, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
		if name, ok := parameters["filename"]; err == nil && (ok || strings.EqualFold(parameters["name"], "file")) {
			return name[strings.LastIndexAny(name, `/\`)+1:]
		}
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
	b.head.Write(p[:n])
	return n, err //nolint:wrapcheck // likewise
}
