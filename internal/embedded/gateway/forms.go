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
	"strings"

	"github.com/gofiber/fiber/v3"
	"github.com/valyala/fasthttp"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3api/middlewares"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
)

var (
	errMalformedForm = s3err.GetAPIError(s3err.ErrMalformedPOSTRequest) // also for a form that breaks off
	errSecondFile    = s3err.GetInvalidArgumentErr(s3err.InvalidArgPOSTFileRequired, "2")
)

// maxFields is the maximum length in bytes of the fields of a form that precede its file, and of those that follow it.
// S3 allows 20 KB.
const maxFields = 64 << 10

// rewriteForm makes versitygw read a browser's form in the only notation that it understands. versitygw reads
// everything up to the end of a form as the file, including the fields that follow the file. It supports neither a
// preamble nor white space after a boundary.
func rewriteForm(c fiber.Ctx) error {
	stream := c.Request().BodyStream()
	if !hasStreamedBody(c) || c.Method() != fiber.MethodPost || stream == nil {
		return nil
	}
	_, parameters, err := mime.ParseMediaType(c.Get(fiber.HeaderContentType))
	boundary := strings.TrimSpace(parameters["boundary"])
	if err != nil || boundary == "" {
		return errMalformedForm
	}
	// The line end after the last delimiter is optional, so one is added. A form that has not ended then is malformed.
	complete := io.MultiReader(stream, strings.NewReader("\r\n"), malformedReader{})
	body := &formBody{boundary: boundary, raw: limitedReader{Reader: complete, remaining: maxFields}}
	body.parts = multipart.NewReader(&body.raw, boundary)
	c.Request().SetBodyStream(body, c.Request().Header.ContentLength())
	c.RequestCtx().SetUserValue(formKey{}, body)
	return nil
}

type formKey struct{}

// formOf returns the form of a request, or nil.
func formOf(ctx context.Context) *formBody {
	form, _ := ctx.Value(formKey{}).(*formBody)
	return form
}

// formBody is a form as versitygw reads it: the fields without their other headers, the file, and the end. Fields
// after the file are dropped, because S3 ignores them.
type formBody struct {
	raw      limitedReader
	parts    *multipart.Reader
	boundary string
	pending  bytes.Buffer    // the bytes to be read next
	file     *multipart.Part // nil until it is reached
	filename string          // the last element of the file's path, in the notation of Unix or Windows
	err      error           // follows pending
	version2 bool            // there are fields of AWS Signature Version 2
	accepted bool            // the fields were accepted, and the file is stored
	resolved bool            // resolveForm was called

	minSize int64 // of the file, in bytes
	maxSize *int64
}

func (b *formBody) Read(p []byte) (int, error) {
	for b.pending.Len() == 0 {
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
		b.raw.remaining = maxFields
		if b.err = b.skipFields(); errors.Is(b.err, io.EOF) {
			fmt.Fprintf(&b.pending, "\r\n--%s--\r\n", b.boundary)
		}
	}
	return b.pending.Read(p) //nolint:wrapcheck // it has no errors here
}

// readField reads a field, or the head of the file. It returns io.EOF after the last field of a form without a file.
func (b *formBody) readField() error {
	part, err := b.parts.NextRawPart()
	if err == io.EOF { //nolint:errorlint // as multipart.Reader returns it
		fmt.Fprintf(&b.pending, "--%s--\r\n", b.boundary)
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
			b.file, b.raw.remaining = part, -1
			// This head is short because versitygw subtracts its length from the request's to get the maximum size of the file.
			fmt.Fprintf(&b.pending, "--%s\r\nContent-Disposition:form-data;name=file\r\n\r\n", b.boundary)
			return nil
		}
		name = parameters["name"]
		b.version2 = b.version2 || strings.EqualFold(name, "AWSAccessKeyId") || strings.EqualFold(name, "signature")
	}
	value, err := io.ReadAll(part)
	if err != nil {
		return formError(err)
	}
	fmt.Fprintf(&b.pending, "--%s\r\nContent-Disposition:%s\r\n\r\n%s\r\n", b.boundary, disposition, value)
	return nil
}

// skipFields skips the fields that follow the file. It returns io.EOF at the end of the form.
func (b *formBody) skipFields() error {
	for {
		part, err := b.parts.NextRawPart()
		if err == io.EOF {
			return err //nolint:wrapcheck // the end
		}
		if err != nil {
			return formError(err)
		}
		_, parameters, _ := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
		if strings.EqualFold(parameters["name"], "file") {
			return errSecondFile
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

// limitedReader returns an error after that many bytes. A negative number is no limit.
type limitedReader struct {
	io.Reader
	remaining int
}

func (r *limitedReader) Read(p []byte) (int, error) {
	if r.remaining == 0 {
		return 0, newError(http.StatusBadRequest, "MaxPostPreDataLengthExceededError",
			fmt.Sprintf("The fields of the form are longer than %d bytes.", maxFields))
	}
	if r.remaining > 0 {
		p = p[:min(len(p), r.remaining)]
	}
	n, err := r.Reader.Read(p)
	if r.remaining > 0 {
		r.remaining -= n
	}
	return n, err //nolint:wrapcheck // the body's own
}

// malformedReader follows the bytes of a form. It is read only if the form has not ended before.
type malformedReader struct{}

func (malformedReader) Read([]byte) (int, error) { return 0, errMalformedForm }

// filenameVariable is replaced by the name of the file in all fields of a form. The policy applies to the result.
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTForms.html
const filenameVariable = "${filename}"

// resolveForm replaces filenameVariable in the fields of a form. versitygw calls it (by GetBucketAcl) after it has
// verified the signature of the policy, and before it applies the policy. As the size of the file, versitygw then uses
// the length of the rest of the request, which is too large if fields follow the file. So resolveForm lowers that size
// to what the policy allows, and [checkFormSize] applies the policy to the actual size.
func resolveForm(ctx context.Context) {
	form, isForm := ctx.Value(string(utils.ContextKeyObjectPostResult)).(middlewares.PostObjectResult)
	body := formOf(ctx)
	if !isForm || body == nil || body.resolved {
		return
	}
	body.resolved = true
	for name, value := range form.Fields {
		if strings.Contains(value, filenameVariable) {
			form.Fields[name] = strings.ReplaceAll(value, filenameVariable, body.filename)
		}
	}
	body.applySizeRange(ctx, form)
}

// applySizeRange sets the range of sizes that the policy of a form allows.
func (b *formBody) applySizeRange(ctx context.Context, form middlewares.PostObjectResult) {
	request, ok := ctx.(*fasthttp.RequestCtx)
	if !ok {
		return
	}
	policy, err := auth.ParsePOSTPolicyBase64(form.Fields["policy"])
	if err != nil {
		return // versitygw refuses it
	}
	input := auth.PostPolicyEvalInput{
		Bucket: strings.Trim(string(request.Path()), "/"), Key: form.Fields["key"], Fields: form.Fields,
	}
	var large s3err.EntityTooLargeError
	if input.ContentLength = math.MaxInt64; errors.As(policy.Evaluate(input), &large) {
		b.maxSize = &large.MaxSizeAllowed
		form.ContentLength = min(form.ContentLength, large.MaxSizeAllowed)
		request.SetUserValue(string(utils.ContextKeyObjectPostResult), form)
	}
	var small s3err.EntityTooSmallError
	if input.ContentLength = -1; errors.As(policy.Evaluate(input), &small) {
		b.minSize = small.MinSizeAllowed
	}
}

// checkFormSize returns an error if the policy of the request's form does not allow a file of that many bytes.
func checkFormSize(ctx context.Context, size int64) error {
	switch b := formOf(ctx); {
	case b == nil:
		return nil
	case b.maxSize != nil && size > *b.maxSize:
		return s3err.GetEntityTooLargeErr(size, *b.maxSize)
	case size < b.minSize:
		return s3err.GetEntityTooSmallErr(size, b.minSize)
	}
	return nil
}

// isEmpty reports whether a reader has no data. It consumes the first byte otherwise.
func isEmpty(r io.Reader) bool {
	n, err := io.ReadFull(r, make([]byte, 1))
	return n == 0 && errors.Is(err, io.EOF)
}
