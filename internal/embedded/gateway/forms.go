package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"mime/multipart"
	"net/http"
	"reflect"
	"strings"

	"github.com/gofiber/fiber/v3"
	"github.com/valyala/fasthttp"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3api/middlewares"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
)

// errMalformedForm is the answer to a form that is not well formed, or ends before its end.
var errMalformedForm = s3err.GetAPIError(s3err.ErrMalformedPOSTRequest)

// errManyFiles is the answer to a form with a second file.
var errManyFiles = s3err.GetInvalidArgumentErr(s3err.InvalidArgPOSTFileRequired, "2")

// maxFields is how long the fields of a browser's form may be, in bytes, and what follows the file; S3 takes 20 KB.
const maxFields = 64 << 10

// rewriteForm gives versitygw a browser's form in the one way of writing that it reads. It takes all that comes before the end of
// a form for the file, the fields behind the file included, and knows neither a preamble nor white space behind a boundary. The
// request's stream can't be replaced by what fasthttp offers, which would end it, so its private field is set; a release that
// names it otherwise is noticed by the first form.
func rewriteForm(c fiber.Ctx) error {
	stream := c.Request().BodyStream()
	if !streamed(c) || c.Method() != fiber.MethodPost || stream == nil {
		return nil
	}
	_, parameters, err := mime.ParseMediaType(c.Get(fiber.HeaderContentType))
	boundary := strings.TrimSpace(parameters["boundary"])
	if err != nil || boundary == "" {
		return errMalformedForm
	}
	field := reflect.ValueOf(c.Request()).Elem().FieldByName("bodyStream")
	if !field.IsValid() || field.Type() != reflect.TypeFor[io.Reader]() {
		return notImplemented("Forms are not taken by this release. Upload with PUT.")
	}
	// The last delimiter needs no line end, so one is added. A form that has not ended by then is malformed.
	complete := io.MultiReader(stream, strings.NewReader("\r\n"), truncated{})
	body := &formBody{boundary: boundary, raw: bounded{Reader: complete, left: maxFields}}
	body.parts = multipart.NewReader(&body.raw, boundary)
	*(*io.Reader)(field.Addr().UnsafePointer()) = body
	c.RequestCtx().SetUserValue(formKey{}, body)
	return nil
}

type formKey struct{}

// formBody is the body of a form as versitygw reads it: the fields without their other headers, the file, and the end. The fields
// that follow the file are left out, as S3 ignores them.
type formBody struct {
	raw      bounded
	parts    *multipart.Reader
	boundary string
	next     bytes.Buffer    // what is to be read next
	file     *multipart.Part // while it is read
	filename string          // the last element of the file's path, as the client's system writes paths
	err      error           // follows next
	version2 bool            // there are fields of AWS Signature Version 2
	open     bool            // the file may be read
	named    bool            // nameFile was called

	minSize int64 // of the file, in bytes
	maxSize *int64
}

func (b *formBody) Read(p []byte) (int, error) {
	for b.next.Len() == 0 {
		if b.err != nil {
			return 0, b.err
		}
		if b.file == nil {
			b.err = b.readField()
			continue
		}
		n, err := b.file.Read(p)
		if err == nil || n > 0 {
			return n, nil
		}
		if !errors.Is(err, io.EOF) {
			b.err = formError(err)
			continue
		}
		b.raw.left = maxFields
		if b.err = b.skipRest(); errors.Is(b.err, io.EOF) {
			fmt.Fprintf(&b.next, "\r\n--%s--\r\n", b.boundary)
		}
	}
	return b.next.Read(p) //nolint:wrapcheck // it has no errors here
}

// readField reads a field, or begins the file. It returns io.EOF after the last field of a form that has no file.
func (b *formBody) readField() error {
	part, err := b.parts.NextRawPart()
	if err == io.EOF { //nolint:errorlint // as multipart.Reader returns it
		fmt.Fprintf(&b.next, "--%s--\r\n", b.boundary)
		return err //nolint:wrapcheck // the end
	}
	if err != nil {
		return formError(err)
	}
	disposition := part.Header.Get("Content-Disposition")
	if _, parameters, err := mime.ParseMediaType(disposition); err == nil {
		name, ok := parameters["filename"]
		if ok || strings.EqualFold(parameters["name"], "file") {
			b.filename = name[strings.LastIndexAny(name, `/\`)+1:]
			b.file, b.raw.left = part, -1
			// Short, because versitygw subtracts its length from that of the request to find the greatest size of the file.
			fmt.Fprintf(&b.next, "--%s\r\nContent-Disposition:form-data;name=file\r\n\r\n", b.boundary)
			return nil
		}
		name = parameters["name"]
		b.version2 = b.version2 || strings.EqualFold(name, "AWSAccessKeyId") || strings.EqualFold(name, "signature")
	}
	value, err := io.ReadAll(part)
	if err != nil {
		return formError(err)
	}
	fmt.Fprintf(&b.next, "--%s\r\nContent-Disposition:%s\r\n\r\n%s\r\n", b.boundary, disposition, value)
	return nil
}

// skipRest reads the fields that follow the file. It returns io.EOF at the end of the form.
func (b *formBody) skipRest() error {
	for {
		part, err := b.parts.NextRawPart()
		if err == io.EOF { //nolint:errorlint // likewise
			return err //nolint:wrapcheck // the end
		}
		if err != nil {
			return formError(err)
		}
		_, parameters, _ := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
		if strings.EqualFold(parameters["name"], "file") {
			return errManyFiles
		}
	}
}

// formError returns the answer to a form that can't be read.
func formError(err error) error {
	var known s3err.S3Error
	if errors.As(err, &known) {
		return known //nolint:wrapcheck // the answer
	}
	return errMalformedForm
}

// bounded ends with an error once so many bytes were read. A negative number is no bound.
type bounded struct {
	io.Reader
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, s3err.APIError{
			Code: "MaxPostPreDataLengthExceededError", Description: "The fields of the form are too long.",
			HTTPStatusCode: http.StatusBadRequest,
		}
	}
	if b.left > 0 {
		p = p[:min(len(p), b.left)]
	}
	n, err := b.Reader.Read(p)
	if b.left > 0 {
		b.left -= n
	}
	return n, err //nolint:wrapcheck // the body's own
}

// openForm notes that the fields of a form are known, and its file is read.
func openForm(ctx context.Context) {
	if body, ok := ctx.Value(formKey{}).(*formBody); ok {
		body.open = true
	}
}

// unreadForm reports whether a request is a form of which the file was not reached.
func unreadForm(c fiber.Ctx) bool {
	body, ok := c.RequestCtx().Value(formKey{}).(*formBody)
	return ok && !body.open
}

// isVersion2 reports whether a request is a form that is signed with AWS Signature Version 2.
func isVersion2(c fiber.Ctx) bool {
	body, ok := c.RequestCtx().Value(formKey{}).(*formBody)
	return ok && body.version2
}

// filename is what S3 replaces by the name of the file in all fields of a form. Their policy is about the result.
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTForms.html
const filename = "${filename}"

// nameFile replaces the filename in the fields of a form. It is called after versitygw has checked the signature of the
// policy, and before it applies the policy. versitygw then takes the rest of the request for the size of the file, which fields
// behind the file make too large; so the size is lowered to what the policy allows, and [checkSize] applies it to the true size.
func nameFile(ctx context.Context) {
	form, isForm := ctx.Value(string(utils.ContextKeyObjectPostResult)).(middlewares.PostObjectResult)
	body, bounded := ctx.Value(formKey{}).(*formBody)
	if !isForm || !bounded || body.named {
		return
	}
	body.named = true
	for name, value := range form.Fields {
		if strings.Contains(value, filename) {
			form.Fields[name] = strings.ReplaceAll(value, filename, body.filename)
		}
	}
	body.boundSize(ctx, form)
}

// boundSize finds the range of sizes that the policy of a form allows.
func (b *formBody) boundSize(ctx context.Context, form middlewares.PostObjectResult) {
	request, ok := ctx.(*fasthttp.RequestCtx)
	if !ok {
		return
	}
	policy, err := auth.ParsePOSTPolicyBase64(form.Fields["policy"])
	if err != nil {
		return // versitygw refuses it
	}
	try := auth.PostPolicyEvalInput{Bucket: strings.Trim(string(request.Path()), "/"), Key: form.Fields["key"], Fields: form.Fields}
	var large s3err.EntityTooLargeError
	if try.ContentLength = math.MaxInt64; errors.As(policy.Evaluate(try), &large) {
		b.maxSize = &large.MaxSizeAllowed
		form.ContentLength = min(form.ContentLength, large.MaxSizeAllowed)
		request.SetUserValue(string(utils.ContextKeyObjectPostResult), form)
	}
	var small s3err.EntityTooSmallError
	if try.ContentLength = -1; errors.As(policy.Evaluate(try), &small) {
		b.minSize = small.MinSizeAllowed
	}
}

// checkSize returns an error if the policy of a form does not allow a file of this size, in bytes.
func checkSize(ctx context.Context, size int64) error {
	b, ok := ctx.Value(formKey{}).(*formBody)
	switch {
	case !ok:
		return nil
	case b.maxSize != nil && size > *b.maxSize:
		return s3err.GetEntityTooLargeErr(size, *b.maxSize)
	case size < b.minSize:
		return s3err.GetEntityTooSmallErr(size, b.minSize)
	}
	return nil
}

// isEmpty reports whether nothing can be read.
func isEmpty(r io.Reader) bool {
	n, err := io.ReadFull(r, make([]byte, 1))
	return n == 0 && errors.Is(err, io.EOF)
}

// truncated follows the bytes of a form. Only forms that have not ended before are read so far.
type truncated struct{}

func (truncated) Read([]byte) (int, error) { return 0, errMalformedForm }
