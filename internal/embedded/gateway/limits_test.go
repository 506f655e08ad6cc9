package gateway_test

import (
	"bytes"
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

func TestMaxObject(t *testing.T) {
	t.Parallel()
	const most = 6 << 20
	srv := start(t, func(c *gateway.Config) { c.MaxObject = most })
	refused := func(t *testing.T, what string, err error) {
		t.Helper()
		if status(err) != 400 || code(err) != "EntityTooLarge" {
			t.Errorf("%s: status %d, code %q (%v), want 400 EntityTooLarge", what, status(err), code(err), err)
		}
	}
	refused(t, "PUT", srv.tryPut(t, "uploads/a.csv", payload(most+1)))
	complete := srv.parts(t, "uploads/a.csv", payload(5<<20), payload(most-5<<20+1))
	_, err := srv.s3.CompleteMultipartUpload(t.Context(), complete)
	refused(t, "completion", err)
	_, err = srv.s3.UploadPart(t.Context(), &s3.UploadPartInput{
		Bucket: uploads, Key: complete.Key, UploadId: complete.UploadId, PartNumber: aws.Int32(3),
		Body: bytes.NewReader(payload(most + 1)),
	})
	refused(t, "part", err)
	if _, err := srv.s3.AbortMultipartUpload(t.Context(), &s3.AbortMultipartUploadInput{Bucket: uploads,
		Key: complete.Key, UploadId: complete.UploadId}); err != nil {
		t.Fatal(err)
	}
	srv.checkNothingStored(t)

	if err := srv.tryPut(t, "uploads/a.csv", payload(most)); err != nil {
		t.Errorf("PUT of the maximum size: %v, want success", err)
	}
	complete = srv.parts(t, "uploads/b.csv", payload(5<<20), payload(most-5<<20))
	if _, err := srv.s3.CompleteMultipartUpload(t.Context(), complete); err != nil {
		t.Errorf("multipart upload of the maximum size: %v, want success", err)
	}
}

// TestMaxObjectInForms checks the limit for a form, where the size of the file is known only after it was read.
func TestMaxObjectInForms(t *testing.T) {
	t.Parallel()
	srv := start(t, func(c *gateway.Config) { c.MaxObject = 1 << 20 })
	got := srv.form(t, "uploads/form.csv", string(payload(1<<20+1)), 0)
	if got.status != 400 || got.code != "EntityTooLarge" {
		t.Errorf("form: %s, want 400 EntityTooLarge", got)
	}
	srv.checkNothingStored(t)
}

// TestHeadersAreLimited tests long headers and a long URL.
func TestHeadersAreLimited(t *testing.T) {
	t.Parallel()
	srv := start(t)
	for name, head := range map[string]string{
		"header":       "GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + strings.Repeat("a", 10_000) + "\r\n\r\n",
		"many headers": "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-Many: aaaaaaaaaa\r\n", 1000) + "\r\n",
		"URL":          "GET /uploads/" + strings.Repeat("a", 10_000) + " HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		c := raw.Dial(t, srv.Addr())
		go io.WriteString(c, head) //nolint:errcheck // the connection may be closed before
		answer, _ := io.ReadAll(c)
		if !strings.HasPrefix(string(answer), "HTTP/1.1 4") {
			t.Errorf("%s: %q, want a status of 4xx", name, answer[:min(len(answer), 200)])
		}
	}
}

// TestLongDocumentsAreRefused checks that long bodies that are not data are refused before versitygw reads them into
// memory.
func TestLongDocumentsAreRefused(t *testing.T) {
	t.Parallel()
	srv := start(t)
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
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := raw.Dial(t, srv.Addr())
			// the server reads the first 8 KiB
			fmt.Fprintf(c, "%sHost: x\r\nContent-Length: %d\r\n\r\n%s", head, 1<<30, payload(64<<10))
			answer := make([]byte, 4096)
			n, err := io.ReadAtLeast(c, answer, 200)
			if err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 400 ") ||
				!strings.Contains(string(answer[:n]), "EntityTooLarge") {
				t.Errorf("%v, %q; want 400 EntityTooLarge", err, answer[:n])
			}
		})
	}
}

// TestTooManyRequests checks that clients get SlowDown, and are served again once other requests have finished.
func TestTooManyRequests(t *testing.T) {
	t.Parallel()
	srv := start(t, func(c *gateway.Config) { c.MaxRequests = 2 })
	var held []net.Conn
	for i := range 2 {
		held = append(held, srv.startUpload(t, fmt.Sprintf("uploads/%d.csv", i)))
	}
	if err := srv.tryPut(t, "drafts/c.csv", payload(10)); status(err) != 503 || code(err) != "SlowDown" {
		t.Errorf("third request: status %d, code %q (%v), want 503 SlowDown", status(err), code(err), err)
	}
	for _, c := range held {
		finishUpload(t, c)
	}
	testutil.WaitFor(t, "the request is served", func() bool { return srv.tryPut(t, "drafts/c.csv", payload(10)) == nil })
	testutil.WaitFor(t, "the other uploads are announced", func() bool { return len(srv.keys()) == 2 })
}

// TestTooManyConnections checks that if all connections have requests in flight, another connection is refused.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	srv := start(t, func(c *gateway.Config) { c.MaxConnections = 3 })
	var open []net.Conn
	for i := range 3 {
		open = append(open, srv.startUpload(t, fmt.Sprintf("uploads/%d.csv", i)))
	}
	answer, err := io.ReadAll(raw.Dial(t, srv.Addr()))
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 503 ") ||
		!strings.HasSuffix(string(answer), "</Error>\n") {
		t.Errorf("fourth connection: %v, %q; want 503", err, answer)
	}
	for _, c := range open {
		finishUpload(t, c)
	}
	testutil.WaitFor(t, "the uploads are announced", func() bool { return len(srv.keys()) == 3 })
	if err := srv.tryPut(t, "drafts/c.csv", payload(10)); err != nil {
		t.Errorf("request after the others became idle: %v, want success", err)
	}
}

// TestNewConnectionReplacesIdleOne checks that a new connection replaces the one that has been idle for longest, and
// never one with a request in flight.
func TestNewConnectionReplacesIdleOne(t *testing.T) {
	t.Parallel()
	srv := start(t, func(c *gateway.Config) { c.MaxConnections = 4 })
	busy := srv.startUpload(t, "uploads/busy.csv")
	idle := []net.Conn{raw.Dial(t, srv.Addr())} // never sent a request
	testutil.WaitFor(t, "the connection is counted", func() bool { return gateway.Connections(srv.Gateway) == 2 })
	ask := func(c net.Conn, idle int) {
		t.Helper()
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAtLeast(c, make([]byte, 8192), 200); err != nil {
			t.Fatalf("reading an answer: %v", err)
		}
		// A client gets its answer before the server marks the connection as idle.
		testutil.WaitFor(t, "the connection is idle", func() bool { return gateway.IdleConnections(srv.Gateway) == idle })
	}
	for range 2 { // these have sent a request
		c := raw.Dial(t, srv.Addr())
		ask(c, len(idle)+1)
		idle = append(idle, c)
	}
	for i, c := range idle {
		next := raw.Dial(t, srv.Addr())
		ask(next, len(idle))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("idle connection %d: %v, want it closed for a new one", i, err)
		}
	}
	finishUpload(t, busy)
	testutil.WaitFor(t, "the upload is announced", func() bool { return len(srv.keys()) == 1 })
}

// TestNewConnectionReplacesSlowUnauthenticatedOne checks that unauthenticated clients that stop sending can't keep out
// others, and authenticated uploads are not aborted for a new connection.
func TestNewConnectionReplacesSlowUnauthenticatedOne(t *testing.T) {
	t.Parallel()
	srv := start(t, func(c *gateway.Config) { c.MaxConnections, c.ClientTimeout = 4, time.Hour })
	upload := srv.startUpload(t, "uploads/slow.csv")
	for _, begun := range []string{"PUT / HTTP/1.1\r\nHost: a\r\nX: ", "P",
		"PUT /flavorless-uploads/uploads/x.csv HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\nx"} {
		if _, err := io.WriteString(raw.Dial(t, srv.Addr()), begun); err != nil {
			t.Fatal(err)
		}
	}
	testutil.WaitFor(t, "another client is served", func() bool {
		return srv.tryPut(t, "drafts/c.csv", payload(10)) == nil
	})
	finishUpload(t, upload)
	testutil.WaitFor(t, "the slow upload is announced", func() bool { return len(srv.keys()) == 1 })
}

// TestIdleConnectionsEnd checks that an idle connection is closed after half of the client timeout.
func TestIdleConnectionsEnd(t *testing.T) {
	testutil.SkipIfShort(t)
	t.Parallel()
	srv := start(t, func(c *gateway.Config) { c.ClientTimeout = 20 * time.Second })
	c := raw.Dial(t, srv.Addr())
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Errorf("end of the idle connection: %v, want EOF", err)
	}
	if took := time.Since(began); took < 9*time.Second || took > 19*time.Second {
		t.Errorf("the idle connection ended after %s, want about 10 s", took)
	}
}

// TestLongFormsAreRefused checks that the fields of a form are limited, because they are read before the client is
// authenticated.
func TestLongFormsAreRefused(t *testing.T) {
	t.Parallel()
	srv := start(t, func(c *gateway.Config) { c.ClientTimeout = 2 * time.Minute })
	c := raw.Dial(t, srv.Addr())
	const length = 64 << 20
	fmt.Fprintf(c, "POST /%s HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n", bucket)
	fmt.Fprintf(c, "Content-Length: %d\r\n\r\n", length)
	fmt.Fprint(c, "--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\n")
	// a server that reads more would wait
	if _, err := io.WriteString(c, strings.Repeat("value\r\n", 100_000)); err != nil {
		t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(40 * time.Second)); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 4096)
	n, err := io.ReadAtLeast(c, answer, 15)
	if err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 400 ") {
		t.Errorf("form with endless fields: %v, %q; want 400", err, answer[:n])
	}
}

// TestUploadsNeedALength checks that an upload without a length is refused; otherwise an empty object would be stored.
func TestUploadsNeedALength(t *testing.T) {
	t.Parallel()
	srv := start(t)
	for name, test := range map[string]struct{ header, want string }{
		"nothing":        {"", "HTTP/1.1 411 "},
		"another header": {"X-Content-Length: 5\r\n", "HTTP/1.1 411 "},
		"no data":        {"Content-Length: 0\r\n", "HTTP/1.1 200 "},
		"lower case":     {"content-length: 0\r\n", "HTTP/1.1 200 "},
	} {
		c := raw.Dial(t, srv.Addr())
		fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: %s\r\n%sConnection: close\r\n\r\n", srv.presigned(t, "uploads/a.csv"),
			srv.Addr(), test.header)
		answer, err := io.ReadAll(c)
		if err != nil || !strings.HasPrefix(string(answer), test.want) || strings.HasPrefix(test.want, "HTTP/1.1 411") &&
			!strings.Contains(string(answer), "MissingContentLength") {
			t.Errorf("%s: %v, %q, want %q", name, err, answer, test.want)
		}
	}
	if got := srv.send(t, request{method: "PUT", path: "/uploads/uploads/b.csv", body: "x",
		header: headers{"X-Amz-Storage-Class": "REDUCED_REDUNDANCY"}}); got.status != 400 ||
		got.code != "InvalidStorageClass" {
		t.Errorf("another storage class: %s, want 400 InvalidStorageClass", got)
	}
	if got := srv.send(t, form(t, headers{"key": "uploads/b.csv", "x-amz-storage-class": "GLACIER"}, time.Now(),
		"x")); got.status != 400 || got.code != "InvalidStorageClass" {
		t.Errorf("another storage class in a form: %s, want 400 InvalidStorageClass", got)
	}
}
