package webhook

import (
	"net/http"
	"time"
)

// SetTransport has deliveries go elsewhere than over the network.
func (e *Endpoint) SetTransport(t http.RoundTripper) { e.client.Transport = t }

// RetryAfter reads such a header.
func (e *Endpoint) RetryAfter(value string) time.Duration { return e.retryAfter(value) }

// MaxLater is the longest wait that an endpoint may ask for.
const MaxLater = maxLater
