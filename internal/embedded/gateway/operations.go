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

// operation is one of the S3 operations that the gateway offers. versitygw routes a request by its method, by whether it
// has a key, and by the query parameters it has, so a parameter that is not expected could make it another operation.
type operation struct {
	method  string
	about   subject
	needs   []string // query parameters, all of them
	mayHave []string // query parameters beside those that signatures use
}

type subject int

const (
	service subject = iota
	aBucket
	anObject
)

var (
	listParameters = []string{"prefix", "delimiter", "max-keys", "encoding-type", "metadata"}
	readParameters = []string{
		"versionId", "partNumber", "response-cache-control", "response-content-disposition", "response-content-encoding",
		"response-content-language", "response-content-type", "response-expires",
	}
)

// operations lists every operation that the gateway offers. onlyOffered refuses all other requests before versitygw routes
// them. Among those is everything that S3 stores for a bucket: policy, ACL, CORS, website, object lock, tags.
var operations = []operation{
	{method: http.MethodGet, about: service, mayHave: []string{"prefix", "continuation-token", "max-buckets", "bucket-region"}}, // ListBuckets

	{method: http.MethodGet, about: aBucket, mayHave: append([]string{"marker"}, listParameters...)},                                                                         // ListObjects
	{method: http.MethodGet, about: aBucket, needs: []string{"list-type"}, mayHave: append([]string{"continuation-token", "start-after", "fetch-owner"}, listParameters...)}, // ListObjectsV2
	{method: http.MethodGet, about: aBucket, needs: []string{"location"}},
	{method: http.MethodGet, about: aBucket, needs: []string{"versioning"}},
	{method: http.MethodGet, about: aBucket, needs: []string{"uploads"}, mayHave: []string{"prefix", "delimiter", "key-marker", "upload-id-marker", "max-uploads", "encoding-type"}},
	{method: http.MethodHead, about: aBucket},
	{method: http.MethodPut, about: aBucket},                             // CreateBucket, which answers whether there is one
	{method: http.MethodPost, about: aBucket},                            // a browser's form
	{method: http.MethodPost, about: aBucket, needs: []string{"delete"}}, // DeleteObjects

	{method: http.MethodGet, about: anObject, mayHave: readParameters},
	{method: http.MethodHead, about: anObject, mayHave: readParameters},
	{method: http.MethodGet, about: anObject, needs: []string{"attributes"}, mayHave: []string{"versionId"}},
	{method: http.MethodGet, about: anObject, needs: []string{"tagging"}, mayHave: []string{"versionId"}},
	{method: http.MethodGet, about: anObject, needs: []string{"uploadId"}, mayHave: []string{"max-parts", "part-number-marker", "encoding-type"}}, // ListParts
	{method: http.MethodPut, about: anObject},                                                                                                     // PutObject, CopyObject
	{method: http.MethodPut, about: anObject, needs: []string{"partNumber"}, mayHave: []string{"uploadId"}},                                       // UploadPart, UploadPartCopy
	{method: http.MethodPut, about: anObject, needs: []string{"uploadId"}},                                                                        // which has no part number
	{method: http.MethodPut, about: anObject, needs: []string{"tagging"}, mayHave: []string{"versionId"}},
	{method: http.MethodPost, about: anObject, needs: []string{"uploads"}},
	{method: http.MethodPost, about: anObject, needs: []string{"uploadId"}}, // CompleteMultipartUpload
	{method: http.MethodDelete, about: anObject, mayHave: []string{"versionId"}},
	{method: http.MethodDelete, about: anObject, needs: []string{"tagging"}, mayHave: []string{"versionId"}},
	{method: http.MethodDelete, about: anObject, needs: []string{"uploadId"}}, // AbortMultipartUpload
}

// is reports whether a request with these query parameters is the operation.
func (o operation) is(method string, about subject, parameters []string) bool {
	if o.method != method || o.about != about {
		return false
	}
	for _, need := range o.needs {
		if !slices.Contains(parameters, need) {
			return false
		}
	}
	return !slices.ContainsFunc(parameters, func(name string) bool {
		return !slices.Contains(o.needs, name) && !slices.Contains(o.mayHave, name) && !anywhere(name)
	})
}

// anywhere reports whether a query parameter may come with every operation: the SDKs' name of the operation, signatures,
// and headers that were made part of a URL when it was signed.
func anywhere(name string) bool {
	return name == "x-id" || isHoisted(name) || name == "AWSAccessKeyId" || name == "Signature"
}

// onlyOffered refuses everything but the operations, requests whose meaning is not certain, and those that ask for
// what the gateway does not do.
func onlyOffered(c fiber.Ctx) error {
	if err := checkRequest(c); err != nil {
		return refuse(c, err)
	}
	err := c.Next()
	if unreadForm(c) && isVersion2(c) {
		return refuse(c, errVersion2)
	}
	fixHeaders(&c.Response().Header)
	if unreadForm(c) && c.Response().StatusCode() == http.StatusInternalServerError {
		return refuse(c, errMalformedForm) // its parser has no other error that is not the client's
	}
	return err //nolint:wrapcheck // the server's own
}

// fixHeaders removes headers that versitygw sends twice, and writes a date as HTTP does.
func fixHeaders(header *fasthttp.ResponseHeader) {
	header.DisableNormalizing() // as versitygw does: the names in other case are others otherwise
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
	// GetObjectAttributes
	if modified, err := time.Parse(time.RFC3339, string(header.Peek(fiber.HeaderLastModified))); err == nil {
		header.Set(fiber.HeaderLastModified, modified.UTC().Format(http.TimeFormat))
	}
}

func checkRequest(c fiber.Ctx) error {
	path, err := url.PathUnescape(string(c.Request().URI().PathOriginal())) // as versitygw does
	if err != nil || !strings.HasPrefix(path, "/") {
		return s3err.GetAPIError(s3err.ErrInvalidURI)
	}
	bucket, key, _ := strings.Cut(path[1:], "/")
	about := anObject
	switch {
	case path == "/":
		about = service
	case key == "":
		about = aBucket
	}
	var parameters []string
	for name, value := range c.Request().URI().QueryArgs().All() {
		name, value := string(name), string(value)
		if slices.Contains(parameters, name) {
			return badName(name, value, "The query parameter is given twice.")
		}
		parameters = append(parameters, name)
		if err := checkOption(strings.ToLower(name), value); err != nil {
			return err
		}
		if name == "encoding-type" {
			if err := checkEncoding(value); err != nil {
				return err
			}
		}
		if strings.EqualFold(name, "X-Amz-Date") {
			if err := checkDate(value); err != nil {
				return err
			}
		}
	}
	if slices.ContainsFunc(parameters, func(name string) bool { return name == "AWSAccessKeyId" || name == "Signature" }) ||
		strings.HasPrefix(c.Get(fiber.HeaderAuthorization), "AWS ") {
		return errVersion2
	}
	if !slices.ContainsFunc(operations, func(o operation) bool { return o.is(c.Method(), about, parameters) }) {
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
	if about != service {
		if err := checkBucket(bucket); err != nil {
			return err
		}
	}
	if err := collectHoisted(c); err != nil {
		return err
	}
	// Other keys that are refused are so by the store, which knows who asks, and lets the client send its body first.
	if about == anObject && !utils.IsObjectNameValid(key) {
		return checkKey(key)
	}
	if err := rewriteForm(c); err != nil {
		return err
	}
	return checkChunks(c)
}

// hasLength reports whether an upload says how long it is, or comes in chunks. fasthttp takes one that does neither for an
// empty one.
func hasLength(c fiber.Ctx) bool {
	header := &c.Request().Header
	if c.Method() != http.MethodPut || !streamed(c) || header.ContentLength() != 0 || len(header.Peek("X-Amz-Copy-Source")) > 0 {
		return true
	}
	for line := range bytes.Lines(header.RawHeaders()) { // the length that fasthttp has set is not among them
		if name, _, _ := bytes.Cut(line, []byte(":")); bytes.EqualFold(name, []byte(fiber.HeaderContentLength)) {
			return true
		}
	}
	return false
}

// joinEncodings makes one header of several Content-Encoding, which mean the same. versitygw would store the first.
func joinEncodings(c fiber.Ctx) {
	if all := c.Request().Header.PeekAll(fiber.HeaderContentEncoding); len(all) > 1 {
		c.Request().Header.SetBytesV(fiber.HeaderContentEncoding, bytes.Join(all, []byte(",")))
	}
}

// refuse answers with an error.
func refuse(c fiber.Ctx, err error) error {
	answer, ok := err.(s3err.S3Error) //nolint:errorlint // checkRequest wraps none
	if !ok {
		answer = s3err.GetAPIError(s3err.ErrInternalError)
	}
	id, host := utils.EnsureRequestIDs(c)
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationXML)
	return c.Status(answer.StatusCode()).Send(answer.XMLBody(id, host)) //nolint:wrapcheck // the server's own
}
