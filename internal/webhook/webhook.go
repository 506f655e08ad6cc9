// Package webhook delivers events to HTTP endpoints, as CloudEvents in structured mode. Requests are signed in the form
// of Standard Webhooks, so that the receiver can verify their sender and time.
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

// Headers of a delivery.
const (
	HeaderID        = "Webhook-Id"        // id of the event, the same at every try
	HeaderTimestamp = "Webhook-Timestamp" // time of this try, in seconds since 1970
	HeaderSignature = "Webhook-Signature" // "v1," and the HMAC-SHA256 of "<id>.<timestamp>.<body>" in base64
)

const contentType = "application/cloudevents+json; charset=utf-8"

const (
	timeout        = 15 * time.Second // of one try, including the answer
	maxConnections = 8                // to one endpoint
	maxBody        = 64 << 10         // bytes of an answer to read, so that its connection can be reused
	maxRetryAfter  = time.Hour        // longer Retry-After headers are shortened to this
	secretPrefix   = "whsec_"
)

// Secret derives the secret of an endpoint from a key of at least 32 random bytes, in the form that libraries of
// Standard Webhooks expect. Each endpoint has its own secret, so no receiver can forge requests to another one.
func Secret(key []byte, endpoint string) string {
	mac := hmac.New(sha256.New, key)
	_, _ = io.WriteString(mac, "flavorless webhook "+endpoint)
	return secretPrefix + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// Endpoint delivers events to one URL. It is safe for concurrent use.
type Endpoint struct {
	url, name, label string

	secret []byte
	client *http.Client
	dialer *net.Dialer
	clock  func() time.Time

	mu        sync.Mutex
	notBefore time.Time // no delivery is tried before this time, which the endpoint asked for
}

// New returns the endpoint of a URL that passes [Check], with the secret that [Secret] returns for the URL. Requests to
// https URLs of other machines go through the proxy in the environment, if any; see [http.ProxyFromEnvironment].
func New(endpoint, secret string, clock func() time.Time) (*Endpoint, error) {
	return newEndpoint(endpoint, secret, clock, http.ProxyFromEnvironment)
}

// proxyFunc returns the proxy for a request, or nil, as in [http.Transport].
type proxyFunc func(*http.Request) (*url.URL, error)

func newEndpoint(endpoint, secret string, clock func() time.Time, proxies proxyFunc) (*Endpoint, error) {
	t, err := parse(endpoint)
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
	if err != nil || len(key) < 24 || len(key) > 64 { // the range that Standard Webhooks requires
		return nil, errors.New("the secret of a webhook must be " + secretPrefix + " and 24 to 64 bytes in base64")
	}
	proxy, err := t.proxyFor(proxies)
	if err != nil {
		return nil, err
	}
	dialer := t.dialer(proxy)
	client := &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			Proxy: http.ProxyURL(proxy), DialContext: dialer.DialContext,
			MaxConnsPerHost: maxConnections, MaxIdleConnsPerHost: maxConnections, IdleConnTimeout: 90 * time.Second,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
		},
		// Changes must not go to a URL that the operator did not configure.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Endpoint{
		url: t.url.String(), name: t.name(), label: t.label(), secret: key, dialer: dialer, clock: clock, client: client,
	}, nil
}

// Name returns the name of an endpoint for logs and queues: its host, and a hash of the URL that distinguishes
// endpoints on one host. It has no other part of the URL, because that is often a secret. The error is the one of
// [Check].
func Name(endpoint string) (string, error) {
	t, err := parse(endpoint)
	if err != nil {
		return "", err
	}
	return t.name(), nil
}

// name depends on the URL as given, because the queue of an endpoint must keep its name across releases.
func (t target) name() string {
	host := slug(t.url.Host)
	return strings.Trim(host[:min(len(host), 100)], "-") + "-" + t.hash()
}

// label is the name with the path of the URL, but without segments that may be secrets; see [MayHoldSecret].
func (t target) label() string {
	host := slug(t.url.Host)
	parts := []string{strings.Trim(host[:min(len(host), 100)], "-")}
	for segment := range strings.SplitSeq(t.url.Path, "/") {
		if word := strings.Trim(slug(segment), "-"); word != "" && !maybeSecret(segment) {
			parts = append(parts, word)
		}
	}
	label := strings.Join(parts, "-")
	return strings.TrimRight(label[:min(len(label), 160)], "-") + "-" + t.hash()
}

func (t target) hash() string {
	sum := sha256.Sum256([]byte(t.given))
	return hex.EncodeToString(sum[:4])
}

// slug returns text in lower case, with a hyphen for each character that is not an ASCII letter or digit.
func slug(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(text))
}

// Name returns the name of the endpoint; see the function [Name].
func (e *Endpoint) Name() string { return e.name }

// Label returns the name with the path of the URL in it, for the operator. It leaves out the query, and segments of the
// path that may be secrets.
func (e *Endpoint) Label() string { return e.label }

// Deliver sends one event to the endpoint. It returns nil if the endpoint answers 2xx, and an error that wraps
// [events.ErrPermanent] if the endpoint will never accept the event. Other errors may have a method RetryAfter, which
// returns how long to wait before the next try. Until then, all deliveries to the endpoint wait.
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
			err = inner.Err // which does not contain the URL
		}
		return err
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, maxBody)
	return e.checkStatus(res)
}

func (e *Endpoint) request(ctx context.Context, m events.Message) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(m.Body))
	if err != nil {
		return nil, err
	}
	// The id is the version of the change, which is unique. The name before it in m.ID may be invalid in a header.
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

// statusError is the error of an answer that is not 2xx.
type statusError struct {
	status     string
	retryAfter time.Duration
}

func (e *statusError) Error() string             { return "the endpoint answers " + e.status }
func (e *statusError) RetryAfter() time.Duration { return e.retryAfter }

// checkStatus returns an error unless the answer is 2xx.
func (e *Endpoint) checkStatus(res *http.Response) error {
	if res.StatusCode >= 200 && res.StatusCode <= 299 {
		return nil
	}
	refused := &statusError{status: res.Status}
	switch res.StatusCode {
	case http.StatusBadRequest, http.StatusGone, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
		http.StatusUnprocessableEntity:
		return fmt.Errorf("%w: %w", events.ErrPermanent, refused)
	}
	refused.retryAfter = e.retryAfter(res.Header.Get("Retry-After"))
	if refused.retryAfter > 0 {
		e.mu.Lock()
		e.notBefore = e.clock().Add(refused.retryAfter)
		e.mu.Unlock()
	}
	return refused
}

// retryAfter parses a Retry-After header (RFC 9110, section 10.2.3), and returns a duration of at most maxRetryAfter.
func (e *Endpoint) retryAfter(value string) time.Duration {
	var after time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		after = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		after = at.Sub(e.clock())
	}
	return min(max(after, 0), maxRetryAfter)
}

// wait waits until the time that the endpoint asked for.
func (e *Endpoint) wait(ctx context.Context) error {
	e.mu.Lock()
	left := e.notBefore.Sub(e.clock())
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
