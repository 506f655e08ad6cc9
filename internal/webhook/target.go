package webhook

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// ErrAddress is the error of a delivery to an endpoint with an address that webhooks must not reach.
var ErrAddress = errors.New("address refused")

// target is the checked URL of an endpoint.
type target struct {
	given string   // the URL as configured; the endpoint's name and secret are derived from it
	url   *url.URL // the URL to request: given, percent-encoded
	host  string   // the host without port, in lower case and in ASCII
}

// Check returns an error if the URL can't be the one of an endpoint. The error contains no part of the URL other than
// its host, because the rest is often a secret.
//
// The URL must be https, or http to localhost, to a loopback address or to a private address (RFC 1918, RFC 4193),
// because changes name people and must not cross the internet unencrypted.
func Check(endpoint string) error {
	_, err := parse(endpoint)
	return err
}

// MayHoldSecret reports whether the URL has a query, or a path with a segment of 16 or more characters. Such a URL is
// often a credential: a receiver accepts requests from everyone who knows it.
func MayHoldSecret(endpoint string) bool {
	t, err := parse(endpoint)
	if err != nil {
		return false
	}
	for segment := range strings.SplitSeq(t.url.Path, "/") {
		if maybeSecret(segment) {
			return true
		}
	}
	return t.url.RawQuery != ""
}

// maybeSecret reports whether a segment of a path is long enough for a secret.
func maybeSecret(segment string) bool { return utf8.RuneCountInString(segment) >= 16 }

func parse(endpoint string) (target, error) {
	if !utf8.ValidString(endpoint) {
		return target{}, errors.New("the URL of a webhook is not valid UTF-8; percent-encode its other bytes")
	}
	for _, r := range endpoint {
		if unicode.IsSpace(r) || !unicode.IsGraphic(r) {
			return target{}, fmt.Errorf("the URL of a webhook has the character %U; remove it, or percent-encode it "+
				"(a space is %%20)", r)
		}
	}
	u, err := url.Parse(percentEncoded(endpoint))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" {
		return target{}, errors.New("a webhook must be an absolute URL, such as https://example.com/changes")
	}
	host := strings.ToLower(u.Hostname())
	if !isASCII(host) { // net/http converts the host in the same way
		if host, err = idna.Lookup.ToASCII(host); err != nil {
			return target{}, fmt.Errorf("the URL of a webhook has the host %q, which is not a domain name; correct it",
				u.Hostname())
		}
	}
	t := target{given: endpoint, url: u, host: host}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return target{}, fmt.Errorf("the webhook at %s has the port %s; give a port from 1 to 65535", host, port)
		}
	}
	ip, _ := netip.ParseAddr(host)
	switch {
	case u.User != nil:
		return target{}, fmt.Errorf("the webhook at %s has a user name or password in its URL, which is not supported; "+
			"let the receiver verify the signature instead (flavorless webhook-secret)", host)
	case u.Fragment != "":
		return target{}, fmt.Errorf("the webhook at %s has a fragment (#) in its URL, which HTTP does not send; "+
			"remove it, or write # as %%23", host)
	case ip.IsValid() && forbidden(ip) != "":
		return target{}, fmt.Errorf("the webhook at %s: webhooks must not reach %s; choose another URL", host, forbidden(ip))
	case u.Scheme == "http" && host != "localhost" && (!ip.IsValid() || !isLocal(ip)):
		return target{}, fmt.Errorf("the webhook at %s would get changes unencrypted; use https "+
			"(http is only for localhost, loopback addresses and private addresses)", host)
	}
	return t, nil
}

// percentEncoded encodes the bytes after the host that RFC 3986 allows nowhere in a URL, because net/http would send
// those in the query as they are, and many servers answer that with 400. It does not change existing percent signs.
func percentEncoded(endpoint string) string {
	start := 0
	if _, after, ok := strings.Cut(endpoint, "://"); ok {
		if i := strings.IndexAny(after, "/?#"); i >= 0 {
			start = len(endpoint) - len(after) + i
		} else {
			start = len(endpoint)
		}
	}
	var b strings.Builder
	b.WriteString(endpoint[:start])
	for _, c := range []byte(endpoint[start:]) {
		if c >= utf8.RuneSelf || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}

var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")
	nat64       = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052: the last four bytes are an IPv4 address
	broadcast   = netip.MustParseAddr("255.255.255.255")
	// Metadata services of clouds that are not link-local.
	metadata = map[netip.Addr]string{
		netip.MustParseAddr("fd00:ec2::254"):   "AWS",
		netip.MustParseAddr("fd20:ce::254"):    "Google Cloud",
		netip.MustParseAddr("100.100.100.200"): "Alibaba Cloud",
		netip.MustParseAddr("168.63.129.16"):   "Azure",
	}
)

// plain returns the IPv4 address inside an IPv4-mapped or NAT64 address, and other addresses without their zone.
func plain(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	if nat64.Contains(ip) {
		b := ip.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return ip
}

// forbidden describes the kind of an address that webhooks must not reach. It returns "" for other addresses.
func forbidden(ip netip.Addr) string {
	ip = plain(ip)
	switch {
	case ip.IsLinkLocalUnicast():
		return "link-local addresses, where clouds have their metadata service"
	case ip.IsUnspecified() || thisNetwork.Contains(ip):
		return "unspecified addresses"
	case ip.IsMulticast() || ip == broadcast:
		return "multicast and broadcast addresses"
	case metadata[ip] != "":
		return "the metadata service of " + metadata[ip]
	}
	return ""
}

// isLocal reports whether an address is on this machine or in a private network.
func isLocal(ip netip.Addr) bool { return plain(ip).IsLoopback() || plain(ip).IsPrivate() }

// allows returns nil if a connection to the endpoint may go to the address. A host name with https may have a private
// address, because the certificate proves that the server has that name.
func (t target) allows(ip netip.Addr) error {
	switch reason := forbidden(ip); {
	case reason != "":
		return fmt.Errorf("%w: webhooks must not reach %s; correct the endpoint's DNS record", ErrAddress, reason)
	case t.host == "localhost" && !plain(ip).IsLoopback():
		return fmt.Errorf("%w: localhost is not a loopback address here; correct /etc/hosts", ErrAddress)
	case t.url.Scheme == "http" && !isLocal(ip):
		return fmt.Errorf("%w: http is only for loopback and private addresses; use https", ErrAddress)
	}
	return nil
}

// control refuses connections to addresses that the target does not allow. net.Dialer calls it after name resolution,
// with the address that it is about to dial, so the answer of the DNS can't change in between.
func (t target) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAddress, err)
	}
	return t.allows(to.Addr())
}

// proxyFor returns the proxy for requests to the target, or nil. http never goes through a proxy, which could be
// outside of the private network.
func (t target) proxyFor(proxies proxyFunc) (*url.URL, error) {
	if t.url.Scheme == "http" {
		return nil, nil
	}
	proxy, err := proxies(&http.Request{URL: t.url})
	if err != nil { // err contains the URL of the proxy, which may have a password
		return nil, errors.New("the environment variable HTTPS_PROXY is not the URL of a proxy; correct or unset it")
	}
	return proxy, nil
}

// dialer returns a dialer for connections to the target or to its proxy. The address of a proxy is not checked, because
// the environment is as trusted as the rest of the configuration, and proxies often have local addresses. A proxy
// resolves the endpoint's name itself, so it must refuse forbidden addresses itself, too.
func (t target) dialer(proxy *url.URL) *net.Dialer {
	if proxy != nil {
		return &net.Dialer{}
	}
	return &net.Dialer{ControlContext: t.control}
}
