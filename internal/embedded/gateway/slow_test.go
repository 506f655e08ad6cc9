package gateway_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/flavorless/flavorless/internal/embedded/gateway"
	"github.com/flavorless/flavorless/internal/testutil"
	"github.com/flavorless/flavorless/test/raw"
)

// TestSlowClientsAreDisconnected checks that clients that send nothing, or too slowly, are disconnected.
func TestSlowClientsAreDisconnected(t *testing.T) {
	t.Parallel()
	srv := start(t, func(c *gateway.Config) { c.ClientTimeout = 200 * time.Millisecond })
	head := "PUT " + srv.presigned(t, "uploads/slow.csv") + " HTTP/1.1\r\nHost: " + srv.Addr() +
		"\r\nContent-Length: 100000\r\n"
	for name, test := range map[string]struct{ begin, trickle string }{
		"nothing":          {"", ""},
		"half a head":      {head, ""},
		"no body":          {head + "\r\n", ""},
		"a trickling head": {head, "X-A: b\r\n"},
		"a trickling body": {head + "\r\n", "x"},
		"idle":             {"GET / HTTP/1.1\r\nHost: " + srv.Addr() + "\r\n\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw.CutsOff(t, srv.Addr(), test.begin, test.trickle)
		})
	}
	t.Cleanup(func() { srv.checkNothingStored(t) })
}

// TestSteadyClientMayTakeLonger checks that an upload may take much longer than the timeout.
func TestSteadyClientMayTakeLonger(t *testing.T) {
	testutil.SkipIfShort(t)
	t.Parallel()
	const timeout, pieces, piece = 3 * time.Second, 40, 1000 // long enough for a busy machine
	srv := start(t, func(c *gateway.Config) { c.ClientTimeout = timeout })
	c := raw.Dial(t, srv.Addr())
	fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n",
		srv.presigned(t, "uploads/steady.csv"), srv.Addr(), pieces*piece)
	tick := time.NewTicker(timeout / 30)
	defer tick.Stop()
	for range pieces {
		<-tick.C
		if _, err := c.Write(payload(piece)); err != nil {
			t.Fatal(err)
		}
	}
	if answer, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
		t.Errorf("answer: %v, %q; want 200", err, answer)
	}
	if got := srv.last(t, "uploads/steady.csv").Size; got != pieces*piece {
		t.Errorf("announced size = %d, want that of the body", got)
	}
}

// TestStalledReaderIsDisconnected checks that a client that does not read the answer is disconnected.
func TestStalledReaderIsDisconnected(t *testing.T) {
	testutil.SkipIfShort(t)
	t.Parallel()
	// long enough for the PUT on a busy machine
	srv := start(t, func(c *gateway.Config) { c.ClientTimeout = 3 * time.Second })
	// more than the buffers of the connection hold
	const size = 64 << 20
	srv.put(t, "drafts/large.csv", string(payload(size)))
	signed, err := s3.NewPresignClient(srv.s3).PresignGetObject(t.Context(),
		&s3.GetObjectInput{Bucket: uploads, Key: aws.String("drafts/large.csv")})
	if err != nil {
		t.Fatal(err)
	}
	get := func() net.Conn {
		c := raw.Dial(t, srv.Addr())
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", strings.TrimPrefix(signed.URL, "http://"+srv.Addr()),
			srv.Addr())
		return c
	}
	c := get()
	testutil.WaitFor(t, "the connection is closed", func() bool { return gateway.Connections(srv.Gateway) == 0 })
	if n, err := io.Copy(io.Discard, c); n >= size || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d bytes, %v; want less than %d and a closed connection", n, err, size)
	}
	c = get()
	if n, err := io.CopyN(io.Discard, c, size); err != nil {
		t.Errorf("a client that reads got %d bytes, %v; want %d", n, err, size)
	}
}
