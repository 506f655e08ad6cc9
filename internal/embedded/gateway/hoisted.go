package gateway

import (
	"context"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v3"
	"github.com/valyala/fasthttp"
)

// A client that signs a URL may move headers of its request into the query: the AWS SDK for JavaScript does so with all
// headers that begin with x-amz-, metadata among them. S3 takes these parameters as if they had been sent as headers.
// versitygw reads headers only, and refuses those that are not signed. So the parameters are collected before versitygw
// checks the signature, which covers the query, and become headers after that, in [store.GetBucketAcl]. It reads metadata
// only from the headers as they came, so these parameters are added to its result. Headers whose names do not begin with
// x-amz- may be unsigned, so parameters of their names become headers at once.

// signing are the query parameters that belong to the signature itself.
var signing = []string{
	"x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-expires", "x-amz-security-token", "x-amz-signature",
	"x-amz-signedheaders",
}

// alsoHoisted are the headers, beside those that begin with x-amz-, that version 2 of the AWS SDK for JavaScript moves into
// the query.
var alsoHoisted = []string{
	"cache-control", "content-disposition", "content-encoding", "content-language", "content-length", "content-md5", "content-type",
	"expires", "if-match", "if-modified-since", "if-none-match", "if-unmodified-since", "range",
}

// isHoisted reports whether a query parameter has the name of a header.
func isHoisted(parameter string) bool {
	name := strings.ToLower(parameter)
	return strings.HasPrefix(name, "x-amz-") || slices.Contains(alsoHoisted, name)
}

// tooLate are headers that are needed before the signature is checked. versitygw takes Expires in a query for a sign of
// version 2 of the signature.
var tooLate = []string{"expires", "x-amz-copy-source", "x-amz-decoded-content-length", "x-amz-trailer"}

// emptyChecksums are the checksums of no data. The AWS SDK for JavaScript puts one into each URL that it signs for an
// upload whose data it does not have yet, and S3 ignores it. https://github.com/localstack/localstack/issues/12169
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

// collectHoisted remembers the headers that are in the query of a request. It returns an error if one of them can't be
// honored, so that none is lost silently.
func collectHoisted(c fiber.Ctx) error {
	query := c.Request().URI().QueryArgs()
	hoisted := map[string]string{}
	for key, text := range query.All() {
		name, value := strings.ToLower(string(key)), strings.Trim(string(text), " \t")
		if !isHoisted(name) || slices.Contains(signing, name) {
			continue
		}
		if name == "x-amz-content-sha256" && value == "UNSIGNED-PAYLOAD" { // which all presigned URLs are
			continue
		}
		if why := notHoisted(c, name, value); why != "" {
			return badName(name, value, why)
		}
		if _, twice := hoisted[name]; twice {
			return badName(name, value, "The query parameter is given twice.")
		}
		hoisted[name] = value
	}
	for _, name := range alsoHoisted {
		if value, ok := hoisted[name]; ok {
			delete(hoisted, name)
			if name != "content-length" { // which is the same
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

// notHoisted returns why a header can't be taken from the query, and nothing if it can.
func notHoisted(c fiber.Ctx, name, value string) string {
	query := c.Request().URI().QueryArgs()
	header := c.Request().Header.Peek(name)
	switch {
	case !isPresigned(c), slices.Contains(tooLate, name), name == "x-amz-content-sha256", name == "content-length" && header == nil:
		return name + " can't be part of the URL here. Send it as a signed header."
	case (strings.HasPrefix(name, "x-amz-checksum-") || name == sdkAlgorithm) && (query.Has("delete") || query.Has("tagging")):
		return name + " can't be part of the URL of this operation. Send it as a signed header."
	case !isToken(name), control(value):
		return "The query parameter can't be taken as a header, because it has characters that headers can't have."
	case name == "content-type" && !isSigned(c, name): // many clients send one of their own choice
	case len(header) > 0 && string(header) != value:
		return "The query parameter and the header of this name differ. Send one of them."
	}
	return ""
}

// isSigned reports whether the signature of a presigned URL covers a header.
func isSigned(c fiber.Ctx, name string) bool {
	return slices.Contains(strings.Split(string(c.Request().URI().QueryArgs().Peek("X-Amz-SignedHeaders")), ";"), name)
}

// dropEmptyChecksum removes the checksum of no data, and the algorithm if it is that checksum's.
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

// applyHoisted makes headers of what collectHoisted has remembered. It is called after the signature was checked.
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

// withHoisted returns the metadata of a request and that of its query.
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
