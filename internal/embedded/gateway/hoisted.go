package gateway

import (
	"context"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v3"
	"github.com/valyala/fasthttp"
)

// A client that signs a URL may hoist headers of the request into the query: the AWS SDK for JavaScript does so with
// all headers that start with x-amz-, including metadata. S3 treats these parameters as headers. versitygw only reads
// headers, and refuses x-amz- headers that are not signed. So collectHoisted collects the parameters before versitygw
// verifies the signature, which covers the query, and applyHoisted turns them into headers afterwards, in
// [store.GetBucketAcl]. versitygw reads metadata from the original headers, so withHoisted adds metadata to its result.
// Other headers may be unsigned, so their parameters become headers at once.

// signatureParameters are the query parameters of the signature itself.
var signatureParameters = []string{
	"x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-expires", "x-amz-security-token", "x-amz-signature",
	"x-amz-signedheaders",
}

// hoistableHeaders are the headers that version 2 of the AWS SDK for JavaScript hoists in addition to x-amz-*.
var hoistableHeaders = []string{
	"cache-control", "content-disposition", "content-encoding", "content-language", "content-length", "content-md5",
	"content-type", "expires", "if-match", "if-modified-since", "if-none-match", "if-unmodified-since", "range",
}

// isHoisted reports whether a query parameter has the name of a header that may be hoisted.
func isHoisted(parameter string) bool {
	name := strings.ToLower(parameter)
	return strings.HasPrefix(name, "x-amz-") || slices.Contains(hoistableHeaders, name)
}

// neededBeforeAuth are headers that are needed before the signature is verified. They are refused in the query.
// versitygw treats a query with Expires as one of signature version 2.
var neededBeforeAuth = []string{"expires", "x-amz-copy-source", "x-amz-decoded-content-length", "x-amz-trailer"}

// emptyChecksums are the checksums of no data. The AWS SDK for JavaScript adds one to each URL that it signs for an
// upload, because it does not have the data yet, and S3 ignores it.
// https://github.com/localstack/localstack/issues/12169
var emptyChecksums = map[string]string{
	"x-amz-checksum-crc32":     "AAAAAA==",
	"x-amz-checksum-crc32c":    "AAAAAA==",
	"x-amz-checksum-crc64nvme": "AAAAAAAAAAA=",
	"x-amz-checksum-sha1":      "2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
	"x-amz-checksum-sha256":    "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
}

const sdkAlgorithm = "x-amz-sdk-checksum-algorithm"

type hoistedKey struct{}

// isPresigned reports whether the signature of a request is in its URL.
func isPresigned(c fiber.Ctx) bool { return c.Request().URI().QueryArgs().Has("X-Amz-Signature") }

// collectHoisted stores the headers in the query of a request in its context. It returns an error if one of them can't
// be applied, so that none is lost silently.
func collectHoisted(c fiber.Ctx) error {
	query := c.Request().URI().QueryArgs()
	hoisted := map[string]string{}
	for key, text := range query.All() {
		name, value := strings.ToLower(string(key)), strings.Trim(string(text), " \t")
		if !isHoisted(name) || slices.Contains(signatureParameters, name) {
			continue
		}
		if name == "x-amz-content-sha256" && value == "UNSIGNED-PAYLOAD" { // the default of presigned URLs
			continue
		}
		if problem := hoistProblem(c, name, value); problem != "" {
			return invalidArgument(name, value, problem)
		}
		if _, twice := hoisted[name]; twice {
			return invalidArgument(name, value, "The query parameter "+name+" is given twice.")
		}
		hoisted[name] = value
	}
	for _, name := range hoistableHeaders {
		if value, ok := hoisted[name]; ok {
			delete(hoisted, name)
			if name != "content-length" { // hoistProblem has compared it with the header
				c.Request().Header.Set(name, value)
			}
		}
	}
	dropEmptyChecksum(hoisted)
	if len(hoisted) > 0 {
		c.RequestCtx().SetUserValue(hoistedKey{}, hoisted)
	}
	return nil
}

// hoistProblem returns why a header in the query can't be applied, or "" if it can.
func hoistProblem(c fiber.Ctx, name, value string) string {
	query := c.Request().URI().QueryArgs()
	header := c.Request().Header.Peek(name)
	switch {
	case !isPresigned(c), slices.Contains(neededBeforeAuth, name), name == "x-amz-content-sha256",
		name == "content-length" && header == nil:
		return "This server does not accept " + name + " in the URL. Send it as a signed header."
	case (query.Has("delete") || query.Has("tagging")) &&
		(strings.HasPrefix(name, "x-amz-checksum-") || name == sdkAlgorithm):
		return "This server does not accept " + name + " in the URL of this operation. Send it as a signed header."
	case !isToken(name), hasControl(value):
		return "The query parameter contains characters that are not allowed in headers."
	case name == "content-type" && !isSigned(c, name): // many clients send one of their own choice
	case len(header) > 0 && string(header) != value:
		return "The query parameter " + name + " and the header of that name differ. Send only one of them."
	}
	return ""
}

// isSigned reports whether the signature of a presigned URL covers a header.
func isSigned(c fiber.Ctx, name string) bool {
	signed := string(c.Request().URI().QueryArgs().Peek("X-Amz-SignedHeaders"))
	return slices.Contains(strings.Split(signed, ";"), name)
}

// dropEmptyChecksum removes a checksum of no data, and the header that names its algorithm.
func dropEmptyChecksum(hoisted map[string]string) {
	for name, empty := range emptyChecksums {
		if value, ok := hoisted[name]; ok && value == empty {
			delete(hoisted, name)
			if strings.EqualFold(hoisted[sdkAlgorithm], strings.TrimPrefix(name, "x-amz-checksum-")) {
				delete(hoisted, sdkAlgorithm)
			}
		}
	}
}

// applyHoisted sets the headers that collectHoisted has stored. It is called after the signature was verified.
func applyHoisted(ctx context.Context) {
	request, ok := ctx.(*fasthttp.RequestCtx)
	if !ok {
		return
	}
	hoisted, _ := request.Value(hoistedKey{}).(map[string]string)
	for name, value := range hoisted {
		request.Request.Header.Set(name, value)
	}
}

// withHoisted returns the metadata of a request, including that in its query.
func withHoisted(ctx context.Context, metadata map[string]string) map[string]string {
	hoisted, _ := ctx.Value(hoistedKey{}).(map[string]string)
	for name, value := range hoisted {
		if name, ok := strings.CutPrefix(name, "x-amz-meta-"); ok {
			if metadata == nil {
				metadata = map[string]string{}
			}
			metadata[name] = value
		}
	}
	return metadata
}
