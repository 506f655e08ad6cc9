// Package webhook delivers events to an HTTP endpoint: CloudEvents in structured mode, signed so that the receiver can tell
// who sent them and when.
//
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/flavorless/flavorless/events"
)

// Headers of a delivery. The signature is "v1," and the HMAC-SHA256 in base64 of "<id>.<timestamp>.<body>".
const (
	HeaderID        = "Webhook-Id"        // of the event; the same at every try
	HeaderTimestamp = "Webhook-Timestamp" // of this try, in seconds since 1970; refuse old ones
	HeaderSignature = "Webhook-Signature"
)

const contentType = "application/cloudevents+json; charset=utf-8"

const (
	timeout      = 15 * time.Second // for all of a try
	connections  = 8                // to one endpoint
	maxAnswer    = 64 << 10         // bytes of an answer that are read, so that its connection can be used again
	maxLater     = time.Hour        // longest Retry-After that is heeded
	secretPrefix = "whsec_"
)

// Secret derives the secret of one endpoint from a key of at least 32 random bytes: none can pass its events off as those
// to another. It is in the form in which libraries of Standard Webhooks take it.
func Secret(key []byte, endpoint string) string {
	mac := hmac.New(sha256.New, key)
	_, _ = io.WriteString(mac, "flavorless webhook "+endpoint)
	return secretPrefix + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// Endpoint is where events are delivered. It is safe for concurrent use.
type Endpoint struct {
	url, name, label string

	secret []byte
	client *http.Client
	dialer *net.Dialer
	clock  func() time.Time

	mu   sync.Mutex
	from time.Time // when the endpoint wants to be tried again
}

// New returns the endpoint of a URL that passes [Check], with the secret that [Secret] returns for the URL. Requests go through
// the proxy that the environment names for https URLs (see [http.ProxyFromEnvironment]), except to this machine.
func New(endpoint, secret string, clock func() time.Time) (*Endpoint, error) {
	return newEndpoint(endpoint, secret, clock, http.ProxyFromEnvironment)
}

func newEndpoint(endpoint, secret string, clock func() time.Time, proxies func(*http.Request) (*url.URL, error)) (*Endpoint, error) {
	t, err := parse(endpoint)
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
	if err != nil || len(key) < 24 || len(key) > 64 { // what Standard Webhooks asks for
		return nil, errors.New("the secret of a webhook is " + secretPrefix + " and 24 to 64 bytes in base64")
	}
	proxy, err := t.proxyFor(proxies)
	if err != nil {
		return nil, err
	}
	dialer := t.dialer(proxy)
	return &Endpoint{url: t.url.String(), name: t.name(), label: t.label(), secret: key, dialer: dialer, clock: clock, client: &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			Proxy: http.ProxyURL(proxy), DialContext: dialer.DialContext, MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections,
			IdleConnTimeout: 90 * time.Second, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
		},
		// Another place than the one that was named gets nothing.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Name returns an endpoint's name, for logs and queues: its host, and a few digits that tell it from other endpoints on that
// host. The rest of a URL is often a secret. The error is that of [Check].
func Name(endpoint string) (string, error) {
	t, err := parse(endpoint)
	if err != nil {
		return "", err
	}
	return t.name(), nil
}

// name depends on the URL as it was given: a queue must keep its name.
func (t target) name() string {
	host := slug(t.url.Host)
	return strings.Trim(host[:min(len(host), 100)], "-") + "-" + t.digits()
}

// label is the name with the path of the URL, which tells apart endpoints on one host. It leaves out the query and segments
// that may be secrets; see MayHoldSecret.
func (t target) label() string {
	host := slug(t.url.Host)
	parts := []string{strings.Trim(host[:min(len(host), 100)], "-")}
	for segment := range strings.SplitSeq(t.url.Path, "/") {
		if word := strings.Trim(slug(segment), "-"); word != "" && !maybeSecret(segment) {
			parts = append(parts, word)
		}
	}
	label := strings.Join(parts, "-")
	return strings.TrimRight(label[:min(len(label), 160)], "-") + "-" + t.digits()
}

func (t target) digits() string {
	sum := sha256.Sum256([]byte(t.given))
	return hex.EncodeToString(sum[:4])
}

// slug returns text in lower case, with a hyphen for each character that is no ASCII letter or digit.
func slug(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(text))
}

// Name is that of the endpoint.
func (e *Endpoint) Name() string { return e.name }

// Label returns the name with the path of the URL in it, for the operator. Segments of the path that may be secrets are left
// out, and so is the query.
func (e *Endpoint) Label() string { return e.label }

// Deliver brings one event, and returns nil once the endpoint has answered with a status of 2xx. An error with which
// errors.Is finds events.ErrPermanent says that the endpoint will never take it; others may say by RetryAfter when to try
// again. After an answer that has such a time, the other deliveries wait for it as well, before they try.
func (e *Endpoint) Deliver(ctx context.Context, m events.Message) error {
	if err := e.wait(ctx); err != nil {
		return err
	}
	r, err := e.request(ctx, m)
	if err != nil {
		return fmt.Errorf("%w: %w", events.ErrPermanent, err)
	}
	res, err := e.client.Do(r)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err // without the URL
		}
		return err
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, maxAnswer)
	return e.judge(res)
}

func (e *Endpoint) request(ctx context.Context, m events.Message) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(m.Body))
	if err != nil {
		return nil, err
	}
	// Of a change's id only the version: the name before it need not be fit for a header, and the version is as unique.
	id := m.ID[strings.LastIndexByte(m.ID, '@')+1:]
	timestamp := strconv.FormatInt(e.clock().Unix(), 10)
	mac := hmac.New(sha256.New, e.secret)
	_, _ = io.WriteString(mac, id+"."+timestamp+".")
	_, _ = mac.Write(m.Body)
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("User-Agent", "flavorless")
	r.Header.Set(HeaderID, id)
	r.Header.Set(HeaderTimestamp, timestamp)
	r.Header.Set(HeaderSignature, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return r, nil
}

// refusal is an answer that is not 2xx.
type refusal struct {
	status string
	after  time.Duration
}

func (r *refusal) Error() string             { return "the endpoint answers " + r.status }
func (r *refusal) RetryAfter() time.Duration { return r.after }

// judge makes an error of an answer, or nil.
func (e *Endpoint) judge(res *http.Response) error {
	if res.StatusCode >= 200 && res.StatusCode <= 299 {
		return nil
	}
	refused := &refusal{status: res.Status}
	switch res.StatusCode {
	case http.StatusBadRequest, http.StatusGone, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return fmt.Errorf("%w: %w", events.ErrPermanent, refused)
	}
	refused.after = e.retryAfter(res.Header.Get("Retry-After"))
	if refused.after > 0 {
		e.mu.Lock()
		e.from = e.clock().Add(refused.after)
		e.mu.Unlock()
	}
	return refused
}

// retryAfter reads a number of seconds or a time: RFC 9110, section 10.2.3.
func (e *Endpoint) retryAfter(value string) time.Duration {
	var after time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		after = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		after = at.Sub(e.clock())
	}
	return min(max(after, 0), maxLater)
}

// wait waits until the endpoint wants to be tried again.
func (e *Endpoint) wait(ctx context.Context) error {
	e.mu.Lock()
	left := e.from.Sub(e.clock())
	e.mu.Unlock()
	if left <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
