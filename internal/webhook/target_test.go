package webhook_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/webhook"
)

func TestCheck(t *testing.T) {
	for endpoint, want := range map[string]string{ // part of the error, or "" for no error
		"https://example.com":               "",
		"https://example.com:8443/a/b?c=d":  "",
		"https://bücher.example/":           "",
		"https://10.0.0.1/":                 "",
		"https://[::ffff:10.0.0.1]/":        "",
		"http://localhost:8080/hook":        "",
		"http://LOCALHOST":                  "",
		"http://127.1.2.3/":                 "",
		"http://[::1]:80/":                  "",
		"http://192.168.1.2/":               "",
		"http://[fd00::1]/":                 "",
		"http://[::ffff:10.0.0.1]/":         "",
		"http://example.com/":               "unencrypted; use https",
		"http://localhost.example.com/":     "use https",
		"http://printer/":                   "use https",
		"http://8.8.8.8/":                   "use https",
		"http://[2001:db8::1]/":             "use https",
		"http://[::ffff:8.8.8.8]/":          "use https",
		"http://100.64.0.1/":                "use https",
		"https://169.254.169.254/latest":    "link-local",
		"http://169.254.169.254/latest":     "link-local",
		"https://[fe80::1]/":                "link-local",
		"https://[fe80::1%25eth0]/":         "link-local",
		"https://[::ffff:169.254.169.254]/": "link-local",
		"https://[::ffff:a9fe:a9fe]/":       "link-local",
		"https://[64:ff9b::a9fe:a9fe]/":     "link-local",
		"https://１６９.２５４.１６９.２５４/":          "link-local",
		"https://[fd00:ec2::254]/":          "metadata service of AWS",
		"https://100.100.100.200/":          "metadata service of Alibaba",
		"https://168.63.129.16/":            "metadata service of Azure",
		"https://0.0.0.0/":                  "unspecified",
		"https://0.1.2.3/":                  "unspecified",
		"https://[::]/":                     "unspecified",
		"https://[::ffff:0.0.0.0]/":         "unspecified",
		"https://224.0.0.1/":                "multicast",
		"https://255.255.255.255/":          "broadcast",
		"https://[ff02::1]/":                "multicast",
		"https://[::ffff:224.0.0.1]/":       "multicast",
		"https://hushed:hush@example.com/":  "user name or password",
		"https://hush@example.com/":         "user name or password",
		"https://example.com:0/":            "port",
		"https://example.com:65536/":        "port",
		"https://example.com/#hush":         "fragment",
		"https://example.com/a hush":        "U+0020",
		"https://example.com/?hush=a b":     "U+0020",
		"https://example.com/hush\x00":      "U+0000",
		"https://example.com/hush\n":        "U+000A",
		"https://example.com/?hush=\x7f":    "U+007F",
		"https://example.com/hush\u00a0":    "U+00A0",
		"https://example.com/hush\u202e":    "U+202E",
		"https://example.com/hush\xff":      "UTF-8",
		"https://example.com/hush%zz":       "absolute URL",
		"https://:443/hush":                 "absolute URL",
		"https:///hush":                     "absolute URL",
		"ftp://example.com/hush":            "absolute URL",
		"https:example.com/hush":            "absolute URL",
		"hush":                              "absolute URL",
		"":                                  "absolute URL",
		"https://é-.example/":               "domain name",
		"https://example.com/?hush=a\u2028": "U+2028",
	} {
		err := webhook.Check(endpoint)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("Check(%q) = %v, want an error with %q, or nil if that is empty", endpoint, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hush") {
			t.Errorf("Check(%q) = %v, want no secret part of the URL", endpoint, err)
		}
		if _, err2 := webhook.New(endpoint, webhook.Secret(key(), endpoint), time.Now); (err2 == nil) != (err == nil) {
			t.Errorf("New(%q) = %v, want an error if Check returns one, which is %v", endpoint, err2, err)
		}
	}
}

func TestMayHoldSecret(t *testing.T) {
	for endpoint, want := range map[string]bool{
		"https://a-name-of-many-letters.example.com/":      false,
		"https://example.com/short/paths/of/many/segments": false,
		"https://example.com/123456789012345":              false,
		"https://example.com/1234567890123456":             true,
		"https://example.com/a/1234567890123456/b":         true,
		"https://example.com/%61%61%61%61%61%61":           false,
		"https://example.com/?a":                           true,
	} {
		if got := webhook.MayHoldSecret(endpoint); got != want {
			t.Errorf("MayHoldSecret(%q) = %t, want %t", endpoint, got, want)
		}
	}
}

// TestDeliverEncodes checks that the receiver gets the characters that a URL can't have as percent-encoded UTF-8, and
// all others as given.
func TestDeliverEncodes(t *testing.T) {
	got := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.RequestURI }))
	defer server.Close()
	for suffix, want := range map[string]string{
		"":                            "/",
		"/zoë/%2F?flavor=crème&x=%C3": "/zo%C3%AB/%2F?flavor=cr%C3%A8me&x=%C3",
		"?q=日本":                       "/?q=%E6%97%A5%E6%9C%AC",
		"/{a}|b?c=\"<d>\"&e=[f]":      "/%7Ba%7D%7Cb?c=%22%3Cd%3E%22&e=[f]",
		"/a+b//../%7e?x=1%2525":       "/a+b//../%7e?x=1%2525",
	} {
		if err := endpoint(t, server.URL+suffix).Deliver(t.Context(), message(t)); err != nil {
			t.Errorf("Deliver to %s = %v, want nil", suffix, err)
		} else if uri := <-got; uri != want {
			t.Errorf("request URI for %s = %s, want %s", suffix, uri, want)
		}
	}
}

func TestAllows(t *testing.T) {
	for _, c := range []struct {
		endpoint, address string
		want              bool
	}{
		{"https://example.com/", "8.8.8.8", true},
		{"https://example.com/", "10.0.0.1", true},
		{"https://example.com/", "127.0.0.1", true},
		{"https://example.com/", "169.254.169.254", false},
		{"https://example.com/", "::ffff:169.254.169.254", false},
		{"https://example.com/", "64:ff9b::a9fe:a9fe", false},
		{"https://example.com/", "fe80::1%eth0", false},
		{"https://example.com/", "fd00:ec2::254", false},
		{"https://example.com/", "0.0.0.0", false},
		{"https://example.com/", "::", false},
		{"https://example.com/", "224.0.0.1", false},
		{"https://example.com/", "ff02::1", false},
		{"http://localhost/", "127.0.0.1", true},
		{"http://localhost/", "::1", true},
		{"http://localhost/", "10.0.0.1", false},
		{"http://localhost/", "8.8.8.8", false},
		{"https://localhost/", "10.0.0.1", false},
		{"http://10.0.0.1/", "10.0.0.1", true},
		{"http://10.0.0.1/", "8.8.8.8", false},
	} {
		if err := webhook.Allows(c.endpoint, c.address); (err == nil) != c.want || err != nil && !errors.Is(err,
			webhook.ErrAddress) {
			t.Errorf("Allows(%s, %s) = %v, want allowed = %t", c.endpoint, c.address, err, c.want)
		}
	}
}

// resolver returns a resolver that answers every query with one address.
func resolver(t *testing.T, ip netip.Addr) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		for b := make([]byte, 1500); ; {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			m.Response, m.Additionals = true, nil
			if q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
					Body:   &dnsmessage.AResource{A: ip.As4()},
				}}
			}
			if answer, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// TestDeliverToForbiddenAddress checks that a name that resolves to a link-local address is not connected to. The
// delivery is tried again, because the DNS may be corrected, and its error has the reason without the secret parts of
// the URL.
func TestDeliverToForbiddenAddress(t *testing.T) {
	e := endpoint(t, "https://receiver.example/hush?token=hush")
	e.SetResolver(resolver(t, netip.MustParseAddr("169.254.169.254")))
	err := e.Deliver(t.Context(), message(t))
	if !errors.Is(err, webhook.ErrAddress) || errors.Is(err, events.ErrPermanent) {
		t.Fatalf("Deliver = %v, want ErrAddress that is not permanent", err)
	}
	text := err.Error()
	if !strings.Contains(text, "link-local") || !strings.Contains(text, "169.254.169.254") ||
		strings.Contains(text, "hush") {
		t.Errorf("Deliver = %q, want the address and the reason, and no secret", text)
	}
}

// TestDeliverThroughProxy checks that the proxy in the environment may have any address, only deliveries to https
// endpoints go through it, and errors do not contain its password.
func TestDeliverThroughProxy(t *testing.T) {
	var proxied atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		proxied.Add(1)
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer proxy.Close()
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer receiver.Close()
	through := func(target, proxy string) (*webhook.Endpoint, error) {
		return webhook.NewThrough(target, webhook.Secret(key(), target), func(*http.Request) (*url.URL,
			error) {
			return url.Parse(proxy)
		})
	}

	local, err := through(receiver.URL, proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	if err := local.Deliver(t.Context(), message(t)); err != nil || proxied.Load() != 0 {
		t.Errorf("Deliver over http = %v with %d requests to the proxy, want nil with 0", err, proxied.Load())
	}

	// The name of the proxy is resolved.
	remote, err := through("https://receiver.example/",
		"http://proxy.example:"+proxy.URL[strings.LastIndex(proxy.URL, ":")+1:])
	if err != nil {
		t.Fatal(err)
	}
	remote.SetResolver(resolver(t, netip.MustParseAddr("127.0.0.1")))
	if err := remote.Deliver(t.Context(), message(t)); err == nil || proxied.Load() != 1 {
		t.Errorf("Deliver over https = %v with %d requests to the proxy, want an error with 1", err, proxied.Load())
	}

	// The rules for addresses of endpoints do not apply to a proxy with a link-local address.
	linkLocal, err := through("https://receiver.example/", "http://169.254.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := linkLocal.Deliver(ctx, message(t)); errors.Is(err, webhook.ErrAddress) {
		t.Errorf("Deliver through a link-local proxy = %v, want an error other than ErrAddress", err)
	}

	if _, err := through("https://receiver.example/",
		"http://user:hush@proxy:x"); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("New with an invalid proxy = %v, want an error without the password", err)
	}
}
