package local_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/flavorless/flavorless/internal/local"
	"github.com/flavorless/flavorless/test/raw"
)

// address returns the host:port of the API.
func (s *testServer) address() string { return strings.TrimPrefix(s.Info().API, "http://") }

// publicRequest is a request that needs no token, without the empty line at its end.
const publicRequest = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n"

// TestRequestsAreBounded checks the limits of URLs, headers and bodies.
func TestRequestsAreBounded(t *testing.T) {
	t.Parallel()
	s := start(t)
	long := strings.Repeat("a", 64<<10)
	for name, test := range map[string]struct {
		request string
		status  int
		closes  bool
	}{
		"small":              {publicRequest + "\r\n", 200, false},
		"long URL":           {"GET /ice-cream/" + long + " HTTP/1.1\r\nHost: x\r\n\r\n", 431, true},
		"long query":         {"GET /openapi.json?" + long + " HTTP/1.1\r\nHost: x\r\n\r\n", 431, true},
		"long header":        {publicRequest + "Authorization: Bearer " + long + "\r\n\r\n", 431, true},
		"many headers":       {publicRequest + strings.Repeat("X-Many: a\r\n", 10_000) + "\r\n", 431, true},
		"longest URL":        {"GET /ice-cream/" + strings.Repeat("a", 16<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n", 401, false},
		"body":               {publicRequest + "Content-Length: 5\r\n\r\nhello", 200, false},
		"long body":          {publicRequest + "Content-Length: 1000000000\r\n\r\nhello", 200, true},
		"expected long body": {publicRequest + "Expect: 100-continue\r\nContent-Length: 1000000000\r\n\r\n", 200, true},
		"posted long body":   {"POST /team HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nhello", 405, true},
		"nonsense":           {"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\r\n\r\n", 400, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := raw.Dial(t, s.address())
			go io.WriteString(c, test.request) //nolint:errcheck // the connection may be closed first
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != test.status || resp.Close != test.closes {
				t.Errorf("status %d, close %v; want %d, %v", resp.StatusCode, resp.Close, test.status, test.closes)
			}
		})
	}
}

// TestSlowClientsAreDisconnected checks clients that are slow at each part of a request.
func TestSlowClientsAreDisconnected(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *local.Config) { c.Limits.ClientTimeout = 600 * time.Millisecond })
	for name, test := range map[string]struct{ begin, trickle string }{
		"nothing":          {"", ""},
		"half a head":      {publicRequest, ""},
		"a trickling head": {publicRequest, "X: y\r\n"},
		"no body":          {publicRequest + "Content-Length: 100\r\n\r\n", ""},
		"a trickling body": {publicRequest + "Content-Length: 100000\r\n\r\n", "x"},
		"idle":             {publicRequest + "\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw.CutsOff(t, s.address(), test.begin, test.trickle)
		})
	}
}

// TestResponseDoesNotWaitForBody checks that the server does not wait for a body that it does not need, even with a
// long timeout.
func TestResponseDoesNotWaitForBody(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *local.Config) { c.Limits.ClientTimeout = time.Hour })
	c := raw.Dial(t, s.address())
	const request = "POST /team HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nx"
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(c); err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 4")) {
		t.Errorf("got %q, %v; want a response and the end of the connection", answer, err)
	}
}
