package rest

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/events"
)

// recorder is the http.ResponseWriter.
type recorder struct {
	header http.Header
	sent   http.Header // as it was when the status was written: later changes don't count, as with net/http
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (w *recorder) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter. Only the first final status counts.
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

// problem answers with an RFC 9457 problem.
func (w *recorder) problem(status int, detail string) {
	w.header.Set("Content-Type", "application/problem+json")
	w.header.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"type":"about:blank","title":%q,"status":%d,"detail":%q}`+"\n", http.StatusText(status), status, detail)
}

// text tells whether the body can travel as it is.
func (w *recorder) text() bool {
	return w.sent.Get("Content-Encoding") == "" && utf8.Valid(w.body.Bytes())
}

// maxPayload is how long an answer of a function may be, in bytes, less room for its headers.
// https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
const maxPayload = 6<<20 - 64<<10

// tooLarge tells whether Lambda would refuse the answer, which has the body as a JSON string.
func (w *recorder) tooLarge() bool {
	n := w.body.Len()
	switch {
	case n*6 <= maxPayload: // every byte escaped
		return false
	case !w.text():
		return base64.StdEncoding.EncodedLen(n) > maxPayload
	}
	escapes := 0 // beyond the characters themselves
	for _, c := range w.body.Bytes() {
		switch {
		case c == '"', c == '\\', c == '\n', c == '\r', c == '\t':
			escapes++
		case c < ' ':
			escapes += len(`\u0000`) - 1
		}
	}
	return n+escapes > maxPayload
}

func (w *recorder) response() events.APIGatewayProxyResponse {
	w.WriteHeader(http.StatusOK)
	// The gateway counts by itself, also what it has compressed. Ours it would hand on under a name of its own:
	// https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html
	w.sent.Del("Content-Length")
	response := events.APIGatewayProxyResponse{StatusCode: w.status, MultiValueHeaders: w.sent}
	if w.text() {
		response.Body = w.body.String()
	} else {
		response.Body, response.IsBase64Encoded = base64.StdEncoding.EncodeToString(w.body.Bytes()), true
	}
	return response
}
