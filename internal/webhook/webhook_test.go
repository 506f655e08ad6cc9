package webhook_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/webhook"
)

func key() []byte { return []byte("0123456789abcdef0123456789abcdef") }

func message(t testing.TB) events.Message {
	t.Helper()
	origin, err := events.Object{Bucket: "b", Key: "k", Sequencer: "1", Time: time.UnixMilli(1)}.Origin()
	if err != nil {
		t.Fatal(err)
	}
	c, _ := events.NewChange("Zoë @ home\u2028", "", "mint", origin.At(7))
	return c.Message()
}

func endpoint(t testing.TB, url string) *webhook.Endpoint {
	t.Helper()
	e, err := webhook.New(url, webhook.Secret(key(), url), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestDeliver checks a delivery as a receiver does that implements Standard Webhooks and CloudEvents.
func TestDeliver(t *testing.T) {
	want := message(t)
	var got *http.Request
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	url := server.URL + "/hook?token=hush"
	if err := endpoint(t, url).Deliver(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if got.Method != http.MethodPost || got.RequestURI != "/hook?token=hush" {
		t.Errorf("request = %s %s, want POST /hook?token=hush", got.Method, got.RequestURI)
	}
	if string(body) != string(want.Body) {
		t.Errorf("body = %s, want %s", body, want.Body)
	}
	const contentType = "application/cloudevents+json; charset=utf-8"
	if c := got.Header.Get("Content-Type"); c != contentType {
		t.Errorf("Content-Type = %q, want %q", c, contentType)
	}
	id := got.Header.Get("Webhook-Id")
	if _, err := events.ParseVersion(id); err != nil || !strings.HasSuffix(want.ID, "@"+id) {
		t.Errorf("Webhook-Id = %q, want the version in %q", id, want.ID)
	}
	secret, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(webhook.Secret(key(), url), "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, secret)
	_, _ = io.WriteString(mac, id+"."+got.Header.Get("Webhook-Timestamp")+"."+string(body))
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); got.Header.Get("Webhook-Signature") != want {
		t.Errorf("Webhook-Signature = %q, want %q", got.Header.Get("Webhook-Signature"), want)
	}
	if other := webhook.Secret(key(), url+"x"); other == webhook.Secret(key(), url) {
		t.Error("Secret is the same for two endpoints, want different ones")
	}
}

func TestDeliverRefused(t *testing.T) {
	for status, permanent := range map[int]bool{
		301: false, 302: false, 307: false, 400: true, 401: false, 403: false, 404: false, 408: false, 410: true, 413: true,
		415: true, 422: true, 429: false, 500: false, 502: false, 503: false,
	} {
		requests := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			requests++
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
		}))
		err := endpoint(t, server.URL).Deliver(t.Context(), message(t))
		if err == nil || errors.Is(err, events.ErrPermanent) != permanent {
			t.Errorf("status %d: Deliver = %v, want an error that is permanent: %t", status, err, permanent)
		}
		if err != nil && !strings.Contains(err.Error(), http.StatusText(status)) {
			t.Errorf("status %d: Deliver = %v, want the status in the error", status, err)
		}
		if requests != 1 {
			t.Errorf("status %d: %d requests, want 1", status, requests)
		}
		server.Close()
	}
}

// TestDeliverHidesURL checks that errors, which get into logs and dead letters, do not contain the URL, which may hold
// a secret.
func TestDeliverHidesURL(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	url := server.URL + "/hush?token=hush"
	server.Close()
	e := endpoint(t, url)
	err := e.Deliver(t.Context(), message(t))
	if err == nil || strings.Contains(err.Error(), "hush") || strings.Contains(e.Name(), "hush") {
		t.Errorf("Deliver = %v, Name = %s; want an error, and the secret in neither", err, e.Name())
	}
}

// TestRetryAfter checks that after an answer with Retry-After, no delivery to the endpoint is tried before that time.
func TestRetryAfter(t *testing.T) {
	for name, c := range map[string]struct {
		value string
		wait  time.Duration
	}{
		"seconds":  {"7", 7 * time.Second},
		"a time":   {"Sat, 01 Jan 2000 00:00:09 GMT", 9 * time.Second},
		"the past": {"Fri, 31 Dec 1999 00:00:00 GMT", 0},
		"too long": {"999999999", time.Hour},
		"invalid":  {"soon", 0},
		"empty":    {"", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now() // midnight of 2000-01-01 in UTC
				var requests []time.Duration
				e := endpoint(t, "https://receiver.example/hook")
				e.SetTransport(roundTripper(func(*http.Request) *http.Response {
					requests = append(requests, time.Since(began))
					res := &http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{}, Body: http.NoBody}
					if len(requests) > 1 {
						res.StatusCode = 204
					}
					res.Header.Set("Retry-After", c.value)
					return res
				}))
				err := e.Deliver(t.Context(), message(t))
				var later events.RetryAfterError
				if !errors.As(err, &later) || later.RetryAfter() != c.wait {
					t.Errorf("Deliver = %v, want an error with RetryAfter %s", err, c.wait)
				}
				stopped, cancel := context.WithCancel(t.Context())
				cancel()
				if err := e.Deliver(stopped, message(t)); !errors.Is(err, context.Canceled) {
					t.Errorf("Deliver with a cancelled context = %v, want context.Canceled", err)
				}
				if err := e.Deliver(t.Context(), message(t)); err != nil {
					t.Error(err)
				}
				if len(requests) != 2 || requests[1] != c.wait {
					t.Errorf("requests after %v, want after 0s and %s", requests, c.wait)
				}
			})
		})
	}
}

type roundTripper func(*http.Request) *http.Response

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }

func TestLabel(t *testing.T) {
	const slack = "https://hooks.slack.com/services/T01/B02/"
	for url, want := range map[string]string{
		"https://example.com/":                               "example-com-",
		"https://example.com/orders":                         "example-com-orders-",
		"https://example.com:8443/v1/Orders/":                "example-com-8443-v1-orders-",
		"https://example.com/a//b?token=secret":              "example-com-a-b-",
		slack + "abcdefghijklmnopqrstuvwx":                   "hooks-slack-com-services-t01-b02-",
		"https://example.com/0123456789abcdef/orders":        "example-com-orders-",
		"https://example.com/" + strings.Repeat("abc/", 100): "example-com-" + strings.Repeat("abc-", 37),
	} {
		e, err := webhook.New(url, webhook.Secret(make([]byte, 32), url), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		digits := e.Name()[strings.LastIndexByte(e.Name(), '-')+1:]
		if got := e.Label(); got != want+digits {
			t.Errorf("Label of %s = %q, want %q", url, got, want+digits)
		}
	}
}

func TestName(t *testing.T) {
	for endpoint, want := range map[string]string{
		"https://Hooks.Example.com:8443/a/b?c=d": "hooks-example-com-8443-",
		"http://[::1]:80/":                       "1--80-",
		"ftp://example.com/":                     "",
		"https:///path":                          "",
		"example.com":                            "",
		"https://example.com/#x":                 "",
		"":                                       "",
	} {
		name, err := webhook.Name(endpoint)
		if (err == nil) != (want != "") || !strings.HasPrefix(name, want) {
			t.Errorf("Name(%q) = %q, %v; want the prefix %q, or an error if that is empty", endpoint, name, err, want)
		}
	}
	if _, err := webhook.New("https://example.com", "whsec_short", time.Now); err == nil {
		t.Error("New with a short secret = nil, want an error")
	}
}

// FuzzRetryAfter checks that no header makes deliveries wait for longer than the maximum, or for a negative time.
func FuzzRetryAfter(f *testing.F) {
	e := endpoint(f, "https://example.com/")
	for _, value := range []string{
		"", "7", "+7", "-7", "99999999999999999999", "soon", "Sat, 01 Jan 2000 00:00:09 GMT",
		"Fri, 31 Dec 9999 23:59:59 GMT", "Monday, 02-Jan-06 15:04:05 GMT",
	} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if after := e.RetryAfter(value); after < 0 || after > webhook.MaxRetryAfter {
			t.Errorf("RetryAfter(%q) = %s, want 0 to %s", value, after, webhook.MaxRetryAfter)
		}
	})
}
