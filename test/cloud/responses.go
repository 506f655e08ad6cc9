package cloud

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// gatewayResponse is what the gateway answers by itself, AWS::ApiGateway::GatewayResponse.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
type gatewayResponse struct {
	status      int
	headers     map[string]string
	template    string
	contentType string
}

// The statuses that responses have if the template gives none.
var defaultStatus = map[string]int{ //nolint:gochecknoglobals // a table
	"ACCESS_DENIED": 403, "API_CONFIGURATION_ERROR": 500, "AUTHORIZER_CONFIGURATION_ERROR": 500, "AUTHORIZER_FAILURE": 500,
	"BAD_REQUEST_PARAMETERS": 400, "BAD_REQUEST_BODY": 400, "DEFAULT_4XX": 0, "DEFAULT_5XX": 0, "EXPIRED_TOKEN": 403,
	"INTEGRATION_FAILURE": 504, "INTEGRATION_TIMEOUT": 504, "INVALID_API_KEY": 403, "INVALID_SIGNATURE": 403,
	"MISSING_AUTHENTICATION_TOKEN": 403, "QUOTA_EXCEEDED": 429, "REQUEST_TOO_LARGE": 413, "RESOURCE_NOT_FOUND": 404,
	"THROTTLED": 429, "UNAUTHORIZED": 401, "UNSUPPORTED_MEDIA_TYPE": 415, "WAF_FILTERED": 403,
}

func (g *Gateway) addResponse(s *Stack, id string) error {
	var p struct {
		RestApiId, ResponseType, StatusCode   string //nolint:revive // the template's names
		ResponseParameters, ResponseTemplates map[string]string
	}
	properties, err := s.properties(id)
	if err == nil {
		err = convert(properties, &p)
	}
	if err != nil {
		return err
	}
	if _, ok := defaultStatus[p.ResponseType]; !ok {
		return fmt.Errorf("there is no response type %q", p.ResponseType)
	}
	response := gatewayResponse{headers: map[string]string{}}
	if p.StatusCode != "" {
		if response.status, err = strconv.Atoi(p.StatusCode); err != nil {
			return err
		}
	}
	for name, value := range p.ResponseParameters {
		header, ok := strings.CutPrefix(name, "gatewayresponse.header.")
		literal, is := quoted(value)
		if !ok || !is {
			return fmt.Errorf("the parameter %s: %s is not understood here", name, value)
		}
		response.headers[header] = literal
	}
	for kind, template := range p.ResponseTemplates {
		response.contentType, response.template = kind, template
	}
	g.responses[p.ResponseType] = response
	return nil
}

// quoted gives a literal of a mapping: a text in single quotes.
func quoted(value string) (string, bool) {
	if len(value) < 2 || value[0] != '\'' || value[len(value)-1] != '\'' {
		return "", false
	}
	return value[1 : len(value)-1], true
}

var variable = regexp.MustCompile(`\$context(\.\w+)+`)

// respond answers for the gateway itself.
func (g *Gateway) respond(e *exchange, kind, message string) {
	g.respondStatus(e, kind, defaultStatus[kind], message)
}

func (g *Gateway) respondStatus(e *exchange, kind string, status int, message string) {
	response, ok := g.responses[kind]
	if !ok {
		fallback := "DEFAULT_4XX"
		if status >= http.StatusInternalServerError {
			fallback = "DEFAULT_5XX"
		}
		response = g.responses[fallback]
	}
	if response.status != 0 {
		status = response.status
	}
	body := response.template
	if body == "" {
		body, response.contentType = `{"message":$context.error.messageString}`, "application/json"
	}
	values := map[string]string{
		"$context.requestId": e.id, "$context.error.message": message, "$context.error.messageString": jsonText(message),
		"$context.error.responseType": kind, "$context.path": "/" + g.stage + e.path, "$context.stage": g.stage, "$context.httpMethod": e.r.Method,
	}
	body = variable.ReplaceAllStringFunc(body, func(name string) string {
		if value, ok := values[name]; ok {
			return value
		}
		return "the harness does not know " + name // no test will take this for an answer
	})
	h := e.w.Header()
	h.Set("Content-Type", response.contentType)
	h.Set("X-Amzn-Errortype", kind)
	for name, value := range response.headers {
		h.Set(name, value)
	}
	g.write(e, status, []byte(body))
}

// proxy hands a request to a function, and back what it answers.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
func (g *Gateway) proxy(e *exchange, m *method) {
	body, err := io.ReadAll(http.MaxBytesReader(e.w, e.r.Body, 10<<20))
	if err != nil {
		g.respond(e, "REQUEST_TOO_LARGE", "Request Too Long")
		return
	}
	payload, err := json.Marshal(g.event(e, body))
	if err != nil {
		g.respondStatus(e, "API_CONFIGURATION_ERROR", http.StatusInternalServerError, err.Error())
		return
	}
	done, ok := invokeWithin(e.r.Context(), m.function, payload, m.limit())
	if !ok {
		g.respond(e, "INTEGRATION_TIMEOUT", "Endpoint request timed out")
		return
	}
	var answer struct {
		StatusCode        int
		Headers           map[string]string
		MultiValueHeaders map[string][]string
		Body              string
		IsBase64Encoded   bool
	}
	dec := json.NewDecoder(bytes.NewReader(done.Answer))
	dec.DisallowUnknownFields()
	if done.Failed != "" || dec.Decode(&answer) != nil || answer.StatusCode < 200 {
		g.respondStatus(e, "DEFAULT_5XX", http.StatusBadGateway, "Internal server error")
		return
	}
	h := e.w.Header()
	for name, values := range answer.MultiValueHeaders {
		for _, value := range values {
			h.Add(remapped(name), value)
		}
	}
	for name, value := range answer.Headers {
		h.Set(remapped(name), value)
	}
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json")
	}
	out := []byte(answer.Body)
	if answer.IsBase64Encoded && g.isBinary(e.r.Header.Get("Accept")) { // else the client gets to see base64
		if out, err = base64.StdEncoding.DecodeString(answer.Body); err != nil {
			g.respondStatus(e, "DEFAULT_5XX", http.StatusBadGateway, "Internal server error")
			return
		}
	}
	g.write(e, answer.StatusCode, out)
}

// remapped gives the name that a function's header has outside: some are the gateway's own.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html
func remapped(name string) string {
	switch http.CanonicalHeaderKey(name) {
	case "Authorization", "Connection", "Content-Md5", "Date", "Expect", "Host", "Server", "Te", "Transfer-Encoding", "User-Agent", "Www-Authenticate":
		return "X-Amzn-Remapped-" + name
	}
	return name
}

// isBinary tells whether the API takes a media type for binary; of several only the first counts.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/lambda-proxy-binary-media.html
func (g *Gateway) isBinary(media string) bool {
	media, _, _ = strings.Cut(media, ",")
	media, _, _ = strings.Cut(media, ";")
	for _, binary := range g.binary {
		if binary == "*/*" || strings.EqualFold(binary, strings.TrimSpace(media)) {
			return true
		}
	}
	return false
}

// write sends an answer, compressed if it is long and the client takes that.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-gzip-compression-decompression.html
func (g *Gateway) write(e *exchange, status int, body []byte) {
	h := e.w.Header()
	if g.compressAt > 0 && len(body) >= g.compressAt && h.Get("Content-Encoding") == "" && strings.Contains(e.r.Header.Get("Accept-Encoding"), "gzip") {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(body) // into memory
		_ = z.Close()
		body = b.Bytes()
		h.Set("Content-Encoding", "gzip")
	}
	if e.r.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified {
		body = nil
	} else {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	e.w.WriteHeader(status)
	_, _ = e.w.Write(body) // if the client is gone, nobody minds
}

// event is what a function gets: version 1 of the proxy integration's format. The path stays as it was sent, its parameters
// are unescaped once. The documentation is silent about the latter, and people report both: a function should not rely on it.
func (g *Gateway) event(e *exchange, body []byte) map[string]any {
	now := time.Now().UTC()
	headers := e.r.Header.Clone()
	headers.Set("Host", e.r.Host)
	source, _, _ := net.SplitHostPort(e.r.RemoteAddr)
	headers.Set("X-Forwarded-For", source)
	headers.Set("X-Forwarded-Port", "443")
	headers.Set("X-Forwarded-Proto", "https")
	requestContext := map[string]any{
		"accountId": Account, "apiId": g.id, "domainName": e.r.Host, "domainPrefix": g.id, "extendedRequestId": e.id, "httpMethod": e.r.Method,
		"path": "/" + g.stage + e.path, "protocol": e.r.Proto, "requestId": e.id, "requestTime": now.Format("02/Jan/2006:15:04:05 -0700"),
		"requestTimeEpoch": now.UnixMilli(), "resourceId": e.route.id, "resourcePath": e.route.path, "stage": g.stage,
		"identity": map[string]any{"sourceIp": source, "userAgent": e.r.UserAgent(), "accountId": nil, "apiKey": nil, "caller": nil, "user": nil, "userArn": nil},
	}
	if e.context != nil {
		requestContext["authorizer"] = e.context
	}
	query := e.r.URL.Query()
	event := map[string]any{
		"resource": e.route.path, "path": e.path, "httpMethod": e.r.Method, "headers": single(headers), "multiValueHeaders": headers,
		"queryStringParameters": nil, "multiValueQueryStringParameters": nil, "pathParameters": nil, "stageVariables": nil,
		"requestContext": requestContext, "body": nil, "isBase64Encoded": false,
	}
	if len(query) > 0 {
		event["queryStringParameters"], event["multiValueQueryStringParameters"] = single(query), query
	}
	if len(e.params) > 0 {
		event["pathParameters"] = maps.Clone(e.params)
	}
	switch {
	case len(body) == 0:
	case g.isBinary(e.r.Header.Get("Content-Type")) || !utf8.Valid(body):
		event["body"], event["isBase64Encoded"] = base64.StdEncoding.EncodeToString(body), true
	default:
		event["body"] = string(body)
	}
	return event
}

// single gives the last value of each name.
func single(values map[string][]string) map[string]string {
	out := map[string]string{}
	for name, all := range values {
		if len(all) > 0 {
			out[name] = all[len(all)-1]
		}
	}
	return out
}
