package jwks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// fetch requests and parses the key set. It returns the reasons why keys were skipped.
func (s *Set) fetch(ctx context.Context) (keys []Key, skipped []error, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.config.URI, nil)
	if err != nil {
		return nil, nil, err
	}
	// RFC 7517 section 8.5.2 registers the first type, but most servers send the second.
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("the response is %s, want 200 OK", response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBytes+1))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the key set: %w", err)
	}
	if len(body) > maxBytes {
		return nil, nil, fmt.Errorf("the key set has more than %d bytes", maxBytes)
	}
	return parse(body)
}

// maxRedirects is more than issuers need.
const maxRedirects = 3

// secured returns a copy of client that follows redirects only to URLs that checkURL accepts.
func secured(client *http.Client) *http.Client {
	c := http.Client{}
	if client != nil {
		c = *client
	}
	c.CheckRedirect = func(request *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects {
			return errors.New("too many redirects")
		}
		if from := via[0].URL; request.URL.Scheme != from.Scheme {
			return fmt.Errorf("redirect from %s to %s", from.Scheme, request.URL.Scheme)
		}
		return checkURL(request.URL)
	}
	return &c
}

func checkURI(uri string) error {
	u, err := url.Parse(uri)
	if err != nil {
		return err
	}
	return checkURL(u)
}

// checkURL requires HTTPS, except on the loopback interface: a party that can modify the key set on its way can sign
// any token.
func checkURL(u *url.URL) error {
	switch {
	case u.Host == "":
		return errors.New("it is not an absolute URL")
	case u.User != nil:
		return errors.New("it contains a user name or password; remove it")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return errors.New("http is allowed on the loopback interface only; use https")
	}
	return fmt.Errorf("its scheme is %q; use https", u.Scheme)
}

func isLoopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") { // RFC 6761 section 6.3
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
