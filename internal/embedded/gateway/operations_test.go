package gateway_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/flavorless/flavorless/internal/embedded/gateway"
)

// TestOnlyListedOperations tries all methods and subresources that versitygw knows, and some others. Only those that an
// uploader needs are allowed.
func TestOnlyListedOperations(t *testing.T) {
	t.Parallel()
	srv, base := startGuarded(t)
	srv.put(t, "uploads/other.csv", "x")
	allowed := map[string]bool{}
	for _, o := range []string{
		"GET / ", "GET /uploads ", "GET /uploads list-type=2", "GET /uploads location=", "GET /uploads versioning=",
		"GET /uploads uploads=", "HEAD /uploads ", "GET /uploads/uploads/kept.csv ", "HEAD /uploads/uploads/kept.csv ",
		"GET /uploads/uploads/kept.csv partNumber=1", "HEAD /uploads/uploads/kept.csv partNumber=1",
		"GET /uploads/uploads/kept.csv attributes=", "GET /uploads/uploads/kept.csv tagging=",
		"GET /uploads/uploads/kept.csv uploadId=", "PUT /uploads/uploads/kept.csv ",
		"PUT /uploads/uploads/kept.csv tagging=", "PUT /uploads/uploads/kept.csv uploadId=",
		"PUT /uploads/uploads/kept.csv partNumber=1", "POST /uploads ", "POST /uploads delete=",
		"POST /uploads/uploads/kept.csv uploads=", "POST /uploads/uploads/kept.csv uploadId=",
		"DELETE /uploads/uploads/kept.csv ", "DELETE /uploads/uploads/kept.csv tagging=",
		"DELETE /uploads/uploads/kept.csv uploadId=",
		"PUT /uploads ", // answers 409
	} {
		allowed[o] = true
	}
	before := tree(t, base)
	queries := []string{"", "list-type=2", "partNumber=1", "select=&select-type=2", "other=", "policy=&list-type=2",
		"prefix=a&acl=", "POLICY=", "poli%63y=", "=x"}
	for _, name := range []string{
		"accelerate", "acl", "analytics", "attributes", "cors", "delete", "encryption", "intelligent-tiering", "inventory",
		"legal-hold", "lifecycle", "location", "logging", "metadataTable", "metrics", "notification", "object-lock",
		"ownershipControls", "policy", "policyStatus", "publicAccessBlock", "replication", "requestPayment", "restore",
		"retention", "select", "session", "tagging", "torrent", "uploadId", "uploads", "versioning", "versions", "website",
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
				got := srv.send(t, request{method: method, path: path, query: query,
					header: headers{"Origin": "https://evil.example"}})
				if got.status != http.StatusForbidden && (got.status != http.StatusMethodNotAllowed || method != "TRACE") {
					t.Errorf("%s: %s, want 403", o, got)
				}
			}
		}
	}
	if checked < 900 {
		t.Errorf("tried %d requests, want at least 900", checked)
	}
	// versitygw's administration
	for _, path := range []string{"/create-user", "/list-users", "/list-buckets", "/uploads/create", "/health"} {
		if got := srv.send(t, request{method: "PATCH", path: path}); got.status != http.StatusForbidden {
			t.Errorf("PATCH %s: %s, want 403", path, got)
		}
	}
	checkUnchanged(t, base, before)
	for o := range allowed {
		parts := strings.SplitN(o, " ", 3)
		r := request{method: parts[0], path: parts[1], query: parts[2], header: headers{"X-Amz-Object-Attributes": "ETag"}}
		if r.query == "tagging=" && r.method == "PUT" {
			r.body = tagging
		}
		if got := srv.send(t, r); got.status == http.StatusForbidden || got.status >= 500 {
			t.Errorf("%s: %s, want it allowed", o, got)
		}
		r.unsigned = true
		if got := srv.send(t, r); got.status < 400 {
			t.Errorf("%s without a signature: %s, want an error", o, got)
		}
	}
}

func TestCreateBucket(t *testing.T) {
	t.Parallel()
	srv := start(t)
	for name, want := range map[string]string{bucket: "BucketAlreadyOwnedByYou", "reports": "BucketAlreadyOwnedByYou",
		"another": "AccessDenied"} {
		_, err := srv.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name})
		if code(err) != want {
			t.Errorf("creating %s: %v, want %s", name, err, want)
		}
	}
	list, err := srv.s3.ListBuckets(t.Context(), &s3.ListBucketsInput{})
	if err != nil || len(list.Buckets) != 2 {
		t.Errorf("buckets = %v, %v; want two", list.Buckets, err)
	}
}

// TestReadOnlyBuckets checks that only the server may write to read-only buckets, and the uploader may read them.
func TestReadOnlyBuckets(t *testing.T) {
	t.Parallel()
	srv := start(t, func(c *gateway.Config) { c.ReadOnly = []string{"reports"} })
	for access, want := range map[string]bool{srv.ServerCredential().AccessKey: true, uploader.AccessKey: false,
		"": false, "another": false} {
		if err := gateway.AuthorizeWrite(srv.Gateway, access, "reports"); (err == nil) != want {
			t.Errorf("AuthorizeWrite(%q) = %v, want success: %t", access, err, want)
		}
	}
	reports, key := aws.String("reports"), aws.String("a/rejects.ndjson")
	server := srv.as(srv.ServerCredential())
	if _, err := server.PutObject(t.Context(), &s3.PutObjectInput{Bucket: reports, Key: key,
		Body: strings.NewReader("report")}); err != nil {
		t.Fatal(err)
	}
	mp, err := server.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: reports,
		Key: aws.String("b")})
	if err != nil {
		t.Fatal(err)
	}
	srv.put(t, "uploads/a.csv", "x")
	before := tree(t, filepath.Join(srv.cfg.Dir, "objects", "reports"))
	for name, r := range operationsOn("/reports/" + *key) {
		if name == "get" || name == "head" || name == "attributes" || name == "get tags" || name == "parts" ||
			name == "copy from" {
			continue
		}
		for _, id := range []string{unknownID, *mp.UploadId} {
			r.query = strings.Replace(r.query, unknownID, id, 1)
			if strings.Contains(r.query, *mp.UploadId) {
				r.path = "/reports/b"
			}
			if got := srv.send(t, r); got.status != 403 || got.code != "AccessDenied" {
				t.Errorf("%s: %s, want 403 AccessDenied", name, got)
			}
		}
	}
	body := "<Delete><Object><Key>" + *key + "</Key></Object></Delete>"
	if got := srv.send(t, request{method: "POST", path: "/reports", query: "delete=", body: body,
		header: md5Header(body)}); got.status != 403 && !strings.Contains(got.body, "AccessDenied") {
		t.Errorf("DeleteObjects: %s %s, want AccessDenied", got, got.body)
	}
	r := form(t, headers{"key": "c"}, time.Now(), "evil")
	r.path = "/reports"
	if got := srv.send(t, r); got.status != 403 {
		t.Errorf("form: %s, want 403", got)
	}
	checkUnchanged(t, filepath.Join(srv.cfg.Dir, "objects", "reports"), before)
	out, err := srv.s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: reports, Key: key})
	if err != nil || read(t, out.Body) != "report" {
		t.Errorf("uploader reads a report: %v, want its content", err)
	}
	list, err := srv.s3.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: reports})
	if err != nil || len(list.Contents) != 1 {
		t.Errorf("uploader lists reports: %v, %v; want one", list, err)
	}
	if _, err := srv.s3.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: reports, Key: key}); err != nil {
		t.Errorf("uploader reads the headers of a report: %v, want success", err)
	}
	if err := srv.copy(t, "reports/"+*key, "drafts/r"); err != nil {
		t.Errorf("uploader copies a report to its own bucket: %v, want success", err)
	}
	if _, err := server.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: reports, Key: key}); err != nil {
		t.Errorf("server deletes a report: %v, want success", err)
	}
}

// TestServerCredential checks that the credential is different after each start, and is not stored.
func TestServerCredential(t *testing.T) {
	t.Parallel()
	srv, base := startGuarded(t)
	own := srv.ServerCredential()
	if _, err := srv.as(own).PutObject(t.Context(), &s3.PutObjectInput{Bucket: uploads, Key: aws.String("drafts/a"),
		Body: strings.NewReader("x")}); err != nil {
		t.Fatal(err)
	}
	if files := tree(t, base); strings.Contains(files, own.AccessKey) || strings.Contains(files, own.SecretKey) {
		t.Error("the credential is stored on the disk")
	}
	stop(t, srv.Gateway)
	restarted := open(t, srv.cfg, srv.recorder)
	if restarted.ServerCredential() == own {
		t.Error("ServerCredential is the same after a restart")
	}
	for name, by := range map[string]gateway.Credential{
		"the one of the start before": own, "an unknown one": {AccessKey: "AKIAUNKNOWN", SecretKey: "x"},
	} {
		got := restarted.send(t, request{method: "GET", path: "/uploads", by: by})
		if got.status != 403 || got.code != "InvalidAccessKeyId" {
			t.Errorf("%s: %s, want 403 InvalidAccessKeyId", name, got)
		}
	}
	for name, by := range map[string]gateway.Credential{
		"the uploader's secret": {AccessKey: restarted.ServerCredential().AccessKey, SecretKey: uploader.SecretKey},
		"no secret":             {AccessKey: uploader.AccessKey},
	} {
		if got := restarted.send(t, request{method: "GET", path: "/uploads", by: by}); got.status != 403 ||
			got.code != "SignatureDoesNotMatch" {
			t.Errorf("%s: %s, want 403 SignatureDoesNotMatch", name, got)
		}
	}
}

// TestStoredBucketConfigurationIsIgnored starts with a policy that an uploader stored in an earlier release, which
// applied it.
func TestStoredBucketConfigurationIsIgnored(t *testing.T) {
	t.Parallel()
	srv := start(t, func(c *gateway.Config) { mkdir(t, c.Dir, "metadata"); c.ReadOnly = []string{"reports"} })
	srv.put(t, "uploads/a.csv", "x")
	stop(t, srv.Gateway)
	for _, b := range []string{bucket, "reports"} {
		for name, text := range map[string]string{
			"policy": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*",` +
				`"Resource":["arn:aws:s3:::` + b + `","arn:aws:s3:::` + b + `/*"]}]}`,
			"acl": `{"Owner":"local","Grantees":[{"Permission":"FULL_CONTROL","Access":"local","Type":"CanonicalUser"},` +
				`{"Permission":"READ","Access":"all-users","Type":"Group"},` +
				`{"Permission":"WRITE","Access":"all-users","Type":"Group"}]}`,
			"cors": `<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin>` +
				`<AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>`,
			"bucket-lock": `{"Enabled":true}`,
		} {
			if err := os.WriteFile(filepath.Join(srv.cfg.Dir, "metadata", b, "meta", name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	restarted := open(t, srv.cfg, srv.recorder)
	for _, r := range []request{
		{method: "GET", path: "/uploads"}, {method: "GET", path: "/uploads/uploads/a.csv"},
		{method: "PUT", path: "/uploads/uploads/b.csv", body: "x"},
		{method: "DELETE", path: "/uploads/uploads/a.csv"}, {method: "GET", path: "/reports"},
	} {
		r.unsigned = true
		if got := restarted.send(t, r); got.status != 403 {
			t.Errorf("%s %s without a signature: %s, want 403", r.method, r.path, got)
		}
	}
	if got := restarted.send(t, request{method: "PUT", path: "/reports/x", body: "x"}); got.status != 403 {
		t.Errorf("the uploader writes to reports: %s, want 403", got)
	}
	got := restarted.send(t, request{method: "OPTIONS", path: "/uploads/uploads/a.csv", unsigned: true,
		header: headers{"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}})
	if got.status != 403 || got.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("preflight: %s %v, want 403 without an allowed origin", got, got.header)
	}
}

// TestRefusedOptions checks that options that the gateway can't honor are refused.
func TestRefusedOptions(t *testing.T) {
	t.Parallel()
	srv := start(t)
	srv.put(t, "drafts/a.csv", "x")
	const acls, locked, none = "AccessControlListNotSupported", "InvalidRequest", "NotImplemented"
	for _, option := range []struct{ name, value, want string }{
		{"x-amz-acl", "public-read", acls}, {"x-amz-acl", "public-read-write", acls},
		{"x-amz-acl", "authenticated-read", acls}, {"X-AMZ-ACL", "nonsense", acls},
		{"x-amz-grant-read", `uri="http://acs.amazonaws.com/groups/global/AllUsers"`, acls},
		{"x-amz-grant-full-control", "id=x", acls}, {"x-amz-grant-write-acp", "id=x", acls},
		{"x-amz-object-lock-mode", "COMPLIANCE", locked}, {"x-amz-object-lock-retain-until-date", "2099-01-01T00:00:00Z",
			locked}, {"x-amz-object-lock-legal-hold", "ON", locked},
		{"x-amz-server-side-encryption", "AES256", none}, {"x-amz-server-side-encryption", "aws:kms", none},
		{"x-amz-server-side-encryption-aws-kms-key-id", "k", none},
		{"x-amz-server-side-encryption-customer-algorithm", "AES256", none},
		{"x-amz-server-side-encryption-customer-key", "k", none},
		{"x-amz-copy-source-server-side-encryption-customer-key", "k", none},
		{"x-amz-website-redirect-location", "https://evil.example/", none},
	} {
		for _, r := range []request{
			{method: "PUT", path: "/uploads/uploads/a.csv", body: "x"}, {method: "POST", path: "/uploads/uploads/a.csv",
				query: "uploads="},
			{method: "PUT", path: "/uploads/uploads/a.csv", header: headers{"X-Amz-Copy-Source": "uploads/drafts/a.csv"}},
			// as in presigned URLs
			{method: "PUT", path: "/uploads/uploads/a.csv", query: strings.ToLower(option.name) + "=" +
				escapeQuery(option.value), body: "x"},
		} {
			if !strings.Contains(r.query, "amz") {
				header := headers{option.name: option.value}
				for name, value := range r.header {
					header[name] = value
				}
				r.header = header
			}
			if got := srv.send(t, r); got.code != option.want {
				t.Errorf("%s %s?%s with %s: %s: %s, want %s", r.method, r.path, r.query, option.name, option.value, got,
					option.want)
			}
		}
		name := strings.ToLower(option.name)
		if got := srv.send(t, form(t, headers{"key": "uploads/a.csv", name: option.value}, time.Now(),
			"x")); got.code != option.want {
			t.Errorf("form with %s: %s: %s, want %s", name, option.value, got, option.want)
		}
	}
	if got := srv.send(t, form(t, headers{"key": "uploads/a.csv", "acl": "public-read"}, time.Now(),
		"x")); got.code != acls {
		t.Errorf("form with acl=public-read: %s, want %s", got, acls)
	}
	srv.checkNothingAnnounced(t, 0)
	for _, acl := range []types.ObjectCannedACL{types.ObjectCannedACLPrivate,
		types.ObjectCannedACLBucketOwnerFullControl} {
		if _, err := srv.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: uploads, Key: aws.String("drafts/b"),
			ACL: acl, Body: strings.NewReader("x")}); err != nil {
			t.Errorf("ACL %s: %v, want it accepted", acl, err)
		}
	}
}
