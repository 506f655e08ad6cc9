// Package aws connects the core to Amazon's services, or to what speaks their protocols: on one machine the bucket is an
// embedded gateway, and the S3 client the same. There is one package below for each service, so that a function carries
// only the clients that it uses: each of them takes its part of a cold start.
package aws

import (
	"cmp"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// Access says how a Lambda function reaches the services. Its credentials come with the environment and stay for as long
// as that lives, so nothing is looked up: config.LoadDefaultConfig would take a quarter of the time until the function is
// ready, and ask the instance metadata service in vain.
// https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
type Access struct {
	Region, KeyID, Secret, Token string

	// Endpoint gives the URL of a service by its SDK name ("S3", "DYNAMODB"); empty or nil: Amazon's own. Tests point it
	// at what speaks the protocol.
	Endpoint func(service string) string

	// ResponseTimeout is how long a service may take until its answer to one request begins. After it the request is made again, on
	// another connection. It must be a small part of what a function has, or a connection that hangs fails the whole
	// invocation. ResponseTimeout by default.
	ResponseTimeout time.Duration
}

// Config is for the clients of one service.
func (a Access) Config(service string) aws.Config {
	c := aws.Config{
		Region:      a.Region,
		Credentials: credentials.NewStaticCredentialsProvider(a.KeyID, a.Secret, a.Token),
		HTTPClient:  httpClient(cmp.Or(a.ResponseTimeout, ResponseTimeout)),
		Retryer:     func() aws.Retryer { return Retryer(retry.NewStandard()) },
	}
	if a.Endpoint != nil {
		if url := a.Endpoint(service); url != "" {
			c.BaseEndpoint = aws.String(url)
		}
	}
	return c
}

// ResponseTimeout is the default of Access.ResponseTimeout. A service that does not answer within it will not answer at all; the
// SDK's own timeouts would spend most of a function's time on one attempt. Nothing bounds the whole of a request: bodies may be long.
const ResponseTimeout = 10 * time.Second

const (
	dialTimeout = 2 * time.Second
	connections = 64 // kept per service: more than any adapter uses at a time
)

func httpClient(responseTimeout time.Duration) *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTimeout }).
		WithTransportOptions(func(t *http.Transport) {
			t.TLSHandshakeTimeout, t.ResponseHeaderTimeout = dialTimeout, responseTimeout
			t.MaxIdleConns, t.MaxIdleConnsPerHost = connections, connections
		})
}
