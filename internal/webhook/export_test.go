package webhook

import "net/http"

// SetTransport has deliveries go elsewhere than over the network.
func (e *Endpoint) SetTransport(t http.RoundTripper) { e.client.Transport = t }
