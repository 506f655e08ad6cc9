package cloud

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// Caller calls AWS's APIs with an access key. It uses plain JSON in place of the SDK because the properties of a table
// in CloudFormation are the input of CreateTable, and the records of a stream are Lambda's event, so neither needs
// conversion. The emulators don't verify signatures, so the signatures are placeholders.
type Caller struct {
	Endpoint string
	Key      string // the access key id
}

// APIError is an error response.
type APIError struct {
	Call   string
	Status int
	Body   string
}

func (e *APIError) Error() string { return fmt.Sprintf("%s: %d %s", e.Call, e.Status, e.Body) }

// Prefixes of X-Amz-Target in the JSON protocol.
const (
	targetTable  = "DynamoDB_20120810."
	targetStream = "DynamoDBStreams_20120810."
	targetQueue  = "AmazonSQS."
)

// JSON calls an operation of a service that speaks the JSON protocol. out may be nil.
func (c Caller) JSON(ctx context.Context, target string, in, out any) error {
	service := "dynamodb"
	if strings.HasPrefix(target, targetQueue) {
		service = "sqs"
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	header := http.Header{"X-Amz-Target": {target}, "Content-Type": {"application/x-amz-json-1.0"}}
	answer, _, err := c.do(ctx, http.MethodPost, "/", service, body, header)
	if err == nil && out != nil {
		err = json.Unmarshal(answer, out)
	}
	return err
}

// queryVersions are the API versions of the services that use the query protocol.
var queryVersions = map[string]string{"sns": "2010-03-31", "cloudformation": "2010-05-15"}

// Query calls an operation of a service that uses the query protocol. The answer is XML.
func (c Caller) Query(ctx context.Context, service, action string,
	params map[string]string) (answer string, err error) {
	form := url.Values{"Action": {action}, "Version": {queryVersions[service]}}
	for key, value := range params {
		form.Set(key, value)
	}
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	body, _, err := c.do(ctx, http.MethodPost, "/", service, []byte(form.Encode()), header)
	return string(body), err
}

// S3 calls an operation of S3. The path is /bucket/key, escaped, with the query.
func (c Caller) S3(ctx context.Context, method, path string, body []byte,
	header http.Header) ([]byte, http.Header, error) {
	return c.do(ctx, method, path, "s3", body, header)
}

func (c Caller) do(ctx context.Context, method, path, service string, body []byte,
	header http.Header) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.Endpoint+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	if header != nil {
		req.Header = header.Clone()
	}
	credential := strings.Join([]string{c.Key, time.Now().UTC().Format("20060102"), Region, service, "aws4_request"}, "/")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+credential+", SignedHeaders=host, Signature=0")
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

// Environ returns the environment of this process without variables that configure AWS clients.
func Environ() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
}
