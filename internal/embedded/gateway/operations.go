package gateway

import (
	"net/http"
	"slices"
)

// operation is an S3 operation that the gateway offers. versitygw routes a request by its method, by whether it has a
// key, and by its query parameters. So a request with an unexpected parameter could be another operation.
type operation struct {
	method   string
	resource resource
	required string   // a query parameter, or ""
	optional []string // query parameters, in addition to those that allowedEverywhere allows
}

// resource is what an operation works on.
type resource int

const (
	onService resource = iota
	onBucket
	onObject
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
	{http.MethodGet, onService, "", bucketsParameters},

	{http.MethodGet, onBucket, "", listParameters},
	{http.MethodGet, onBucket, "list-type", listV2Parameters},
	{http.MethodGet, onBucket, "location", nil},
	{http.MethodGet, onBucket, "versioning", nil},
	{http.MethodGet, onBucket, "uploads", uploadsParameters},
	{http.MethodHead, onBucket, "", nil},
	{http.MethodPut, onBucket, "", nil},        // CreateBucket, which answers whether the bucket exists
	{http.MethodPost, onBucket, "", nil},       // a browser's form
	{http.MethodPost, onBucket, "delete", nil}, // DeleteObjects

	{http.MethodGet, onObject, "", readParameters},
	{http.MethodHead, onObject, "", readParameters},
	{http.MethodGet, onObject, "attributes", versionParameters},
	{http.MethodGet, onObject, "tagging", versionParameters},
	{http.MethodGet, onObject, "uploadId", partsParameters},
	{http.MethodPut, onObject, "", nil},                            // PutObject, CopyObject
	{http.MethodPut, onObject, "partNumber", []string{"uploadId"}}, // UploadPart, UploadPartCopy
	{http.MethodPut, onObject, "uploadId", nil},                    // refused: it has no part number
	{http.MethodPut, onObject, "tagging", versionParameters},
	{http.MethodPost, onObject, "uploads", nil},  // CreateMultipartUpload
	{http.MethodPost, onObject, "uploadId", nil}, // CompleteMultipartUpload
	{http.MethodDelete, onObject, "", versionParameters},
	{http.MethodDelete, onObject, "tagging", versionParameters},
	{http.MethodDelete, onObject, "uploadId", nil}, // AbortMultipartUpload
}

// matches reports whether a request with these query parameters is the operation.
func (o operation) matches(method string, resource resource, parameters []string) bool {
	if o.method != method || o.resource != resource || o.required != "" && !slices.Contains(parameters, o.required) {
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
