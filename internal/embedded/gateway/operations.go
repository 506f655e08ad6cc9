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
	required []string // query parameters
	optional []string // query parameters, in addition to those of signatures
}

type subject int

const (
	service subject = iota
	aBucket
	anObject
)

var (
	list   = []string{"prefix", "delimiter", "max-keys", "encoding-type", "metadata", "marker"}
	listV2 = []string{
		"prefix", "delimiter", "max-keys", "encoding-type", "metadata", "continuation-token", "start-after", "fetch-owner",
	}
	listUploads = []string{"prefix", "delimiter", "key-marker", "upload-id-marker", "max-uploads", "encoding-type"}
	listBuckets = []string{"prefix", "continuation-token", "max-buckets", "bucket-region"}
	read        = []string{
		"versionId", "partNumber", "response-cache-control", "response-content-disposition", "response-content-encoding",
		"response-content-language", "response-content-type", "response-expires",
	}
	version   = []string{"versionId"}
	listParts = []string{"max-parts", "part-number-marker", "encoding-type"}
)

// operations lists every operation that the gateway offers. allowOnlyOperations refuses all other requests before
// versitygw routes them, including everything that S3 stores for a bucket: policy, ACL, CORS, website, object lock,
// tags.
var operations = []operation{
	{http.MethodGet, service, nil, listBuckets},

	{http.MethodGet, aBucket, nil, list},
	{http.MethodGet, aBucket, []string{"list-type"}, listV2},
	{http.MethodGet, aBucket, []string{"location"}, nil},
	{http.MethodGet, aBucket, []string{"versioning"}, nil},
	{http.MethodGet, aBucket, []string{"uploads"}, listUploads},
	{http.MethodHead, aBucket, nil, nil},
	{http.MethodPut, aBucket, nil, nil},                 // CreateBucket, which answers whether the bucket exists
	{http.MethodPost, aBucket, nil, nil},                // a browser's form
	{http.MethodPost, aBucket, []string{"delete"}, nil}, // DeleteObjects

	{http.MethodGet, anObject, nil, read},
	{http.MethodHead, anObject, nil, read},
	{http.MethodGet, anObject, []string{"attributes"}, version},
	{http.MethodGet, anObject, []string{"tagging"}, version},
	{http.MethodGet, anObject, []string{"uploadId"}, listParts},
	{http.MethodPut, anObject, nil, nil},                                     // PutObject, CopyObject
	{http.MethodPut, anObject, []string{"partNumber"}, []string{"uploadId"}}, // UploadPart, UploadPartCopy
	{http.MethodPut, anObject, []string{"uploadId"}, nil},                    // refused: it has no part number
	{http.MethodPut, anObject, []string{"tagging"}, version},
	{http.MethodPost, anObject, []string{"uploads"}, nil},  // CreateMultipartUpload
	{http.MethodPost, anObject, []string{"uploadId"}, nil}, // CompleteMultipartUpload
	{http.MethodDelete, anObject, nil, version},
	{http.MethodDelete, anObject, []string{"tagging"}, version},
	{http.MethodDelete, anObject, []string{"uploadId"}, nil}, // AbortMultipartUpload
}

// matches reports whether a request with these query parameters is the operation.
func (o operation) matches(method string, about subject, parameters []string) bool {
	if o.method != method || o.about != about {
		return false
	}
	for _, name := range o.required {
		if !slices.Contains(parameters, name) {
			return false
		}
	}
	return !slices.ContainsFunc(parameters, func(name string) bool {
		return !slices.Contains(o.required, name) && !slices.Contains(o.optional, name) && !allowedEverywhere(name)
	})
}

// allowedEverywhere reports whether a query parameter may come with every operation: the name of the operation, which
// SDKs add, signatures, and hoisted headers.
func allowedEverywhere(name string) bool {
	return name == "x-id" || isHoisted(name) || name == "AWSAccessKeyId" || name == "Signature"
}
