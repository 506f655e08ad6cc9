// Package aws configures clients of Amazon's services, and decodes S3's event notifications.
//
// Each service has its own subpackage, so that a Lambda function contains only the clients that it uses: every client
// makes the cold start longer.
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

// Access is how a Lambda function accesses the services. Its credentials are in the environment and remain valid as
// long as the process, so they need no lookup: config.LoadDefaultConfig would take a quarter of the cold start, and
// would call the instance metadata service, which Lambda does not have.
// https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
type Access struct {
	Region, KeyID, Secret, Token string

	// Endpoint, if non-nil, returns the URL of a service by its SDK name, such as "S3" or "DYNAMODB". If it is nil or
	// returns "", the client uses Amazon's endpoint.
	Endpoint func(service string) string

	// ResponseTimeout is how long a service may take to begin its response. After that the client retries the request on
	// another connection. It must be much shorter than the function's timeout, or one hung connection fails the whole
	// invocation. The default is [ResponseTimeout].
	ResponseTimeout time.Duration
}

// Config returns the configuration for clients of one service.
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

// ResponseTimeout is the default of Access.ResponseTimeout. A service that has not answered by then will not answer at
// all, and the SDK's longer timeouts would use most of a function's time for one attempt. The duration of a whole
// request is not limited, because bodies may be long.
const ResponseTimeout = 10 * time.Second

const (
	dialTimeout = 2 * time.Second
	connections = 64 // idle connections per service; more than any adapter uses at a time
)

func httpClient(responseTimeout time.Duration) *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTimeout }).
		WithTransportOptions(func(t *http.Transport) {
			t.TLSHandshakeTimeout, t.ResponseHeaderTimeout = dialTimeout, responseTimeout
			t.MaxIdleConns, t.MaxIdleConnsPerHost = connections, connections
		})
}
