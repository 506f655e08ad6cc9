package rest

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/events"
	"github.com/go-json-experiment/json/jsontext"
)

// recorder is an http.ResponseWriter that buffers the response.
type recorder struct {
	header http.Header
	sent   http.Header // copy of header from when the status was written; net/http, too, ignores later changes
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (w *recorder) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter. It ignores informational statuses and all but the first final one.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status, w.sent = status, maps.Clone(w.header)
	}
}

// Write implements http.ResponseWriter.
func (w *recorder) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

// problem writes an RFC 9457 problem.
func (w *recorder) problem(status int, detail string) {
	w.header.Set("Content-Type", "application/problem+json")
	w.header.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"type":"about:blank","title":%q,"status":%d,"detail":%q}`+"\n",
		http.StatusText(status), status, detail)
}

// isText reports whether the body can be sent without base64.
func (w *recorder) isText() bool {
	return w.sent.Get("Content-Encoding") == "" && utf8.Valid(w.body.Bytes())
}

// maxPayload is the maximum size of a function's response, in bytes, minus 64 KiB for its headers.
// https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
const maxPayload = 6<<20 - 64<<10

// tooLarge reports whether Lambda would reject the response, which contains the body as a JSON string.
func (w *recorder) tooLarge() bool {
	n := w.body.Len()
	switch {
	case n*6 <= maxPayload: // small enough even if each byte is escaped as \u00XX
		return false
	case !w.isText():
		return base64.StdEncoding.EncodedLen(n) > maxPayload
	}
	quoted, err := jsontext.AppendQuote(nil, w.body.Bytes())
	return err != nil || len(quoted) > maxPayload
}

func (w *recorder) response() events.APIGatewayProxyResponse {
	w.WriteHeader(http.StatusOK)
	// The gateway sets Content-Length itself, also for bodies that it compresses. It would rename this one:
	// https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html
	w.sent.Del("Content-Length")
	response := events.APIGatewayProxyResponse{StatusCode: w.status, MultiValueHeaders: w.sent}
	if w.isText() {
		response.Body = w.body.String()
	} else {
		response.Body, response.IsBase64Encoded = base64.StdEncoding.EncodeToString(w.body.Bytes()), true
	}
	return response
}
