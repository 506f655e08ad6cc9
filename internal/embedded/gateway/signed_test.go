package gateway_test

import (
	"cmp"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/flavorless/flavorless/internal/embedded/gateway"
)

// request is a request that SDKs can't send.
type request struct {
	method, path, query string // as signed
	wire                string // the path as sent, if different
	body                string
	header              map[string]string
	by                  gateway.Credential // the sender; uploader if empty
	unsigned            bool
	at                  time.Time // now if zero
}

// answer is the response to a request.
type answer struct {
	status     int
	code, body string
	header     http.Header
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.code) }

// uploader is the credential in config.
var uploader = gateway.Credential{AccessKey: "local", SecretKey: "local-secret"}

var codeOf = regexp.MustCompile(`<Code>([^<]*)</Code>`)

// send signs and sends a request.
func (srv *testServer) send(t testing.TB, r request) answer {
	t.Helper()
	target := "http://" + srv.Addr() + "/"
	req, err := http.NewRequestWithContext(t.Context(), r.method, target, strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Opaque, req.URL.RawQuery = "//"+srv.Addr()+r.path, r.query
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	if r.at.IsZero() {
		r.at = time.Now()
	}
	hash := req.Header.Get("X-Amz-Content-Sha256")
	if hash == "" {
		sum := sha256.Sum256([]byte(r.body))
		hash = hex.EncodeToString(sum[:])
		req.Header.Set("X-Amz-Content-Sha256", hash)
	}
	if !r.unsigned {
		r.by = cmp.Or(r.by, uploader)
		credential := aws.Credentials{AccessKeyID: r.by.AccessKey, SecretAccessKey: r.by.SecretKey}
		err := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }).
			SignHTTP(t.Context(), credential, req, hash, "s3", "us-east-1", r.at)
		if err != nil {
			t.Fatal(err)
		}
	}
	if r.wire != "" {
		req.URL.Opaque = "//" + srv.Addr() + r.wire
	}
	return do(t, req)
}

// do sends a request and returns its answer.
func do(t testing.TB, req *http.Request) answer {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	return readAnswer(t, resp)
}

func readAnswer(t testing.TB, resp *http.Response) answer {
	t.Helper()
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("reading an answer: %v", err)
	}
	a := answer{status: resp.StatusCode, body: string(text), header: resp.Header}
	if m := codeOf.FindStringSubmatch(a.body); m != nil {
		a.code = m[1]
	}
	return a
}

// escape percent-encodes a key as in a signed path.
func escape(key string) string {
	var b strings.Builder
	for i := range len(key) {
		c := key[i]
		if strings.IndexByte("/-_.~", c) >= 0 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

func escapeQuery(value string) string { return strings.ReplaceAll(escape(value), "/", "%2F") }

// md5Header returns the Content-MD5, which is required if the body is a document.
func md5Header(body string) map[string]string {
	sum := md5.Sum([]byte(body))
	return headers{"Content-Md5": base64.StdEncoding.EncodeToString(sum[:])}
}

// upload returns the ID in the answer to CreateMultipartUpload.
func (a answer) upload(t *testing.T) string {
	t.Helper()
	var begun struct {
		UploadID string `xml:"UploadId"`
	}
	if err := xml.Unmarshal([]byte(a.body), &begun); err != nil || a.status != 200 {
		t.Fatalf("CreateMultipartUpload: %s, %v; want 200", a, err)
	}
	return begun.UploadID
}

// sendPresigned sends a request with the signature in its URL. It covers the query and the headers.
func (srv *testServer) sendPresigned(t testing.TB, r request) answer {
	t.Helper()
	query, err := url.ParseQuery(r.query)
	if err != nil {
		t.Fatal(err)
	}
	query.Set("X-Amz-Expires", "900")
	req, err := http.NewRequestWithContext(t.Context(), r.method, "http://"+srv.Addr()+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Opaque, req.URL.RawQuery = "//"+srv.Addr()+r.path, query.Encode()
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	credential := aws.Credentials{AccessKeyID: uploader.AccessKey, SecretAccessKey: uploader.SecretKey}
	signed, headers, err := v4.NewSigner(func(o *v4.SignerOptions) {
		o.DisableURIPathEscaping,
			o.DisableHeaderHoisting = true, true
	}).
		PresignHTTP(t.Context(), credential, req, "UNSIGNED-PAYLOAD", "s3", "us-east-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return srv.sendSigned(t, r.method, signed, headers, r.body)
}

// sendSigned sends a request that is already signed.
func (srv *testServer) sendSigned(t testing.TB, method, target string, headers http.Header, body string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = headers.Clone()
	req.Header.Del("Host")
	return do(t, req)
}

const noData = "x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32"

const hoistedBody = "person,flavor\nandy,vanilla\n"

// crcOf returns the value of x-amz-checksum-crc32.
func crcOf(body string) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(body))))
}
