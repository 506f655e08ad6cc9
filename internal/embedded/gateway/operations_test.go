package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/flavorless/flavorless/internal/embedded/gateway"
)

// TestOnlyTheOperations: of all methods and subresources that versitygw routes, and some that it does not know, only what
// an uploader needs is let through.
func TestOnlyTheOperations(t *testing.T) {
	t.Parallel()
	e, base := guarded(t)
	e.put(t, "uploads/other.csv", "x")
	allowed := map[string]bool{}
	for _, o := range []string{
		"GET / ", "GET /uploads ", "GET /uploads list-type=2", "GET /uploads location=", "GET /uploads versioning=", "GET /uploads uploads=", "HEAD /uploads ",
		"GET /uploads/uploads/kept.csv ", "HEAD /uploads/uploads/kept.csv ", "GET /uploads/uploads/kept.csv partNumber=1", "HEAD /uploads/uploads/kept.csv partNumber=1", "GET /uploads/uploads/kept.csv attributes=", "GET /uploads/uploads/kept.csv tagging=",
		"GET /uploads/uploads/kept.csv uploadId=", "PUT /uploads/uploads/kept.csv ", "PUT /uploads/uploads/kept.csv tagging=", "PUT /uploads/uploads/kept.csv uploadId=",
		"PUT /uploads/uploads/kept.csv partNumber=1", "POST /uploads ", "POST /uploads delete=", "POST /uploads/uploads/kept.csv uploads=", "POST /uploads/uploads/kept.csv uploadId=",
		"DELETE /uploads/uploads/kept.csv ", "DELETE /uploads/uploads/kept.csv tagging=", "DELETE /uploads/uploads/kept.csv uploadId=",
		"PUT /uploads ", // which answers 409
	} {
		allowed[o] = true
	}
	before := tree(t, base)
	queries := []string{"", "list-type=2", "partNumber=1", "select=&select-type=2", "other=", "policy=&list-type=2", "prefix=a&acl=", "POLICY=", "poli%63y="}
	for _, name := range []string{
		"accelerate", "acl", "analytics", "attributes", "cors", "delete", "encryption", "intelligent-tiering", "inventory", "legal-hold", "lifecycle", "location", "logging",
		"metadataTable", "metrics", "notification", "object-lock", "ownershipControls", "policy", "policyStatus", "publicAccessBlock", "replication", "requestPayment",
		"restore", "retention", "select", "session", "tagging", "torrent", "uploadId", "uploads", "versioning", "versions", "website",
	} {
		queries = append(queries, name+"=")
	}
	checked := 0
	for _, method := range []string{"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE"} {
		for _, path := range []string{"/", "/uploads", "/uploads/uploads/kept.csv"} {
			for _, query := range queries {
				o := fmt.Sprintf("%s %s %s", method, path, query)
				if allowed[o] {
					continue
				}
				checked++
				got := e.ask(t, request{method: method, path: path, query: query, by: uploader, header: map[string]string{"Origin": "https://evil.example"}})
				if got.status != http.StatusForbidden && (got.status != http.StatusMethodNotAllowed || method != "TRACE") {
					t.Errorf("%s: %s, want 403", o, got)
				}
			}
		}
	}
	if checked < 900 {
		t.Errorf("only %d requests were tried", checked)
	}
	for _, path := range []string{"/create-user", "/list-users", "/list-buckets", "/uploads/create", "/health"} { // of versitygw's administration
		if got := e.ask(t, request{method: "PATCH", path: path, by: uploader}); got.status != http.StatusForbidden {
			t.Errorf("PATCH %s: %s, want 403", path, got)
		}
	}
	if after := tree(t, base); after != before {
		t.Errorf("files changed:\n%s\nbefore:\n%s", after, before)
	}
	for o := range allowed {
		parts := strings.SplitN(o, " ", 3)
		r := request{method: parts[0], path: parts[1], query: parts[2], by: uploader, header: map[string]string{"X-Amz-Object-Attributes": "ETag"}}
		if r.query == "tagging=" && r.method == "PUT" {
			r.body = tagging
		}
		if got := e.ask(t, r); got.status == http.StatusForbidden || got.status >= 500 {
			t.Errorf("%s: %s, want it let through", o, got)
		}
		r.by = gateway.Credential{}
		if got := e.ask(t, r); got.status < 400 {
			t.Errorf("%s without a signature: %s", o, got)
		}
	}
}

func TestCreateBucket(t *testing.T) {
	t.Parallel()
	e := start(t)
	for name, want := range map[string]string{bucket: "BucketAlreadyOwnedByYou", "reports": "BucketAlreadyOwnedByYou", "another": "AccessDenied"} {
		_, err := e.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name})
		if code(err) != want {
			t.Errorf("creating %s: %v, want %s", name, err, want)
		}
	}
	list, err := e.s3.ListBuckets(t.Context(), &s3.ListBucketsInput{})
	if err != nil || len(list.Buckets) != 2 {
		t.Errorf("buckets = %v, %v; want two", list.Buckets, err)
	}
}

// as is a client with a credential.
func (e *env) as(by gateway.Credential) *s3.Client {
	return client(e.Addr(), "", func(o *s3.Options) {
		o.Credentials = credentials.NewStaticCredentialsProvider(by.AccessKey, by.SecretKey, "")
	})
}

// TestReadOnlyBuckets are written by the server alone; the uploader reads them.
func TestReadOnlyBuckets(t *testing.T) {
	t.Parallel()
	e := start(t, func(c *gateway.Config) { c.ReadOnly = []string{"reports"} })
	for access, want := range map[string]bool{e.ServerCredential().AccessKey: true, uploader.AccessKey: false, "": false, "another": false} {
		if err := gateway.MayWrite(e.Gateway, access, "reports"); (err == nil) != want {
			t.Errorf("the store says to %q: %v, want it allowed: %t", access, err, want)
		}
	}
	reports, key := aws.String("reports"), aws.String("a/rejects.ndjson")
	server := e.as(e.ServerCredential())
	if _, err := server.PutObject(t.Context(), &s3.PutObjectInput{Bucket: reports, Key: key, Body: strings.NewReader("report")}); err != nil {
		t.Fatal(err)
	}
	mp, err := server.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: reports, Key: aws.String("b")})
	if err != nil {
		t.Fatal(err)
	}
	e.put(t, "uploads/a.csv", "x")
	before := tree(t, filepath.Join(e.cfg.Dir, "objects", "reports"))
	for name, r := range about("/reports/" + *key) {
		if name == "get" || name == "head" || name == "attributes" || name == "get tags" || name == "parts" || name == "copy from" {
			continue
		}
		for _, id := range []string{someID, *mp.UploadId} {
			r.by, r.query = uploader, strings.Replace(r.query, someID, id, 1)
			if strings.Contains(r.query, *mp.UploadId) {
				r.path = "/reports/b"
			}
			if got := e.ask(t, r); got.status != 403 || got.code != "AccessDenied" {
				t.Errorf("%s: %s, want 403 AccessDenied", name, got)
			}
		}
	}
	body := "<Delete><Object><Key>" + *key + "</Key></Object></Delete>"
	if got := e.ask(t, request{method: "POST", path: "/reports", query: "delete=", body: body, header: md5Header(body), by: uploader}); got.status != 403 && !strings.Contains(got.body, "AccessDenied") {
		t.Errorf("DeleteObjects: %s %s", got, got.body)
	}
	r := form(t, map[string]string{"key": "c"}, time.Now(), "evil")
	r.path = "/reports"
	if got := e.ask(t, r); got.status != 403 {
		t.Errorf("form: %s, want 403", got)
	}
	if after := tree(t, filepath.Join(e.cfg.Dir, "objects", "reports")); after != before {
		t.Errorf("reports changed:\n%s\nbefore:\n%s", after, before)
	}
	out, err := e.s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: reports, Key: key})
	if err != nil || read(t, out.Body) != "report" {
		t.Errorf("the uploader reads a report: %v", err)
	}
	list, err := e.s3.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: reports})
	if err != nil || len(list.Contents) != 1 {
		t.Errorf("the uploader lists reports: %v, %v", list, err)
	}
	if _, err := e.s3.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: reports, Key: key}); err != nil {
		t.Errorf("the uploader looks at a report: %v", err)
	}
	if _, err := e.s3.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String(bucket), Key: aws.String("drafts/r"), CopySource: aws.String("reports/" + *key)}); err != nil {
		t.Errorf("the uploader copies a report to its own bucket: %v", err)
	}
	if _, err := server.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: reports, Key: key}); err != nil {
		t.Errorf("the server deletes a report: %v", err)
	}
}

// TestTheServersCredential is another one at each start, and is told to nobody.
func TestTheServersCredential(t *testing.T) {
	t.Parallel()
	e, base := guarded(t)
	own := e.ServerCredential()
	if _, err := e.as(own).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String("drafts/a"), Body: strings.NewReader("x")}); err != nil {
		t.Fatal(err)
	}
	if files := tree(t, base); strings.Contains(files, own.AccessKey) || strings.Contains(files, own.SecretKey) {
		t.Error("it is stored")
	}
	stop(t, e.Gateway)
	again := open(t, e.cfg, e.recorder)
	if again.ServerCredential() == own {
		t.Error("it is the same after a restart")
	}
	for name, by := range map[string]gateway.Credential{
		"the one of the start before": own, "an unknown one": {AccessKey: "AKIAUNKNOWN", SecretKey: "x"},
	} {
		got := again.ask(t, request{method: "GET", path: "/uploads", by: by})
		if got.status != 403 || got.code != "InvalidAccessKeyId" {
			t.Errorf("%s: %s, want 403 InvalidAccessKeyId", name, got)
		}
	}
	for name, by := range map[string]gateway.Credential{
		"the uploader's secret": {AccessKey: again.ServerCredential().AccessKey, SecretKey: uploader.SecretKey}, "no secret": {AccessKey: uploader.AccessKey},
	} {
		if got := again.ask(t, request{method: "GET", path: "/uploads", by: by}); got.status != 403 || got.code != "SignatureDoesNotMatch" {
			t.Errorf("%s: %s, want 403 SignatureDoesNotMatch", name, got)
		}
	}
}

// TestWhatBucketsStoreHasNoEffect: an earlier release let uploaders store a policy, and read it back with each request.
func TestWhatBucketsStoreHasNoEffect(t *testing.T) {
	t.Parallel()
	e := start(t, func(c *gateway.Config) { mkdir(t, c.Dir, "metadata"); c.ReadOnly = []string{"reports"} })
	e.put(t, "uploads/a.csv", "x")
	stop(t, e.Gateway)
	for _, b := range []string{bucket, "reports"} {
		for name, text := range map[string]string{
			"policy":      `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::` + b + `","arn:aws:s3:::` + b + `/*"]}]}`,
			"acl":         `{"Owner":"local","Grantees":[{"Permission":"FULL_CONTROL","Access":"local","Type":"CanonicalUser"},{"Permission":"READ","Access":"all-users","Type":"Group"},{"Permission":"WRITE","Access":"all-users","Type":"Group"}]}`,
			"cors":        `<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>`,
			"bucket-lock": `{"Enabled":true}`,
		} {
			if err := os.WriteFile(filepath.Join(e.cfg.Dir, "metadata", b, "meta", name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	again := open(t, e.cfg, e.recorder)
	for _, r := range []request{
		{method: "GET", path: "/uploads"}, {method: "GET", path: "/uploads/uploads/a.csv"}, {method: "PUT", path: "/uploads/uploads/b.csv", body: "x"},
		{method: "DELETE", path: "/uploads/uploads/a.csv"}, {method: "GET", path: "/reports"},
	} {
		if got := again.ask(t, r); got.status != 403 {
			t.Errorf("%s %s of nobody: %s, want 403", r.method, r.path, got)
		}
	}
	if got := again.ask(t, request{method: "PUT", path: "/reports/x", body: "x", by: uploader}); got.status != 403 {
		t.Errorf("the uploader writes to reports: %s, want 403", got)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, "http://"+again.Addr()+"/uploads/uploads/a.csv", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://evil.example")
	req.Header.Set("Access-Control-Request-Method", "GET")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 403 || resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a preflight: %d %v", resp.StatusCode, resp.Header)
	}
}

// TestOptionsThatAreRefused, because the gateway would not do what they ask for.
func TestOptionsThatAreRefused(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.put(t, "drafts/a.csv", "x")
	const acls, locked, none = "AccessControlListNotSupported", "InvalidRequest", "NotImplemented"
	for _, option := range []struct{ name, value, want string }{
		{"x-amz-acl", "public-read", acls}, {"x-amz-acl", "public-read-write", acls}, {"x-amz-acl", "authenticated-read", acls}, {"X-AMZ-ACL", "nonsense", acls},
		{"x-amz-grant-read", `uri="http://acs.amazonaws.com/groups/global/AllUsers"`, acls}, {"x-amz-grant-full-control", "id=x", acls}, {"x-amz-grant-write-acp", "id=x", acls},
		{"x-amz-object-lock-mode", "COMPLIANCE", locked}, {"x-amz-object-lock-retain-until-date", "2099-01-01T00:00:00Z", locked}, {"x-amz-object-lock-legal-hold", "ON", locked},
		{"x-amz-server-side-encryption", "AES256", none}, {"x-amz-server-side-encryption", "aws:kms", none}, {"x-amz-server-side-encryption-aws-kms-key-id", "k", none},
		{"x-amz-server-side-encryption-customer-algorithm", "AES256", none}, {"x-amz-server-side-encryption-customer-key", "k", none},
		{"x-amz-copy-source-server-side-encryption-customer-key", "k", none}, {"x-amz-website-redirect-location", "https://evil.example/", none},
	} {
		for _, r := range []request{
			{method: "PUT", path: "/uploads/uploads/a.csv", body: "x"}, {method: "POST", path: "/uploads/uploads/a.csv", query: "uploads="},
			{method: "PUT", path: "/uploads/uploads/a.csv", header: map[string]string{"X-Amz-Copy-Source": "uploads/drafts/a.csv"}},
			{method: "PUT", path: "/uploads/uploads/a.csv", query: strings.ToLower(option.name) + "=" + escapeQuery(option.value), body: "x"}, // as presigned URLs have it
		} {
			r.by = uploader
			if !strings.Contains(r.query, "amz") {
				header := map[string]string{option.name: option.value}
				for name, value := range r.header {
					header[name] = value
				}
				r.header = header
			}
			if got := e.ask(t, r); got.code != option.want {
				t.Errorf("%s %s?%s with %s: %s: %s, want %s", r.method, r.path, r.query, option.name, option.value, got, option.want)
			}
		}
		name := strings.ToLower(option.name)
		if got := e.ask(t, form(t, map[string]string{"key": "uploads/a.csv", name: option.value}, time.Now(), "x")); got.code != option.want {
			t.Errorf("form with %s: %s: %s, want %s", name, option.value, got, option.want)
		}
	}
	if got := e.ask(t, form(t, map[string]string{"key": "uploads/a.csv", "acl": "public-read"}, time.Now(), "x")); got.code != acls {
		t.Errorf("form with acl=public-read: %s, want %s", got, acls)
	}
	if got := e.keys(); len(got) != 0 {
		t.Errorf("announced %v, want nothing", got)
	}
	for _, acl := range []types.ObjectCannedACL{types.ObjectCannedACLPrivate, types.ObjectCannedACLBucketOwnerFullControl} {
		if _, err := e.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String("drafts/b"), ACL: acl, Body: strings.NewReader("x")}); err != nil {
			t.Errorf("ACL %s: %v, want it accepted", acl, err)
		}
	}
}

// TestMetadata: what is stored is read back as it was sent, or refused.
func TestMetadata(t *testing.T) {
	t.Parallel()
	for _, beside := range []bool{false, true} {
		e, base := guarded(t, func(c *gateway.Config) {
			if beside {
				mkdir(t, c.Dir, "metadata")
			}
		})
		before := tree(t, base)
		for _, name := range []string{"../../../x", "a/b", "", "a b", "\x00", "\xff", "a:b", "ü", "a\tb", `a\b`, "etag/", "(a)"} {
			got := e.ask(t, form(t, map[string]string{"key": "uploads/a.csv", "x-amz-meta-" + name: "v"}, time.Now(), "x"))
			if got.status != 400 {
				t.Errorf("form with metadata %q: %s, want 400", name, got)
			}
		}
		for _, value := range []string{"a\x00b", "a\r\nSet-Cookie: b", "\xff", "a\x7f", strings.Repeat("a", 2048)} {
			for _, name := range []string{"x-amz-meta-a", "content-type", "content-disposition", "cache-control"} {
				if value == "\xff" && name != "x-amz-meta-a" {
					continue
				}
				if name != "x-amz-meta-a" && len(value) == 2048 {
					value += "a"
				}
				if got := e.ask(t, form(t, map[string]string{"key": "uploads/a.csv", name: value}, time.Now(), "x")); got.status != 400 {
					t.Errorf("form with %s: %.40q: %s, want 400", name, value, got)
				}
			}
		}
		for _, header := range []map[string]string{
			{"X-Amz-Meta-A": strings.Repeat("a", 2048)}, {"X-Amz-Meta-A": strings.Repeat("a", 1024), "X-Amz-Meta-B": strings.Repeat("b", 1024)}, {"X-Amz-Meta-A": "\xff"},
			{"X-Amz-Meta-": "x"}, {"X-Amz-Tagging": "a=1&b=2&c=3&d=4&e=5&f=6&g=7&h=8&i=9&j=10&k=11"}, {"X-Amz-Tagging": "a=%00"}, {"X-Amz-Tagging": strings.Repeat("a", 129) + "=b"},
		} {
			for _, r := range []request{{method: "PUT", path: "/uploads/uploads/a.csv", body: "x"}, {method: "POST", path: "/uploads/uploads/a.csv", query: "uploads="}} {
				r.by, r.header = uploader, header
				if got := e.ask(t, r); got.status != 400 {
					t.Errorf("%s with %.60v: %s, want 400", r.method, header, got)
				}
			}
		}
		if after := tree(t, base); after != before {
			t.Errorf("files changed:\n%s\nbefore:\n%s", after, before)
		}
		got := e.ask(t, form(t, map[string]string{"key": "uploads/a.csv", "x-amz-meta-on-error": "abort, \u00fcber", "x-amz-meta-!#$%&'*+.^_`|~9": "odd"}, time.Now(), "x"))
		head, err := e.s3.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: aws.String("uploads/a.csv")})
		if got.status != 204 || err != nil || head.Metadata["on-error"] != "abort, \u00fcber" || head.Metadata["!#$%&'*+.^_`|~9"] != "odd" {
			t.Errorf("metadata = %v, %v after %s", head, err, got)
		}
	}
}

// TestChunks: what is not made of chunks is a client's fault, and leaves nothing.
func TestChunks(t *testing.T) {
	t.Parallel()
	e, base := guarded(t)
	before := tree(t, base)
	const signature = ";chunk-signature=0000000000000000000000000000000000000000000000000000000000000000"
	for _, size := range []string{"-5", "-0", "+5", "0x5", "", " 5", "5 ", "8000000000000000", "7fffffffffffffff", "ffffffffffffffffffffffff", "zz", "5;5", "-8000000000000000", strings.Repeat("0", 5000) + "5"} {
		for payload, head := range map[string]string{
			"STREAMING-AWS4-HMAC-SHA256-PAYLOAD": size + signature, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": size + signature, "STREAMING-UNSIGNED-PAYLOAD-TRAILER": size,
		} {
			for _, query := range []string{"", "partNumber=1&uploadId=" + someID} {
				got := e.ask(t, request{method: "PUT", path: "/uploads/uploads/a.csv", query: query, by: uploader, body: head + "\r\nhello\r\n" + head + "\r\nhello\r\n0\r\n\r\n", header: map[string]string{
					"X-Amz-Content-Sha256": payload, "X-Amz-Decoded-Content-Length": "5", "Content-Encoding": "aws-chunked", "X-Amz-Trailer": "x-amz-checksum-crc32",
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
		for _, payload := range []string{"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"} {
			got := e.ask(t, request{method: "PUT", path: "/uploads/uploads/a.csv", by: uploader, body: body, header: map[string]string{
				"X-Amz-Content-Sha256": payload, "X-Amz-Decoded-Content-Length": "5", "X-Amz-Trailer": "x-amz-checksum-crc32",
			}})
			if got.status != 400 && got.status != 403 {
				t.Errorf("%s in %s: %s, want 400 or 403", name, payload, got)
			}
		}
	}
	for _, length := range []string{"-5", "x", "99999999999999999999"} {
		got := e.ask(t, request{method: "PUT", path: "/uploads/uploads/a.csv", by: uploader, body: "0\r\n\r\n", header: map[string]string{
			"X-Amz-Content-Sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length": length,
		}})
		if got.status != 400 {
			t.Errorf("a decoded length of %s: %s, want 400", length, got)
		}
	}
	if after := tree(t, base); after != before {
		t.Errorf("files changed:\n%s\nbefore:\n%s", after, before)
	}
}

// TestSignaturesOfTheFuture are not valid yet.
func TestSignaturesOfTheFuture(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.put(t, "drafts/a.csv", "x")
	for ahead, want := range map[time.Duration]int{0: 200, 10 * time.Minute: 200, 20 * time.Minute: 403, 25 * time.Hour: 403} {
		signed, err := s3.NewPresignClient(e.s3, func(o *s3.PresignOptions) { o.Presigner = at{time.Now().Add(ahead)} }).
			PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String("drafts/a.csv")})
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, signed.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("a URL signed %s ahead: %d, want %d", ahead, resp.StatusCode, want)
		}
		if want == 200 {
			want = 204
		}
		if got := e.ask(t, form(t, map[string]string{"key": "drafts/b.csv"}, time.Now().Add(ahead), "x")); got.status != want {
			t.Errorf("a form signed %s ahead: %s, want %d", ahead, got, want)
		}
		got := e.ask(t, request{method: "GET", path: "/uploads/drafts/a.csv", by: uploader, at: time.Now().Add(ahead)})
		if (got.status == 200) != (want == 204) {
			t.Errorf("a header signed %s ahead: %s", ahead, got)
		}
	}
}

// TestStartOnABrokenFolder: requests to earlier releases could leave anything in the gateway's own folder.
func TestStartOnABrokenFolder(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.put(t, "uploads/kept.csv", "kept")
	e.put(t, "uploads/renamed.csv", "x")
	mp := e.parts(t, "uploads/parts.csv", payload(5<<20), payload(7))
	stop(t, e.Gateway)
	objects := filepath.Join(e.cfg.Dir, "objects")
	staging := filepath.Join(objects, bucket, ".sgwtmp")
	for _, name := range []string{
		staging + "/multipart/x", staging + "/file", staging + "/folder/x", staging + "/multipart/folder/x", staging + "/multipart/folder/x.inprogress/y",
		objects + "/" + bucket + "/uploads/bad\xff/x.csv", objects + "/" + bucket + "/uploads/bad\xff.csv", objects + "/file", objects + "/Not A Bucket/x",
	} {
		mkdir(t, filepath.Dir(name))
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(objects, bucket, "uploads", "renamed.csv"), filepath.Join(objects, bucket, "uploads", "a\x01.csv")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/", filepath.Join(staging, "multipart", "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(objects, "reports", ".sgwtmp")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(objects, "reports", ".sgwtmp"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	again := open(t, e.cfg, e.recorder)
	if _, err := again.s3.CompleteMultipartUpload(t.Context(), mp); err != nil {
		t.Errorf("completing an upload of before: %v", err)
	}
	if _, err := again.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("reports"), Key: aws.String("a"), Body: strings.NewReader("x")}); err != nil {
		t.Errorf("storing where a file was in the way: %v", err)
	}
	for _, prefix := range []string{"", "uploads/"} {
		list, err := again.s3.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String(bucket), Prefix: &prefix})
		var keys []string
		if err == nil {
			for _, o := range list.Contents {
				keys = append(keys, *o.Key)
			}
		}
		if err != nil || !slices.Contains(keys, "uploads/kept.csv") || !slices.Contains(keys, "uploads/parts.csv") {
			t.Errorf("listing %q: %v, %q", prefix, err, keys)
		}
	}
	if v1, err := again.s3.ListObjects(t.Context(), &s3.ListObjectsInput{Bucket: aws.String(bucket)}); err != nil || len(v1.Contents) < 2 {
		t.Errorf("listing by the old operation: %v, %v", v1, err)
	}
	if found := again.objects(t); len(found) != 2 {
		t.Errorf("found %v, want the two that have a key", found)
	}
	if n, err := again.AbortIncompleteUploads(t.Context(), bucket, time.Now().Add(time.Hour)); err != nil {
		t.Errorf("aborting unfinished uploads: %d, %v", n, err)
	}
	if left, err := filepath.Glob(filepath.Join(objects, ".set-aside", "*")); err != nil || len(left) != 2 {
		t.Errorf("set aside: %v, %v; want the folder and the file that were in the way", left, err)
	}
}

// TestMetadataBesideKeysThatLookLikeIt: where metadata is kept beside the objects, it is in folders called "meta".
func TestMetadataBesideKeysThatLookLikeIt(t *testing.T) {
	t.Parallel()
	e := start(t, func(c *gateway.Config) { mkdir(t, c.Dir, "metadata") })
	keys := []string{"meta/acl", "meta/etag", "meta/meta/etag", "uploads/", "uploads/meta/etag", "uploads/meta/meta", "uploads/meta~/x", "uploads/meta~~/meta/etag", "meta~"}
	put := func(key string) {
		t.Helper()
		body := key
		if strings.HasSuffix(key, "/") {
			body = ""
		}
		if _, err := e.s3.PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: aws.String(bucket), Key: &key, Body: strings.NewReader(body), Metadata: map[string]string{"key": key},
		}); err != nil {
			t.Errorf("PutObject(%q): %v", key, err)
		}
	}
	check := func(when string) {
		t.Helper()
		for _, key := range keys {
			head, err := e.s3.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: &key})
			if err != nil || head.Metadata["key"] != key {
				t.Errorf("%s: %q has the metadata %v, %v", when, key, head, err)
			}
		}
	}
	for _, key := range keys {
		put(key)
	}
	check("stored")
	for _, key := range slices.Backward(keys) {
		put(key)
	}
	check("stored again")
	for _, key := range []string{"meta/etag", "uploads/", "uploads/meta/etag"} {
		if _, err := e.s3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: &key}); err != nil {
			t.Errorf("DeleteObject(%q): %v", key, err)
		}
		keys = slices.DeleteFunc(keys, func(k string) bool { return k == key })
	}
	check("after others were deleted")
}

// at presigns as if it were another time.
type at struct{ time time.Time }

func (a at) PresignHTTP(ctx context.Context, credential aws.Credentials, r *http.Request, hash, service, region string, _ time.Time, options ...func(*v4.SignerOptions)) (string, http.Header, error) {
	return v4.NewSigner().PresignHTTP(ctx, credential, r, hash, service, region, a.time, options...)
}
