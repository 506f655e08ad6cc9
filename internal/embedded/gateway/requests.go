package gateway

import (
	"bytes"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/valyala/fasthttp"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
)

// allowOnlyOperations lets versitygw serve the operations and refuses all other requests, ambiguous requests, and those
// that ask for something that the gateway does not do. It also corrects answers of versitygw.
func allowOnlyOperations(c fiber.Ctx) error {
	if err := checkRequest(c); err != nil {
		return refuse(c, err)
	}
	err := c.Next()
	form := formOf(c.RequestCtx())
	unread := form != nil && !form.accepted
	if unread && form.version2 {
		return refuse(c, errVersion2)
	}
	fixHeaders(&c.Response().Header)
	if unread && c.Response().StatusCode() == http.StatusInternalServerError {
		return refuse(c, errMalformedForm) // the only error of versitygw's form parser that is not the client's
	}
	return err //nolint:wrapcheck // the server's own
}

// fixHeaders removes headers that versitygw sends twice, and writes Last-Modified in the format of HTTP.
func fixHeaders(header *fasthttp.ResponseHeader) {
	header.DisableNormalizing() // as versitygw does; otherwise Del does not find names in other spellings
	for _, name := range []string{utils.HeaderAmzRequestID, utils.HeaderAmzID2} {
		var value string
		var spellings []string
		for spelling, v := range header.All() {
			if strings.EqualFold(string(spelling), name) {
				spellings, value = append(spellings, string(spelling)), string(v)
			}
		}
		if len(spellings) > 1 {
			for _, spelling := range spellings {
				header.Del(spelling)
			}
			header.Set(name, value)
		}
	}
	// GetObjectAttributes sends this format.
	if modified, err := time.Parse(time.RFC3339, string(header.Peek(fiber.HeaderLastModified))); err == nil {
		header.Set(fiber.HeaderLastModified, modified.UTC().Format(http.TimeFormat))
	}
}

// checkRequest returns an error, which is the answer to the client, unless the request is one of the operations, and is
// valid as far as that is known before the client is authenticated. It translates the request for versitygw.
func checkRequest(c fiber.Ctx) error {
	path, err := url.PathUnescape(string(c.Request().URI().PathOriginal())) // as versitygw does
	if err != nil || !strings.HasPrefix(path, "/") {
		return s3err.GetAPIError(s3err.ErrInvalidURI)
	}
	bucket, key, _ := strings.Cut(path[1:], "/")
	resource := onObject
	switch {
	case path == "/":
		resource = onService
	case key == "":
		resource = onBucket
	}
	parameters, err := checkParameters(c)
	if err != nil {
		return err
	}
	if slices.Contains(parameters, "AWSAccessKeyId") || slices.Contains(parameters, "Signature") ||
		strings.HasPrefix(c.Get(fiber.HeaderAuthorization), "AWS ") {
		return errVersion2
	}
	if !slices.ContainsFunc(operations, func(o operation) bool { return o.matches(c.Method(), resource, parameters) }) {
		return s3err.GetAPIError(s3err.ErrAccessDenied)
	}
	for name, value := range c.Request().Header.All() {
		if err := checkOption(strings.ToLower(string(name)), string(value)); err != nil {
			return err
		}
	}
	if !hasLength(c) {
		return s3err.GetAPIError(s3err.ErrMissingContentLength)
	}
	joinEncodings(c)
	if resource != onService {
		if err := checkBucket(bucket); err != nil {
			return err
		}
	}
	if err := collectHoisted(c); err != nil {
		return err
	}
	// The store refuses other invalid keys. It knows the sender, and lets the client finish sending the body.
	if resource == onObject && !utils.IsObjectNameValid(key) {
		return checkKey(key)
	}
	if err := rewriteForm(c); err != nil {
		return err
	}
	return checkChunks(c)
}

// checkParameters checks the query parameters of a request and returns their names.
func checkParameters(c fiber.Ctx) (names []string, err error) {
	for key, text := range c.Request().URI().QueryArgs().All() {
		name, value := string(key), string(text)
		if slices.Contains(names, name) {
			return nil, invalidArgument(name, value, "The query parameter "+name+" is given twice.")
		}
		names = append(names, name)
		if err := checkOption(strings.ToLower(name), value); err != nil {
			return nil, err
		}
		if name == "encoding-type" {
			if err := checkEncodingType(value); err != nil {
				return nil, err
			}
		}
		if strings.EqualFold(name, "X-Amz-Date") {
			if err := checkDate(value); err != nil {
				return nil, err
			}
		}
	}
	return names, nil
}

// hasLength reports whether an upload has a length or comes in chunks. fasthttp treats all other uploads as empty.
func hasLength(c fiber.Ctx) bool {
	header := &c.Request().Header
	upload := c.Method() == http.MethodPut && hasStreamedBody(c) && len(header.Peek("X-Amz-Copy-Source")) == 0
	if !upload || header.ContentLength() != 0 {
		return true
	}
	for line := range bytes.Lines(header.RawHeaders()) { // without the length that fasthttp has set
		if name, _, _ := bytes.Cut(line, []byte(":")); bytes.EqualFold(name, []byte(fiber.HeaderContentLength)) {
			return true
		}
	}
	return false
}

// joinEncodings joins several Content-Encoding headers to one with the same meaning. versitygw would store only the
// first.
func joinEncodings(c fiber.Ctx) {
	if all := c.Request().Header.PeekAll(fiber.HeaderContentEncoding); len(all) > 1 {
		c.Request().Header.SetBytesV(fiber.HeaderContentEncoding, bytes.Join(all, []byte(",")))
	}
}

// refuse answers a request with an error.
func refuse(c fiber.Ctx, err error) error {
	answer, ok := err.(s3err.S3Error) //nolint:errorlint // checkRequest wraps none
	if !ok {
		answer = s3err.GetAPIError(s3err.ErrInternalError)
	}
	id, host := utils.EnsureRequestIDs(c)
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationXML)
	return c.Status(answer.StatusCode()).Send(answer.XMLBody(id, host)) //nolint:wrapcheck // the server's own
}
