package gateway_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/flavorless/flavorless/internal/embedded/gateway"
	"github.com/flavorless/flavorless/test/raw"
)

func TestUploadsMayBeTooLarge(t *testing.T) {
	t.Parallel()
	const most = 6 << 20
	e := start(t, func(c *gateway.Config) { c.MaxObject = most })
	refused := func(t *testing.T, what string, err error) {
		t.Helper()
		if status(err) != 400 || code(err) != "EntityTooLarge" {
			t.Errorf("%s: status %d, code %q (%v), want 400 EntityTooLarge", what, status(err), code(err), err)
		}
	}
	refused(t, "PUT", e.tryPut(t, "uploads/a.csv", payload(most+1)))
	complete := e.parts(t, "uploads/a.csv", payload(5<<20), payload(most-5<<20+1))
	_, err := e.s3.CompleteMultipartUpload(t.Context(), complete)
	refused(t, "completion", err)
	_, err = e.s3.UploadPart(t.Context(), &s3.UploadPartInput{
		Bucket: aws.String(bucket), Key: complete.Key, UploadId: complete.UploadId, PartNumber: aws.Int32(3), Body: bytes.NewReader(payload(most + 1)),
	})
	refused(t, "part", err)
	if _, err := e.s3.AbortMultipartUpload(t.Context(), &s3.AbortMultipartUploadInput{Bucket: aws.String(bucket), Key: complete.Key, UploadId: complete.UploadId}); err != nil {
		t.Fatal(err)
	}
	e.nothingStored(t)

	if err := e.tryPut(t, "uploads/a.csv", payload(most)); err != nil {
		t.Errorf("just small enough: %v", err)
	}
	complete = e.parts(t, "uploads/b.csv", payload(5<<20), payload(most-5<<20))
	if _, err := e.s3.CompleteMultipartUpload(t.Context(), complete); err != nil {
		t.Errorf("just small enough in parts: %v", err)
	}
}

// TestFormsMayBeTooLarge: their length is known only once they have been read.
func TestFormsMayBeTooLarge(t *testing.T) {
	t.Parallel()
	e := start(t, func(c *gateway.Config) { c.MaxObject = 1 << 20 })
	resp := e.form(t, "uploads/form.csv", string(payload(1<<20+1)), 0)
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(text), "EntityTooLarge") {
		t.Errorf("status %d: %s", resp.StatusCode, text)
	}
	e.nothingStored(t)
}

// TestHeadersAreBounded, and so is the URL, which is one.
func TestHeadersAreBounded(t *testing.T) {
	t.Parallel()
	e := start(t)
	for name, head := range map[string]string{
		"header":       "GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + strings.Repeat("a", 10_000) + "\r\n\r\n",
		"many headers": "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-Many: aaaaaaaaaa\r\n", 1000) + "\r\n",
		"URL":          "GET /uploads/" + strings.Repeat("a", 10_000) + " HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		c := raw.Dial(t, e.Addr())
		go io.WriteString(c, head) //nolint:errcheck // it may be cut off first
		answer, _ := io.ReadAll(c)
		if !strings.HasPrefix(string(answer), "HTTP/1.1 4") {
			t.Errorf("%s: %q", name, answer[:min(len(answer), 200)])
		}
	}
}

// TestLongDocumentsAreRefused before they are read, for versitygw reads them into memory, whoever sent them.
func TestLongDocumentsAreRefused(t *testing.T) {
	t.Parallel()
	e := start(t)
	for name, head := range map[string]string{
		"deletion":           "POST /uploads?delete= HTTP/1.1\r\n",
		"completion":         "POST /uploads/uploads/a.csv?uploadId=x HTTP/1.1\r\n",
		"tags":               "PUT /uploads/uploads/a.csv?tagging= HTTP/1.1\r\n",
		"policy":             "PUT /uploads?policy= HTTP/1.1\r\n",
		"bucket":             "PUT /uploads HTTP/1.1\r\n",
		"a GET":              "GET /uploads/uploads/a.csv HTTP/1.1\r\n",
		"an unnamed object":  "PUT / HTTP/1.1\r\n",
		"no browser's form":  "POST /uploads/a HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=x\r\n",
		"an unknown subject": "PUT /uploads/uploads/a.csv?other= HTTP/1.1\r\n",
	} {
		c := raw.Dial(t, e.Addr())
		fmt.Fprintf(c, "%sHost: x\r\nContent-Length: %d\r\n\r\n%s", head, 1<<30, payload(64<<10)) // the server waits for the first 8 KiB
		answer := make([]byte, 4096)
		n, err := io.ReadAtLeast(c, answer, 200)
		if err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 400 ") || !strings.Contains(string(answer[:n]), "EntityTooLarge") {
			t.Errorf("%s: %v, %q", name, err, answer[:n])
		}
	}
}

// TestTooManyRequests: clients are told to slow down, and are let in again afterwards.
func TestTooManyRequests(t *testing.T) {
	t.Parallel()
	e := start(t, func(c *gateway.Config) { c.MaxRequests = 2 })
	var held []net.Conn
	for i := range 2 {
		c := raw.Dial(t, e.Addr())
		fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 100000\r\n\r\n%s", e.presigned(t, fmt.Sprintf("uploads/%d.csv", i)), e.Addr(), payload(50_000))
		held = append(held, c)
		await(t, "it is let in", func() bool { return len(e.staged(t)) == i+1 })
	}
	if err := e.tryPut(t, "drafts/c.csv", payload(10)); status(err) != 503 || code(err) != "SlowDown" {
		t.Errorf("the third: status %d, code %q (%v), want 503 SlowDown", status(err), code(err), err)
	}
	for _, c := range held {
		if _, err := c.Write(payload(50_000)); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "it is let in", func() bool { return e.tryPut(t, "drafts/c.csv", payload(10)) == nil })
	await(t, "the others are done", func() bool { return len(e.keys()) == 2 })
}

// TestTooManyConnections are refused; the open ones go on.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	e := start(t, func(c *gateway.Config) { c.MaxConnections = 3 })
	const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	var open []net.Conn
	for range 3 {
		open = append(open, raw.Dial(t, e.Addr()))
		if _, err := io.WriteString(open[len(open)-1], get); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAtLeast(open[len(open)-1], make([]byte, 1), 1); err != nil {
			t.Fatal(err)
		}
	}
	answer, err := io.ReadAll(raw.Dial(t, e.Addr()))
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 503 ") {
		t.Errorf("the fourth: %v, %q", err, answer)
	}
	open[0].Close()
	await(t, "another one is let in", func() bool { return e.tryPut(t, "drafts/c.csv", payload(10)) == nil })
}
