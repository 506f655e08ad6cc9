package webhook

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// SetTransport replaces the transport of deliveries.
func (e *Endpoint) SetTransport(t http.RoundTripper) { e.client.Transport = t }

// RetryAfter parses a Retry-After header.
func (e *Endpoint) RetryAfter(value string) time.Duration { return e.retryAfter(value) }

// MaxRetryAfter is the longest time that an endpoint can make deliveries wait.
const MaxRetryAfter = maxRetryAfter

// SetResolver replaces the DNS resolver.
func (e *Endpoint) SetResolver(r *net.Resolver) { e.dialer.Resolver = r }

// NewThrough is New with other proxies than those in the environment.
func NewThrough(endpoint, secret string, proxies func(*http.Request) (*url.URL, error)) (*Endpoint, error) {
	return newEndpoint(endpoint, secret, time.Now, proxies)
}

// Allows returns nil if a connection to the endpoint may go to an address.
func Allows(endpoint, address string) error {
	t, err := parse(endpoint)
	if err != nil {
		return err
	}
	return t.allows(netip.MustParseAddr(address))
}
