package webhook

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// SetTransport has deliveries go elsewhere than over the network.
func (e *Endpoint) SetTransport(t http.RoundTripper) { e.client.Transport = t }

// RetryAfter reads such a header.
func (e *Endpoint) RetryAfter(value string) time.Duration { return e.retryAfter(value) }

// MaxLater is the longest wait that an endpoint may ask for.
const MaxLater = maxLater

// SetResolver replaces the DNS.
func (e *Endpoint) SetResolver(r *net.Resolver) { e.dialer.Resolver = r }

// NewThrough is New with other proxies than those of the environment.
func NewThrough(endpoint, secret string, proxies func(*http.Request) (*url.URL, error)) (*Endpoint, error) {
	return newEndpoint(endpoint, secret, time.Now, proxies)
}

// Allows reports whether a connection to the endpoint may go to an address.
func Allows(endpoint, address string) error {
	t, err := parse(endpoint)
	if err != nil {
		return err
	}
	return t.allows(netip.MustParseAddr(address))
}
