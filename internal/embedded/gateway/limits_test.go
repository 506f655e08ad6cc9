package gateway_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/versity/versitygw/s3err"

	"github.com/flavorless/flavorless/internal/embedded/gateway"
)

// soon is how long a test waits for what must happen, and not for what must not.
const soon = 30 * time.Second

// code is what S3 calls an error.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// staged lists the files that uploads which did not come to their end have left.
func (e *env) staged(t *testing.T) (left []string) {
	t.Helper()
	for _, b := range []string{bucket, "reports"} {
		err := filepath.WalkDir(filepath.Join(e.cfg.Dir, "objects", b, ".sgwtmp"), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				left = append(left, path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return left
}

// nothingStored makes sure that what was refused left no trace.
func (e *env) nothingStored(t *testing.T) {
	t.Helper()
	if got := e.staged(t); len(got) > 0 {
		t.Errorf("left behind: %v", got)
	}
	if got := e.keys(); len(got) > 0 {
		t.Errorf("announced: %v", got)
	}
	if got := e.objects(t); len(got) > 0 {
		t.Errorf("stored: %v", got)
	}
}

func (e *env) tryPut(t *testing.T, key string, body []byte) error {
	t.Helper()
	_, err := e.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &key, Body: bytes.NewReader(body)})
	return err
}

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

// disk is a Room that is full when it is told so, or once it was asked so often.
type disk struct{ full, asked, until atomic.Int64 }

func (d *disk) room(string, int64) error {
	if d.full.Load() != 0 || d.until.Load() > 0 && d.asked.Add(1) > d.until.Load() {
		return errors.New("full to the brim")
	}
	return nil
}

func wantFull(t *testing.T, what string, err error) {
	t.Helper()
	if status(err) != 507 || code(err) != "InsufficientStorage" || !strings.Contains(err.Error(), "--min-free") || strings.Contains(err.Error(), "brim") {
		t.Errorf("%s: status %d, code %q: %v", what, status(err), code(err), err)
	}
}

func TestAFullDiskRefusesUploads(t *testing.T) {
	t.Parallel()
	var d disk
	e := start(t, func(c *gateway.Config) { c.Room = d.room })
	e.put(t, "drafts/a.csv", "x")
	complete := e.parts(t, "uploads/parts.csv", payload(5<<20), payload(7))
	d.full.Store(1)
	wantFull(t, "PUT", e.tryPut(t, "uploads/a.csv", payload(100)))
	wantFull(t, "empty PUT", e.tryPut(t, "uploads/a.csv", nil))
	_, err := e.s3.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String(bucket), Key: aws.String("uploads/c.csv"), CopySource: aws.String(bucket + "/drafts/a.csv")})
	wantFull(t, "copy", err)
	_, err = e.s3.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String(bucket), Key: aws.String("uploads/m.csv")})
	wantFull(t, "beginning parts", err)
	_, err = e.s3.UploadPart(t.Context(), &s3.UploadPartInput{
		Bucket: aws.String(bucket), Key: complete.Key, UploadId: complete.UploadId, PartNumber: aws.Int32(3), Body: bytes.NewReader(payload(7)),
	})
	wantFull(t, "part", err)
	_, err = e.s3.UploadPartCopy(t.Context(), &s3.UploadPartCopyInput{
		Bucket: aws.String(bucket), Key: complete.Key, UploadId: complete.UploadId, PartNumber: aws.Int32(3), CopySource: aws.String(bucket + "/drafts/a.csv"),
	})
	wantFull(t, "part by copy", err)
	_, err = e.s3.CompleteMultipartUpload(t.Context(), complete)
	wantFull(t, "completion", err)
	resp := e.form(t, "uploads/form.csv", "x", 0)
	resp.Body.Close()
	if resp.StatusCode != http.StatusInsufficientStorage {
		t.Errorf("form: status %d, want 507", resp.StatusCode)
	}
	if got := e.get(t, "drafts/a.csv"); got != "x" {
		t.Errorf("reading gives %q", got)
	}
	if got := e.keys(); len(got) > 0 {
		t.Errorf("announced: %v", got)
	}
	if _, err := e.s3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: aws.String("drafts/a.csv")}); err != nil {
		t.Errorf("deleting, which makes room: %v", err)
	}
	d.full.Store(0)
	if _, err := e.s3.CompleteMultipartUpload(t.Context(), complete); err != nil {
		t.Errorf("completion, once there is room: %v", err)
	}
	if got := e.last(t, "uploads/parts.csv").Size; got != 5<<20+7 {
		t.Errorf("announced size %d", got)
	}
}

// TestADiskThatFillsUpMeanwhile refuses what is on its way, and keeps nothing of it.
func TestADiskThatFillsUpMeanwhile(t *testing.T) {
	t.Parallel()
	var d disk
	e := start(t, func(c *gateway.Config) { c.Room = d.room })
	d.until.Store(2) // once for the whole, once for its first MiB
	wantFull(t, "PUT", e.tryPut(t, "uploads/a.csv", payload(3<<20)))
	if d.asked.Load() != 3 {
		t.Errorf("the disk was looked at %d times", d.asked.Load())
	}
	e.nothingStored(t)
}

// TestNoSpaceLeft: what the operating system or versitygw calls it, a client is told alike.
func TestNoSpaceLeft(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		&fs.PathError{Op: "write", Path: "/secret", Err: syscall.ENOSPC}, fmt.Errorf("open temp file: %w", syscall.EDQUOT),
		s3err.GetAPIError(s3err.ErrNoSpaceLeftOnDevice), s3err.GetAPIError(s3err.ErrQuotaExceeded),
	} {
		var told s3err.S3Error
		if got := gateway.Answer(err); !errors.As(got, &told) || told.StatusCode() != 507 || strings.Contains(got.Error(), "secret") {
			t.Errorf("%v is answered with %v", err, got)
		}
	}
}

// raw is a connection that need not keep to the protocol.
func (e *env) raw(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", e.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	return c
}

// presigned is the request line's target of a PUT that is let in.
func (e *env) presigned(t *testing.T, key string) string {
	t.Helper()
	signed, err := s3.NewPresignClient(e.s3).PresignPutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(signed.URL, "http://"+e.Addr())
}

// TestSlowClientsAreCutOff: a client that sends nothing, or too little, loses its connection.
func TestSlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	e := start(t, func(c *gateway.Config) { c.Patience = 200 * time.Millisecond })
	head := "PUT " + e.presigned(t, "uploads/slow.csv") + " HTTP/1.1\r\nHost: " + e.Addr() + "\r\nContent-Length: 100000\r\n"
	for name, test := range map[string]struct{ begin, trickle string }{
		"nothing":          {"", ""},
		"half a head":      {head, ""},
		"no body":          {head + "\r\n", ""},
		"a trickling head": {head, "X-A: b\r\n"},
		"a trickling body": {head + "\r\n", "x"},
		"idle":             {"GET / HTTP/1.1\r\nHost: " + e.Addr() + "\r\n\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := e.raw(t)
			if _, err := io.WriteString(c, test.begin); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, c) // an answer may come first
				ended <- err
			}()
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case err := <-ended:
					if errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("still connected after %s", soon)
					}
					return
				case <-tick.C:
					_, _ = io.WriteString(c, test.trickle) // fails once it is cut off
				}
			}
		})
	}
	t.Cleanup(func() { e.nothingStored(t) })
}

// TestASteadyClientIsWaitedFor: an upload may take much longer than the patience.
func TestASteadyClientIsWaitedFor(t *testing.T) {
	t.Parallel()
	const patience, pieces, piece = 3 * time.Second, 40, 1000 // long enough for a busy machine
	e := start(t, func(c *gateway.Config) { c.Patience = patience })
	c := e.raw(t)
	fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", e.presigned(t, "uploads/steady.csv"), e.Addr(), pieces*piece)
	tick := time.NewTicker(patience / 30)
	defer tick.Stop()
	for range pieces {
		<-tick.C
		if _, err := c.Write(payload(piece)); err != nil {
			t.Fatal(err)
		}
	}
	if answer, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
		t.Errorf("%v, %q", err, answer)
	}
	if got := e.last(t, "uploads/steady.csv").Size; got != pieces*piece {
		t.Errorf("announced size %d", got)
	}
}

// TestAReaderThatDoesNotRead is cut off, too.
func TestAReaderThatDoesNotRead(t *testing.T) {
	t.Parallel()
	e := start(t, func(c *gateway.Config) { c.Patience = 3 * time.Second }) // long enough to put it on a busy machine
	const size = 64 << 20                                                   // more than the buffers on the way take
	e.put(t, "drafts/large.csv", string(payload(size)))
	signed, err := s3.NewPresignClient(e.s3).PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String("drafts/large.csv")})
	if err != nil {
		t.Fatal(err)
	}
	get := func() net.Conn {
		c := e.raw(t)
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", strings.TrimPrefix(signed.URL, "http://"+e.Addr()), e.Addr())
		return c
	}
	c := get()
	await(t, "the gateway gives it up", func() bool { return gateway.Connections(e.Gateway) == 0 })
	if n, err := io.Copy(io.Discard, c); n >= size || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes of %d came, %v", n, size, err)
	}
	c = get()
	if n, err := io.CopyN(io.Discard, c, size); err != nil {
		t.Errorf("who reads gets %d bytes, %v", n, err)
	}
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
		c := e.raw(t)
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
		c := e.raw(t)
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
		c := e.raw(t)
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
		open = append(open, e.raw(t))
		if _, err := io.WriteString(open[len(open)-1], get); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAtLeast(open[len(open)-1], make([]byte, 1), 1); err != nil {
			t.Fatal(err)
		}
	}
	answer, err := io.ReadAll(e.raw(t))
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 503 ") {
		t.Errorf("the fourth: %v, %q", err, answer)
	}
	open[0].Close()
	await(t, "another one is let in", func() bool { return e.tryPut(t, "drafts/c.csv", payload(10)) == nil })
}
