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

// get fetches and parses the set.
func (s *Set) get(ctx context.Context) (keys []Key, skipped []error, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.config.URI, nil)
	if err != nil {
		return nil, nil, err
	}
	// RFC 7517 section 8.5.2 registers the first; most servers send the second.
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("the answer is %s", response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, s.config.MaxBytes+1))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the key set: %w", err)
	}
	if int64(len(body)) > s.config.MaxBytes {
		return nil, nil, fmt.Errorf("the key set has more than %d bytes", s.config.MaxBytes)
	}
	return parse(body, s.config.MaxKeys)
}

// maxRedirects is more than any issuer needs.
const maxRedirects = 3

// secured returns a client that follows redirects only to where checkURI would let it go in the first place.
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
			return fmt.Errorf("redirected from %s to %s", from.Scheme, request.URL.Scheme)
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

// checkURL insists on HTTPS: whoever can alter the key set on its way can sign any token. What stays on the machine
// needs none.
func checkURL(u *url.URL) error {
	switch {
	case u.Host == "":
		return errors.New("not an absolute URL")
	case u.User != nil:
		return errors.New("a URL with a password in it")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return errors.New("http is for the loopback interface only; use https")
	}
	return fmt.Errorf("scheme %q; use https", u.Scheme)
}

func isLoopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") { // RFC 6761 section 6.3
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
