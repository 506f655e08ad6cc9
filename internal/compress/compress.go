// Package compress compresses the API's long answers where no gateway in front of it does. It is apart from package
// api so that functions behind API Gateway, which does, don't carry it.
package compress

import (
	"fmt"
	"net/http"

	"github.com/klauspost/compress/gzhttp"

	"github.com/flavorless/flavorless/api"
)

// New returns what api.Config takes as Compress: gzip for clients that accept it, from 1 KiB on.
func New() (func(http.Handler) http.Handler, error) {
	wrap, err := gzhttp.NewWrapper(gzhttp.EnableZstd(false), gzhttp.SuffixETag(api.GzipSuffix))
	if err != nil {
		return nil, fmt.Errorf("setting up compression: %w", err)
	}
	return func(next http.Handler) http.Handler { return wrap(next) }, nil
}
