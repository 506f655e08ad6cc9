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

// request is what the client sent, as far as a handler may know it.
func request(ctx context.Context, event *events.APIGatewayProxyRequest) (*http.Request, error) {
	body := []byte(event.Body)
	if event.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(event.Body); err != nil {
			return nil, fmt.Errorf("decoding the body: %w", err)
		}
	}
	u, err := url.ParseRequestURI(escaped(routed(event)))
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
	for name, value := range event.Headers { // where there is only this
		if len(event.MultiValueHeaders) == 0 {
			r.Header.Set(name, value)
		}
	}
	// Whether the token is good has been decided by the authorizer. Nothing behind it shall have a second opinion.
	r.Header.Del("Authorization")
	// The gateway compresses, and what leaves here is text: a compressed body would have to be base64, and a client would
	// see that unless the API declares binary media types.
	// https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-gzip-compression-decompression.html
	r.Header.Del("Accept-Encoding")
	r.Host = r.Header.Get("Host")
	r.RemoteAddr = event.RequestContext.Identity.SourceIP
	return r, nil
}

// routed is the path below the API's base. The stage is not part of event.Path, but the base path of a custom domain
// is; the resource tells how many segments are the route's own. A slash in a name is %2F here, and no segment's end.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/rest-api-mappings.html
func routed(event *events.APIGatewayProxyRequest) string {
	path := event.Path
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	if !strings.HasPrefix(event.Resource, "/") || strings.Contains(event.Resource, "+}") {
		return path // any number of segments
	}
	start := len(path)
	for range strings.Count(event.Resource, "/") {
		if start = strings.LastIndexByte(path[:start], '/'); start < 0 {
			return path
		}
	}
	return path[start:]
}

// escaped keeps a path as it was sent, which is how REST APIs give it. Others that speak this format give it unescaped;
// what can't stand in a path is escaped for their sake, so that none of it turns into a query.
func escaped(path string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(path) {
		c := path[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~!$&'()*+,;=:@/", c) >= 0,
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

// query is unescaped in the event.
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
