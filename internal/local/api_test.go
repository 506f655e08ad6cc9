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

// address is where the API listens.
func (s *testServer) address() string { return strings.TrimPrefix(s.Info().API, "http://") }

const anyone = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n"

// TestTheAPIBoundsRequests: URL, headers and bodies.
func TestTheAPIBoundsRequests(t *testing.T) {
	t.Parallel()
	s := start(t)
	long := strings.Repeat("a", 64<<10)
	for name, test := range map[string]struct {
		request string
		status  int
		closes  bool
	}{
		"fine":               {anyone + "\r\n", 200, false},
		"long URL":           {"GET /ice-cream/" + long + " HTTP/1.1\r\nHost: x\r\n\r\n", 431, true},
		"long query":         {"GET /openapi.json?" + long + " HTTP/1.1\r\nHost: x\r\n\r\n", 431, true},
		"long header":        {anyone + "Authorization: Bearer " + long + "\r\n\r\n", 431, true},
		"many headers":       {anyone + strings.Repeat("X-Many: a\r\n", 10_000) + "\r\n", 431, true},
		"longest URL":        {"GET /ice-cream/" + strings.Repeat("a", 16<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n", 401, false},
		"body":               {anyone + "Content-Length: 5\r\n\r\nhello", 200, false},
		"long body":          {anyone + "Content-Length: 1000000000\r\n\r\nhello", 200, true},
		"expected long body": {anyone + "Expect: 100-continue\r\nContent-Length: 1000000000\r\n\r\n", 200, true},
		"posted long body":   {"POST /team HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nhello", 405, true},
		"nonsense":           {"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\r\n\r\n", 400, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := raw.Dial(t, s.address())
			go io.WriteString(c, test.request) //nolint:errcheck // it may be cut off first
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != test.status || resp.Close != test.closes {
				t.Errorf("status %d, closes %v; want %d, %v", resp.StatusCode, resp.Close, test.status, test.closes)
			}
		})
	}
}

// TestTheAPICutsSlowClientsOff, whatever they leave undone.
func TestTheAPICutsSlowClientsOff(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *local.Config) { c.Limits.ClientTimeout = 600 * time.Millisecond })
	for name, test := range map[string]struct{ begin, trickle string }{
		"nothing":          {"", ""},
		"half a head":      {anyone, ""},
		"a trickling head": {anyone, "X: y\r\n"},
		"no body":          {anyone + "Content-Length: 100\r\n\r\n", ""},
		"a trickling body": {anyone + "Content-Length: 100000\r\n\r\n", "x"},
		"idle":             {anyone + "\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw.CutsOff(t, s.address(), test.begin, test.trickle)
		})
	}
}

// TestAnAnswerDoesNotWaitForABody: what a client has not sent is not waited for, however patient the server is
// otherwise.
func TestAnAnswerDoesNotWaitForABody(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *local.Config) { c.Limits.ClientTimeout = time.Hour })
	c := raw.Dial(t, s.address())
	if _, err := io.WriteString(c, "POST /team HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nx"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(c); err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 4")) {
		t.Errorf("%q, %v; want an answer and the end of the connection", answer, err)
	}
}
