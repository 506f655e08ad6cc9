package gateway

import (
	"context"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3api/middlewares"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
)

// checkOption returns an error if a header, form field or query parameter asks for something that the gateway does not
// do. versitygw ignores most of these options, and the client would believe, for example, that its object is encrypted.
// The name is in lower case.
func checkOption(name, value string) error {
	switch {
	case value == "":
		return nil
	case name == "x-amz-acl":
		if value != "private" && value != "bucket-owner-full-control" {
			return errNoACLs
		}
	case strings.HasPrefix(name, "x-amz-grant-"):
		return errNoACLs
	case strings.HasPrefix(name, "x-amz-object-lock-"):
		return s3err.GetAPIError(s3err.ErrMissingObjectLockConfiguration)
	case strings.HasPrefix(name, "x-amz-server-side-encryption"),
		strings.HasPrefix(name, "x-amz-copy-source-server-side-encryption"):
		return notImplemented("This server does not encrypt objects. Remove " + name + ".")
	case name == "x-amz-storage-class" && value != "STANDARD":
		return newError(http.StatusBadRequest, "InvalidStorageClass",
			"The storage class you specified is not valid. This server stores all objects as STANDARD. Remove "+name+".")
	case name == "x-amz-website-redirect-location":
		return notImplemented("This server does not host websites. Remove " + name + ".")
	}
	return nil
}

// errNoACLs is the answer of S3 for buckets whose objects belong to the bucket's owner.
var errNoACLs = newError(http.StatusBadRequest, "AccessControlListNotSupported", "The bucket does not allow ACLs")

// errVersion2 is the answer to a request, presigned URL or form with AWS Signature Version 2. boto3 and version 1 of
// the AWS command line use that version for the region us-east-1.
var errVersion2 = newError(http.StatusBadRequest, "InvalidRequest",
	"The request is signed with AWS Signature Version 2, which is not supported. "+
		"Sign it with version 4 (AWS4-HMAC-SHA256): "+
		"set AWS_DEFAULT_REGION as flavorless env prints it, or set signature_version to s3v4 in the client.")

// maxClockSkew is how far a client's clock may be ahead of the server's, as on S3.
const maxClockSkew = 15 * time.Minute

// checkDate returns AccessDenied if a signature in a URL or form is dated in the future. versitygw accepts such
// signatures at once, so they would be valid for longer than they say. versitygw itself refuses dates that are not
// valid.
func checkDate(date string) error {
	at, err := time.Parse("20060102T150405Z", date)
	if err == nil && time.Until(at) > maxClockSkew {
		return newError(http.StatusForbidden, "AccessDenied", "Request is not valid yet")
	}
	return nil
}

// checkForm checks the fields of the request's form, if it has one. Middlewares don't see them.
func checkForm(ctx context.Context) error {
	form, ok := ctx.Value(string(utils.ContextKeyObjectPostResult)).(middlewares.PostObjectResult)
	if !ok {
		return nil
	}
	if err := checkDate(form.Fields["x-amz-date"]); err != nil {
		return err
	}
	for name, value := range form.Fields { // the names are in lower case
		if name == "acl" {
			name = "x-amz-acl"
		}
		if err := checkOption(name, value); err != nil {
			return err
		}
	}
	return nil
}

// maxMetadata is the maximum length in bytes of an object's user metadata, and of its standard headers, as on S3.
const maxMetadata = 2 << 10

// checkDescription returns an error unless the metadata, tags and headers of an object, such as its Content-Type, can
// be stored and are read back as they were sent. Form fields, unlike headers, may contain any characters.
func checkDescription(metadata map[string]string, tagging *string, headers ...*string) error {
	size := 0
	for name, value := range metadata {
		if !isToken(name) {
			return invalidArgument("x-amz-meta-"+name, value,
				"The name of the metadata is not a valid name of an HTTP header. Use letters, digits and hyphens.")
		}
		if hasControl(value) || !utf8.ValidString(value) {
			return invalidArgument("x-amz-meta-"+name, value,
				"The value of the metadata contains control characters or is not UTF-8. Encode it, for example with percent signs.")
		}
		size += len(name) + len(value)
	}
	if size > maxMetadata {
		return s3err.GetMetadataTooLargeErr(size, maxMetadata)
	}
	size = 0
	for _, value := range headers {
		if value == nil {
			continue
		}
		if hasControl(*value) {
			return invalidArgument("header", *value, "The value of a header contains control characters.")
		}
		size += len(*value)
	}
	if size > maxMetadata {
		return s3err.GetMetadataTooLargeErr(size, maxMetadata)
	}
	tags, err := backend.ParseObjectTags(backend.GetStringFromPtr(tagging))
	if err == nil && len(tags) > maxTags {
		err = s3err.GetAPIError(s3err.ErrObjectTaggingLimited)
	}
	return err
}

// withoutChunked returns a Content-Encoding without aws-chunked, which describes the request and not the object. S3
// stores the rest.
func withoutChunked(encoding *string) *string {
	if encoding == nil || !strings.Contains(strings.ToLower(*encoding), "aws-chunked") {
		return encoding
	}
	var kept []string
	for name := range strings.SplitSeq(*encoding, ",") {
		if name = strings.TrimSpace(name); name != "" && !strings.EqualFold(name, "aws-chunked") {
			kept = append(kept, name)
		}
	}
	rest := strings.Join(kept, ", ")
	return &rest
}

// isToken reports whether name is a valid name of an HTTP header (RFC 9110, section 5.6.2).
func isToken(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		switch {
		case '0' <= r && r <= '9', 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z':
			return false
		}
		return !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

// hasControl reports whether a header's value contains control characters, which HTTP does not allow there.
func hasControl(value string) bool {
	return strings.ContainsFunc(value, func(r rune) bool { return r < 0x20 && r != '\t' || r == 0x7F })
}
