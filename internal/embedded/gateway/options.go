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
	"github.com/versity/versitygw/s3response"
)

// checkOption returns an error if a header, a form field or a query parameter asks for something that the gateway does
// not do. versitygw ignores most of them, and the client would believe, for example, that its object is encrypted. The
// name is in lower case.
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
	case strings.HasPrefix(name, "x-amz-server-side-encryption"), strings.HasPrefix(name, "x-amz-copy-source-server-side-encryption"):
		return notImplemented("Objects are not encrypted here. Leave out " + name + ".")
	case name == "x-amz-storage-class" && value != "STANDARD":
		return s3err.APIError{
			Code: "InvalidStorageClass", HTTPStatusCode: http.StatusBadRequest,
			Description: "The storage class you specified is not valid. This server stores all objects as STANDARD. " +
				"Leave out " + name + ".",
		}
	case name == "x-amz-website-redirect-location":
		return notImplemented("There are no websites here. Leave out " + name + ".")
	}
	return nil
}

// errNoACLs is what S3 answers for buckets whose objects belong to the bucket's owner.
var errNoACLs = s3err.APIError{
	Code: "AccessControlListNotSupported", Description: "The bucket does not allow ACLs", HTTPStatusCode: http.StatusBadRequest,
}

// errVersion2 is the answer to a request, a presigned URL or a form of AWS Signature Version 2. boto3 and the AWS command line
// choose that version for the region us-east-1.
var errVersion2 = s3err.APIError{
	Code: "InvalidRequest", HTTPStatusCode: http.StatusBadRequest,
	Description: "The request is signed with AWS Signature Version 2, which is not supported. " +
		"Sign it with version 4 (AWS4-HMAC-SHA256): " +
		"set AWS_DEFAULT_REGION as flavorless env prints it, or set signature_version to s3v4 in the client.",
}

func notImplemented(why string) error {
	return s3err.APIError{Code: "NotImplemented", Description: why, HTTPStatusCode: http.StatusNotImplemented}
}

// maxAhead is how far a client's clock may be ahead of this one, as on S3.
const maxAhead = 15 * time.Minute

// checkDate returns AccessDenied if a signature in a URL or form is for a later time. versitygw accepts those at once,
// so they would be valid for longer than they say. It is versitygw that refuses a date that can't be read.
func checkDate(date string) error {
	at, err := time.Parse("20060102T150405Z", date)
	if err == nil && time.Until(at) > maxAhead {
		return s3err.APIError{Code: "AccessDenied", Description: "Request is not valid yet", HTTPStatusCode: http.StatusForbidden}
	}
	return nil
}

// checkForm checks the fields of a browser's form, if the request has one. Middlewares never see them.
func checkForm(ctx context.Context) error {
	form, ok := ctx.Value(string(utils.ContextKeyObjectPostResult)).(middlewares.PostObjectResult)
	if !ok {
		return nil
	}
	if err := checkDate(form.Fields["x-amz-date"]); err != nil {
		return err
	}
	for name, value := range form.Fields { // in lower case
		if name == "acl" {
			name = "x-amz-acl"
		}
		if err := checkOption(name, value); err != nil {
			return err
		}
	}
	return nil
}

// maxMetadata is the greatest length of an object's own metadata, and of that which HTTP defines, in bytes, as on S3.
const maxMetadata = 2 << 10

// described is all that a request says about an object to be stored.
type described struct {
	metadata map[string]string
	headers  []*string // Content-Type and the like
	tagging  *string
}

func descriptionOf(in s3response.PutObjectInput) described {
	return described{metadata: in.Metadata, tagging: in.Tagging, headers: []*string{
		in.ContentType, in.ContentEncoding, in.ContentDisposition, in.ContentLanguage, in.CacheControl, in.Expires,
	}}
}

// check returns an error unless everything can be stored, and is read back as it was sent. The fields of a form, unlike
// headers, may hold anything.
func (d described) check() error {
	size := 0
	for name, value := range d.metadata {
		if !isToken(name) {
			return badName("x-amz-meta-"+name, value, "The name of the metadata is not one that an HTTP header can have. Use letters, digits and hyphens.")
		}
		if control(value) || !utf8.ValidString(value) {
			return badName("x-amz-meta-"+name, value, "The value of the metadata has control characters or is not UTF-8. Encode it, with percent signs for example.")
		}
		size += len(name) + len(value)
	}
	if size > maxMetadata {
		return s3err.GetMetadataTooLargeErr(size, maxMetadata)
	}
	size = 0
	for _, value := range d.headers {
		if value == nil {
			continue
		}
		if control(*value) {
			return badName("header", *value, "The value of a header has control characters.")
		}
		size += len(*value)
	}
	if size > maxMetadata {
		return s3err.GetMetadataTooLargeErr(size, maxMetadata)
	}
	tags, err := backend.ParseObjectTags(backend.GetStringFromPtr(d.tagging))
	if err == nil && len(tags) > maxTags {
		err = s3err.GetAPIError(s3err.ErrObjectTaggingLimited)
	}
	return err
}

// withoutChunks returns a Content-Encoding without aws-chunked, which is about the request and not the object. S3 stores the
// rest.
func withoutChunks(encoding *string) *string {
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

const maxTags = 10 // of an object, as on S3

// isToken reports whether name can be the name of an HTTP header. RFC 9110, section 5.6.2
func isToken(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		switch {
		case '0' <= r && r <= '9', 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z':
			return false
		}
		return !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

// control reports whether a header's value has characters that HTTP does not allow there.
func control(value string) bool {
	return strings.ContainsFunc(value, func(r rune) bool { return r < 0x20 && r != '\t' || r == 0x7F })
}
