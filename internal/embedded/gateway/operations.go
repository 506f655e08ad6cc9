package gateway

import (
	"net/http"
	"slices"
)

// operation is an S3 operation that the gateway offers. versitygw routes a request by its method, by whether it has a
// key, and by its query parameters. So a request with an unexpected parameter could be another operation.
type operation struct {
	method   string
	about    subject
	required string   // a query parameter, or ""
	optional []string // query parameters, in addition to those that allowedEverywhere allows
}

type subject int

const (
	service subject = iota
	aBucket
	anObject
)

var (
	bucketsParameters = []string{"prefix", "continuation-token", "max-buckets", "bucket-region"}
	listParameters    = []string{"prefix", "delimiter", "max-keys", "encoding-type", "metadata", "marker"}
	listV2Parameters  = []string{
		"prefix", "delimiter", "max-keys", "encoding-type", "metadata", "continuation-token", "start-after", "fetch-owner",
	}
	uploadsParameters = []string{"prefix", "delimiter", "key-marker", "upload-id-marker", "max-uploads", "encoding-type"}
	partsParameters   = []string{"max-parts", "part-number-marker", "encoding-type"}
	readParameters    = []string{
		"versionId", "partNumber", "response-cache-control", "response-content-disposition", "response-content-encoding",
		"response-content-language", "response-content-type", "response-expires",
	}
	versionParameters = []string{"versionId"}
)

// operations lists every operation that the gateway offers. allowOnlyOperations refuses all other requests before
// versitygw routes them, including everything that S3 stores for a bucket: policy, ACL, CORS, website, object lock,
// tags.
var operations = []operation{
	{http.MethodGet, service, "", bucketsParameters},

	{http.MethodGet, aBucket, "", listParameters},
	{http.MethodGet, aBucket, "list-type", listV2Parameters},
	{http.MethodGet, aBucket, "location", nil},
	{http.MethodGet, aBucket, "versioning", nil},
	{http.MethodGet, aBucket, "uploads", uploadsParameters},
	{http.MethodHead, aBucket, "", nil},
	{http.MethodPut, aBucket, "", nil},        // CreateBucket, which answers whether the bucket exists
	{http.MethodPost, aBucket, "", nil},       // a browser's form
	{http.MethodPost, aBucket, "delete", nil}, // DeleteObjects

	{http.MethodGet, anObject, "", readParameters},
	{http.MethodHead, anObject, "", readParameters},
	{http.MethodGet, anObject, "attributes", versionParameters},
	{http.MethodGet, anObject, "tagging", versionParameters},
	{http.MethodGet, anObject, "uploadId", partsParameters},
	{http.MethodPut, anObject, "", nil},                            // PutObject, CopyObject
	{http.MethodPut, anObject, "partNumber", []string{"uploadId"}}, // UploadPart, UploadPartCopy
	{http.MethodPut, anObject, "uploadId", nil},                    // refused: it has no part number
	{http.MethodPut, anObject, "tagging", versionParameters},
	{http.MethodPost, anObject, "uploads", nil},  // CreateMultipartUpload
	{http.MethodPost, anObject, "uploadId", nil}, // CompleteMultipartUpload
	{http.MethodDelete, anObject, "", versionParameters},
	{http.MethodDelete, anObject, "tagging", versionParameters},
	{http.MethodDelete, anObject, "uploadId", nil}, // AbortMultipartUpload
}

// matches reports whether a request with these query parameters is the operation.
func (o operation) matches(method string, about subject, parameters []string) bool {
	if o.method != method || o.about != about || o.required != "" && !slices.Contains(parameters, o.required) {
		return false
	}
	return !slices.ContainsFunc(parameters, func(name string) bool {
		required := name != "" && name == o.required
		return !required && !slices.Contains(o.optional, name) && !allowedEverywhere(name)
	})
}

// allowedEverywhere reports whether a query parameter may come with every operation: the name of the operation, which
// SDKs add, signatures, and hoisted headers.
func allowedEverywhere(name string) bool {
	return name == "x-id" || isHoisted(name) || name == "AWSAccessKeyId" || name == "Signature"
}
