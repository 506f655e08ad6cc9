// Package compress compresses the API's long responses where no gateway does it. It is separate from package api so
// that the Lambda functions, which are behind API Gateway, don't link it.
package compress

import (
	"fmt"
	"net/http"

	"github.com/klauspost/compress/gzhttp"

	"github.com/flavorless/flavorless/api"
)

// New returns an api.Config.Compress that uses gzip for responses of 1 KiB or more.
func New() (func(http.Handler) http.Handler, error) {
	wrap, err := gzhttp.NewWrapper(gzhttp.EnableZstd(false), gzhttp.SuffixETag(api.GzipSuffix))
	if err != nil {
		return nil, fmt.Errorf("setting up compression: %w", err)
	}
	return func(next http.Handler) http.Handler { return wrap(next) }, nil
}
