package rest

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-lambda-go/events"
)

// newRequest returns the client's request without the headers that the handler must not see.
func newRequest(ctx context.Context, event *events.APIGatewayProxyRequest) (*http.Request, error) {
	body := []byte(event.Body)
	if event.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(event.Body); err != nil {
			return nil, fmt.Errorf("decoding the body: %w", err)
		}
	}
	u, err := url.ParseRequestURI(escape(routePath(event)))
	if err != nil {
		return nil, fmt.Errorf("parsing the path: %w", err)
	}
	u.RawQuery = query(event).Encode()
	r, err := http.NewRequestWithContext(ctx, event.HTTPMethod, u.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.URL, r.RequestURI = u, u.RequestURI()
	for name, values := range event.MultiValueHeaders {
		for _, value := range values {
			r.Header.Add(name, value)
		}
	}
	if len(event.MultiValueHeaders) == 0 {
		for name, value := range event.Headers {
			r.Header.Set(name, value)
		}
	}
	// The authorizer has checked the token. The handler must not check it again.
	r.Header.Del("Authorization")
	// The gateway compresses. If the handler did, the body would have to be base64, which the gateway passes on as it is
	// unless the API declares binary media types.
	// https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-gzip-compression-decompression.html
	r.Header.Del("Accept-Encoding")
	r.Host = r.Header.Get("Host")
	r.RemoteAddr = event.RequestContext.Identity.SourceIP
	return r, nil
}

// routePath returns the path below the API's base path. event.Path does not contain the stage, but does contain the
// base path of a custom domain. event.Resource, the template of the path, has as many segments as the route; a slash
// in a name is %2F here and ends no segment.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/rest-api-mappings.html
func routePath(event *events.APIGatewayProxyRequest) string {
	path := event.Path
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	if !strings.HasPrefix(event.Resource, "/") || strings.Contains(event.Resource, "+}") {
		return path // the resource matches any number of segments
	}
	start := len(path)
	for range strings.Count(event.Resource, "/") {
		if start = strings.LastIndexByte(path[:start], '/'); start < 0 {
			return path
		}
	}
	return path[start:]
}

// escape escapes the characters that a path can't contain, so that no part of it becomes a query. It keeps existing
// escapes: REST APIs send the path as the client escaped it, while others with this event format send it unescaped.
func escape(path string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(path) {
		c := path[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			strings.IndexByte("-._~!$&'()*+,;=:@/", c) >= 0,
			c == '%' && i+2 < len(path) && isHex(path[i+1]) && isHex(path[i+2]):
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&0xf])
		}
	}
	return b.String()
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// query returns the query parameters, which are unescaped in the event.
func query(event *events.APIGatewayProxyRequest) url.Values {
	values := url.Values(event.MultiValueQueryStringParameters)
	if len(values) > 0 {
		return values
	}
	values = url.Values{}
	for name, value := range event.QueryStringParameters {
		values.Set(name, value)
	}
	return values
}
