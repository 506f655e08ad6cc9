package gateway_test

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/flavorless/flavorless/internal/embedded/gateway"
	"github.com/flavorless/flavorless/test/raw"
)

// TestInvalidChunks tests bodies with invalid framing: they are client errors, and nothing is stored.
func TestInvalidChunks(t *testing.T) {
	t.Parallel()
	srv, base := startGuarded(t)
	before := tree(t, base)
	const signature = ";chunk-signature=0000000000000000000000000000000000000000000000000000000000000000"
	for _, size := range []string{"-5", "-0", "+5", "0x5", "", " 5", "5 ", "8000000000000000", "7fffffffffffffff",
		"ffffffffffffffffffffffff", "zz", "5;5", "-8000000000000000", strings.Repeat("0", 5000) + "5"} {
		for payload, head := range map[string]string{
			"STREAMING-AWS4-HMAC-SHA256-PAYLOAD": size + signature, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": size +
				signature, "STREAMING-UNSIGNED-PAYLOAD-TRAILER": size,
		} {
			for _, query := range []string{"", "partNumber=1&uploadId=" + unknownID} {
				got := srv.send(t, request{method: "PUT", path: "/uploads/uploads/a.csv", query: query,
					body: head + "\r\nhello\r\n" + head + "\r\nhello\r\n0\r\n\r\n", header: headers{
						"X-Amz-Content-Sha256": payload, "X-Amz-Decoded-Content-Length": "5", "Content-Encoding": "aws-chunked",
						"X-Amz-Trailer": "x-amz-checksum-crc32",
					}})
				if got.status != 400 && (got.status != 404 || query == "") {
					t.Errorf("%s with a chunk of %.30q: %s, want 400", payload, size, got)
				}
			}
		}
	}
	for name, body := range map[string]string{
		"a signature with a line end":  "5;chunk-signature=\r\n" + strings.Repeat("0", 62) + "\r\nhello\r\n",
		"no signature":                 "5\r\nhello\r\n",
		"no line end after the chunk":  "5" + signature + "\r\nhelloXX",
		"an endless line":              strings.Repeat("5", 100<<10),
		"an endless trailer":           "0" + signature + "\r\n" + strings.Repeat("a", 100<<10),
		"nothing":                      "",
		"a chunk that has not arrived": "5" + signature + "\r\nhel",
	} {
		for _, payload := range []string{"STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
			"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"} {
			got := srv.send(t, request{method: "PUT", path: "/uploads/uploads/a.csv", body: body, header: headers{
				"X-Amz-Content-Sha256": payload, "X-Amz-Decoded-Content-Length": "5", "X-Amz-Trailer": "x-amz-checksum-crc32",
			}})
			if got.status != 400 && got.status != 403 {
				t.Errorf("%s in %s: %s, want 400 or 403", name, payload, got)
			}
		}
	}
	for _, length := range []string{"-5", "x", "99999999999999999999"} {
		got := srv.send(t, request{method: "PUT", path: "/uploads/uploads/a.csv", body: "0\r\n\r\n", header: headers{
			"X-Amz-Content-Sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length": length,
		}})
		if got.status != 400 {
			t.Errorf("a decoded length of %s: %s, want 400", length, got)
		}
	}
	checkUnchanged(t, base, before)
}

// chunked is an upload with signed chunks.
type chunked struct {
	key, data string
	// trailer is the format of the bytes after the last chunk: %[1]s is the name of the checksum, %[2]s its value, and
	// %[3]s the signature of the trailer.
	trailer  string
	checksum string // crcOf(data) if empty
	announce int    // the decoded length; len(data) if 0
	cut      int    // the number of bytes at the end that are not sent
}

func sign(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// sendChunked sends an upload with chunks signed as AWS documents it.
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
func (srv *testServer) sendChunked(t *testing.T, c chunked) answer {
	t.Helper()
	now := time.Now().UTC()
	date, scope := now.Format("20060102T150405Z"), now.Format("20060102")+"/us-east-1/s3/aws4_request"
	key := []byte("AWS4" + uploader.SecretKey)
	for part := range strings.SplitSeq(scope, "/") {
		key = sign(key, part)
	}
	if c.checksum == "" {
		c.checksum = crcOf(c.data)
	}
	if c.announce == 0 {
		c.announce = len(c.data)
	}
	body := func(seed string) string {
		var b strings.Builder
		previous := seed
		for _, chunk := range []string{c.data, ""} {
			previous = hex.EncodeToString(sign(key,
				"AWS4-HMAC-SHA256-PAYLOAD\n"+date+"\n"+scope+"\n"+previous+"\n"+hashOf("")+"\n"+hashOf(chunk)))
			fmt.Fprintf(&b, "%x;chunk-signature=%s\r\n%s", len(chunk), previous, chunk)
			if chunk != "" {
				b.WriteString("\r\n")
			}
		}
		signature := hex.EncodeToString(sign(key,
			"AWS4-HMAC-SHA256-TRAILER\n"+date+"\n"+scope+"\n"+previous+"\n"+hashOf("x-amz-checksum-crc32:"+c.checksum+"\n")))
		fmt.Fprintf(&b, c.trailer, "x-amz-checksum-crc32", c.checksum, signature)
		return b.String()
	}
	const payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+srv.Addr()+"/"+bucket+"/"+c.key,
		strings.NewReader(body(strings.Repeat("0", 64))))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Content-Sha256", payload)
	req.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32")
	req.Header.Set("X-Amz-Decoded-Content-Length", strconv.Itoa(c.announce))
	credential := aws.Credentials{AccessKeyID: uploader.AccessKey, SecretAccessKey: uploader.SecretKey}
	if err := v4.NewSigner().SignHTTP(t.Context(), credential, req, payload, "s3", "us-east-1", now); err != nil {
		t.Fatal(err)
	}
	_, seed, _ := strings.Cut(req.Header.Get("Authorization"), "Signature=")
	if c.cut > 0 {
		return srv.sendTruncated(t, req, body(seed), c.cut)
	}
	return srv.sendSigned(t, "PUT", req.URL.String(), req.Header, body(seed))
}

// sendTruncated sends a request without its last bytes.
func (srv *testServer) sendTruncated(t *testing.T, req *http.Request, body string, cut int) answer {
	t.Helper()
	var wire bytes.Buffer
	req.Body = io.NopCloser(strings.NewReader(body))
	if err := req.Write(&wire); err != nil {
		t.Fatal(err)
	}
	conn := raw.Dial(t, srv.Addr())
	if _, err := conn.Write(wire.Bytes()[:wire.Len()-cut]); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		t.Fatal(err)
	}
	return readAnswer(t, resp)
}

// TestTrailers tests the notations of trailers that clients use, and invalid trailers.
func TestTrailers(t *testing.T) {
	t.Parallel()
	srv := start(t)
	for name, c := range map[string]chunked{
		"as most clients":        {trailer: "%[1]s:%[2]s\r\nx-amz-trailer-signature:%[3]s\r\n\r\n"},
		"as in AWS's example":    {trailer: "%[1]s:%[2]s\n\r\nx-amz-trailer-signature:%[3]s\r\n\r\n"}, // minio-go
		"line feeds":             {trailer: "%[1]s:%[2]s\nx-amz-trailer-signature:%[3]s\n\n"},
		"spaces":                 {trailer: "%[1]s: %[2]s \r\nx-amz-trailer-signature: %[3]s\r\n\r\n"},
		"an empty line":          {trailer: "%[1]s:%[2]s\r\n\r\nx-amz-trailer-signature:%[3]s\r\n\r\n"},
		"a name in another case": {trailer: "X-Amz-Checksum-CRC32:%[2]s\r\nX-Amz-Trailer-Signature:%[3]s\r\n\r\n"},
		"a long chunk": {trailer: "%[1]s:%[2]s\n\r\nx-amz-trailer-signature:%[3]s\r\n\r\n",
			data: string(payload(300 << 10))},
	} {
		c.key = "uploads/" + strings.NewReplacer(" ", "-", "'", "").Replace(name) + ".csv"
		if c.data == "" {
			c.data = hoistedBody
		}
		if got := srv.sendChunked(t, c); got.status != 200 {
			t.Errorf("%s: %s %s, want 200", name, got, got.body)
		} else if srv.get(t, c.key) != c.data {
			t.Errorf("%s: the stored object differs from the data", name)
		}
	}
	// unsigned
	for _, trailer := range []string{"x-amz-checksum-crc32:%s\r\n\r\n", "x-amz-checksum-crc32:%s\n\r\n\r\n",
		"x-amz-checksum-crc32:%s\n\r\n", "X-Amz-Checksum-Crc32: %s\n\n"} {
		got := srv.send(t, request{method: "PUT", path: "/uploads/uploads/unsigned.csv", header: headers{
			"X-Amz-Content-Sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Trailer": "x-amz-checksum-crc32",
			"X-Amz-Decoded-Content-Length": strconv.Itoa(len(hoistedBody)),
		}, body: fmt.Sprintf("%x\r\n%s\r\n0\r\n"+trailer, len(hoistedBody), hoistedBody, crcOf(hoistedBody))})
		if got.status != 200 {
			t.Errorf("unsigned %q: %s %s, want 200", trailer, got, got.body)
		}
	}
	before := len(srv.all())
	for name, c := range map[string]chunked{
		"a wrong checksum": {checksum: "AAAAAA==", trailer: "%[1]s:%[2]s\n\r\nx-amz-trailer-signature:%[3]s\r\n\r\n"},
		"a wrong signature": {trailer: "%[1]s:%[2]s\n\r\nx-amz-trailer-signature:" + strings.Repeat("0", 64) +
			"\r\n\r\n"},
		"no signature":     {trailer: "%[1]s:%[2]s\n\r\n\r\n"},
		"no checksum":      {trailer: "x-amz-trailer-signature:%[3]s\r\n\r\n"},
		"nothing":          {trailer: "\r\n"},
		"another checksum": {trailer: "x-amz-checksum-crc32c:%[2]s\r\nx-amz-trailer-signature:%[3]s\r\n\r\n"},
		"too long": {trailer: "%[1]s:%[2]s" + strings.Repeat(" ", 5000) +
			"\n\r\nx-amz-trailer-signature:%[3]s\r\n\r\n"},
		"cut off in the trailer": {cut: 30, data: string(payload(300 << 10)),
			trailer: "%[1]s:%[2]s\r\nx-amz-trailer-signature:%[3]s\r\n\r\n"},
		"cut off before it": {cut: 130, data: string(payload(300 << 10)),
			trailer: "%[1]s:%[2]s\r\nx-amz-trailer-signature:%[3]s\r\n\r\n"},
		"cut off in the last chunk": {cut: 200, data: string(payload(300 << 10)),
			trailer: "%[1]s:%[2]s\r\nx-amz-trailer-signature:%[3]s\r\n\r\n"},
		"less data than it says": {announce: 100, trailer: "%[1]s:%[2]s\r\nx-amz-trailer-signature:%[3]s\r\n\r\n"},
		"more data than it says": {announce: 5, trailer: "%[1]s:%[2]s\r\nx-amz-trailer-signature:%[3]s\r\n\r\n"},
	} {
		c.key = "uploads/refused.csv"
		if c.data == "" {
			c.data = hoistedBody
		}
		if got := srv.sendChunked(t, c); got.status != 400 && (got.status != 403 || name != "a wrong signature") {
			t.Errorf("%s: %s, want 400", name, got)
		}
	}
	srv.checkNothingAnnounced(t, before)
}

// TestWrongLength tests bodies whose length differs from the announced one, and unsupported signatures of chunks.
func TestWrongLength(t *testing.T) {
	t.Parallel()
	srv := start(t, func(c *gateway.Config) { c.MaxObject = 64 << 20 })
	complete := srv.parts(t, "uploads/parts.csv", payload(7))
	for name, test := range map[string]struct {
		header map[string]string
		body   string
		status int
	}{
		"longer than decoded":  {headers{"X-Amz-Decoded-Content-Length": "5"}, hoistedBody, 400},
		"decoded to nothing":   {headers{"X-Amz-Decoded-Content-Length": "0"}, hoistedBody, 400},
		"much longer":          {headers{"X-Amz-Decoded-Content-Length": "70000"}, string(payload(3 << 20)), 400},
		"shorter than decoded": {headers{"X-Amz-Decoded-Content-Length": "500"}, hoistedBody, 400},
		"longer, in chunks": {headers{"X-Amz-Decoded-Content-Length": "5",
			"X-Amz-Content-Sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}, "6\r\nhello!\r\n0\r\n\r\n", 400},
		"longer, in two chunks": {headers{"X-Amz-Decoded-Content-Length": "9000",
			"X-Amz-Content-Sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"},
			"2000\r\n" + string(payload(0x2000)) + "\r\n2000\r\n" + string(payload(0x2000)) + "\r\n0\r\n\r\n", 400},
		"ECDSA": {headers{"X-Amz-Content-Sha256": "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
			"X-Amz-Decoded-Content-Length": "5"}, "hello", 501},
		"ECDSA with a trailer": {headers{"X-Amz-Content-Sha256": "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER",
			"X-Amz-Decoded-Content-Length": "5", "X-Amz-Trailer": "x-amz-checksum-crc32"}, "hello", 501},
		"an unknown encoding": {headers{"X-Amz-Content-Sha256": "STREAMING-X", "X-Amz-Decoded-Content-Length": "5"},
			"hello", 400},
	} {
		for _, r := range []request{
			{path: "/uploads/uploads/a.csv"},
			{path: "/uploads/uploads/parts.csv", query: "partNumber=2&uploadId=" + *complete.UploadId},
		} {
			r.method, r.header, r.body = "PUT", test.header, test.body
			if got := srv.send(t, r); got.status != test.status {
				t.Errorf("%s to %s: %s %s, want %d", name, r.path, got, got.body, test.status)
			}
		}
	}
	if _, err := srv.s3.AbortMultipartUpload(t.Context(), &s3.AbortMultipartUploadInput{Bucket: uploads,
		Key: complete.Key, UploadId: complete.UploadId}); err != nil {
		t.Fatal(err)
	}
	srv.checkNothingStored(t)
}
