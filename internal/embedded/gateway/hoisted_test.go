package gateway_test

import (
	"crypto/md5"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/go-cmp/cmp"
)

func TestHoistedHeaders(t *testing.T) {
	t.Parallel()
	srv := start(t)
	for name, test := range map[string]struct {
		query    string
		header   map[string]string
		metadata map[string]string
		tags     int32
		status   int
	}{
		"metadata":        {query: "x-amz-meta-on-error=abort", metadata: headers{"on-error": "abort"}, status: 200},
		"in another case": {query: "X-Amz-Meta-On-Error=abort", metadata: headers{"on-error": "abort"}, status: 200},
		"several": {query: "x-amz-meta-mode=snapshot&x-amz-meta-max-removals=5%25",
			metadata: headers{"mode": "snapshot", "max-removals": "5%"}, status: 200},
		"as JavaScript does": {query: noData + "&x-amz-meta-a=b+c&x-id=PutObject", metadata: headers{"a": "b c"},
			status: 200},
		"no metadata":           {query: noData, status: 200},
		"tags":                  {query: "x-amz-tagging=a%3Db%26c%3Dd", tags: 2, status: 200},
		"ACL":                   {query: "x-amz-acl=private", status: 200},
		"public ACL":            {query: "x-amz-acl=public-read", status: 400},
		"grant":                 {query: "x-amz-grant-read=id%3D1", status: 400},
		"encryption":            {query: "x-amz-server-side-encryption=AES256", status: 501},
		"customer's encryption": {query: "x-amz-server-side-encryption-customer-algorithm=AES256", status: 501},
		"lock":                  {query: "x-amz-object-lock-mode=GOVERNANCE", status: 400},
		"website":               {query: "x-amz-website-redirect-location=%2Fx", status: 501},
		"another owner":         {query: "x-amz-expected-bucket-owner=somebody", status: 403},
		"storage class":         {query: "x-amz-storage-class=STANDARD", status: 200},
		"another storage class": {query: "x-amz-storage-class=GLACIER", status: 400},
		"checksum":              {query: "x-amz-checksum-crc32=" + url.QueryEscape(crcOf(hoistedBody)), status: 200},
		"wrong checksum":        {query: "x-amz-checksum-crc32=AAAAAQ%3D%3D", status: 400},
		"no checksum":           {query: "x-amz-checksum-crc32=AAAA", status: 400},
		"algorithm alone":       {query: "x-amz-sdk-checksum-algorithm=CRC32", status: 400},
		"wrong SHA-256": {query: "x-amz-checksum-sha256=" +
			url.QueryEscape("48DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="), status: 400},
		"SHA-256 of no data": {query: "x-amz-checksum-sha256=" +
			url.QueryEscape("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=") + "&x-amz-sdk-checksum-algorithm=SHA256",
			status: 200},
		"copy":              {query: "x-amz-copy-source=uploads%2Fuploads%2Fkept.csv", status: 400},
		"chunks":            {query: "x-amz-decoded-content-length=5", status: 400},
		"trailer":           {query: "x-amz-trailer=x-amz-checksum-crc32", status: 400},
		"no payload's hash": {query: "x-amz-content-sha256=UNSIGNED-PAYLOAD", status: 200},
		"a payload's hash":  {query: "x-amz-content-sha256=" + strings.Repeat("0", 64), status: 400},
		"given twice":       {query: "x-amz-meta-a=1&X-Amz-Meta-A=1", status: 400},
		"header, too": {query: "x-amz-meta-a=1", header: headers{"X-Amz-Meta-A": "1"},
			metadata: headers{"a": "1"}, status: 200},
		"another header": {query: "x-amz-meta-a=1", header: headers{"X-Amz-Meta-A": "2"}, status: 400},
		"another name's header": {query: "x-amz-meta-a=1", header: headers{"X-Amz-Meta-B": "2"},
			metadata: headers{"a": "1", "b": "2"}, status: 200},
		"a line end":           {query: "x-amz-meta-a=1%0D%0Ax-amz-acl:%20public-read", status: 400},
		"a line end in a name": {query: "x-amz-meta-a%0D%0Ab=1", status: 400},
		"too much":             {query: "x-amz-meta-a=" + strings.Repeat("a", 2100), status: 400},
	} {
		key := "uploads/" + strings.ReplaceAll(name, " ", "-") + ".csv"
		got := srv.sendPresigned(t, request{method: "PUT", path: "/uploads/" + escape(key), query: test.query,
			header: test.header, body: hoistedBody})
		if got.status != test.status {
			t.Errorf("%s: %s, want %d: %s", name, got, test.status, got.body)
			continue
		}
		out, err := srv.head(t, key)
		if test.status != 200 {
			if status(err) != 404 {
				t.Errorf("%s: HeadObject after the refusal: %v, want 404", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(test.metadata, out.Metadata, cmp.Transformer("empty",
			func(m map[string]string) map[string]string {
				if len(m) == 0 {
					return nil
				}
				return m
			})); diff != "" {
			t.Errorf("%s: metadata (-want +got):\n%s", name, diff)
		}
		if got := aws.ToInt32(out.TagCount); got != test.tags {
			t.Errorf("%s: %d tags, want %d", name, got, test.tags)
		}
	}
}

// TestHoistedHeadersOfOtherOperations tests multipart uploads, and requests that are not presigned.
func TestHoistedHeadersOfOtherOperations(t *testing.T) {
	t.Parallel()
	srv := start(t)
	path := "/uploads/uploads/parts.csv"
	begun := srv.sendPresigned(t, request{method: "POST", path: path, query: "uploads=&x-amz-meta-on-error=abort"})
	_, id, _ := strings.Cut(begun.body, "<UploadId>")
	id, _, _ = strings.Cut(id, "</UploadId>")
	if begun.status != 200 {
		t.Fatalf("CreateMultipartUpload: %s, want 200", begun)
	}
	part := srv.sendPresigned(t, request{method: "PUT", path: path, query: noData + "&partNumber=1&uploadId=" + id,
		body: hoistedBody})
	if part.status != 200 {
		t.Fatalf("UploadPart: %s %s, want 200", part, part.body)
	}
	if got := srv.sendPresigned(t, request{method: "PUT", path: path,
		query: "x-amz-checksum-crc32=AAAAAQ%3D%3D&partNumber=2&uploadId=" + id, body: hoistedBody}); got.status != 400 {
		t.Errorf("part with a wrong checksum: %s, want 400", got)
	}
	done := `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>` + part.header.Get("Etag") +
		`</ETag></Part></CompleteMultipartUpload>`
	if got := srv.sendPresigned(t, request{method: "POST", path: path, query: "uploadId=" + id,
		body: done}); got.status != 200 {
		t.Fatalf("CompleteMultipartUpload: %s %s, want 200", got, got.body)
	}
	got := srv.sendPresigned(t, request{method: "GET", path: path, query: "x-amz-checksum-mode=ENABLED"})
	if got.status != 200 || got.body != hoistedBody || got.header.Get("X-Amz-Meta-On-Error") != "abort" {
		t.Errorf("GET: %s, metadata %q, body %q; want 200, abort and what was stored", got,
			got.header.Get("X-Amz-Meta-On-Error"), got.body)
	}
	for name, r := range map[string]request{
		"signed header": {method: "PUT", path: path, query: "x-amz-meta-a=1", body: "x"},
		"deletion": {method: "POST", path: "/uploads", query: "delete=&x-amz-checksum-crc32=AAAAAQ%3D%3D",
			body: "<Delete/>", header: md5Header("<Delete/>")},
		"chunked body": {method: "PUT", path: path,
			header: headers{"X-Amz-Content-Sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}},
		"unsigned query": {method: "PUT", path: path, query: "x-amz-meta-a=1", body: "x", unsigned: true},
	} {
		var got answer
		if name == "signed header" || name == "unsigned query" {
			got = srv.send(t, r)
		} else {
			got = srv.sendPresigned(t, r)
		}
		if got.status != 400 {
			t.Errorf("%s: %s, want 400", name, got)
		}
	}
	srv.checkContent(t, "uploads/parts.csv", hoistedBody)
}

// TestHoistedStandardHeaders tests headers that version 2 of the AWS SDK for JavaScript moves into the query.
func TestHoistedStandardHeaders(t *testing.T) {
	t.Parallel()
	srv := start(t)
	sum := md5.Sum([]byte(hoistedBody))
	right := url.QueryEscape(base64.StdEncoding.EncodeToString(sum[:]))
	for name, test := range map[string]struct {
		query, header, want string // the stored header
		signed              map[string]string
		status              int
	}{
		"type":               {query: "Content-Type=text%2Fcsv", header: "Content-Type", want: "text/csv", status: 200},
		"type in lower case": {query: "content-type=text%2Fcsv", header: "Content-Type", want: "text/csv", status: 200},
		"type, sent as well": {query: "Content-Type=text%2Fcsv", signed: headers{"Content-Type": "text/csv"},
			header: "Content-Type", want: "text/csv", status: 200},
		"type, sent another": {query: "Content-Type=text%2Fcsv", signed: headers{"Content-Type": "text/plain"}, status: 400},
		"cache":              {query: "Cache-Control=no-store", header: "Cache-Control", want: "no-store", status: 200},
		"encoding":           {query: "Content-Encoding=br", header: "Content-Encoding", want: "br", status: 200},
		"disposition": {query: "Content-Disposition=attachment", header: "Content-Disposition",
			want: "attachment", status: 200},
		"language":         {query: "Content-Language=en", header: "Content-Language", want: "en", status: 200},
		"expires":          {query: "Expires=Thu%2C%2001%20Dec%202033%2016%3A00%3A00%20GMT", status: 400},
		"length":           {query: "Content-Length=" + strconv.Itoa(len(hoistedBody)), status: 200},
		"another length":   {query: "Content-Length=5", status: 400},
		"MD5":              {query: "Content-MD5=" + right, status: 200},
		"wrong MD5":        {query: "Content-MD5=" + url.QueryEscape("1B2M2Y8AsgTpgAmY7PhCfg=="), status: 400},
		"no MD5":           {query: "Content-MD5=x", status: 400},
		"if there is none": {query: "If-None-Match=*", status: 200},
		"if there is one":  {query: "if-match=%22x%22", status: 404},
		"cache, sent another": {query: "Cache-Control=no-store", signed: headers{"Cache-Control": "no-cache"},
			status: 400},
		"type given twice":        {query: "Content-Type=a%2Fb&content-type=a%2Fb", status: 400},
		"a line end":              {query: "Cache-Control=a%0D%0Ax-amz-acl:%20public-read", status: 400},
		"a header that is no one": {query: "Content-Other=a", status: 403},
	} {
		key := "uploads/" + strings.ReplaceAll(name, " ", "-") + ".csv"
		got := srv.sendPresigned(t, request{method: "PUT", path: "/uploads/" + escape(key), query: test.query,
			body: hoistedBody, header: test.signed})
		if got.status != test.status {
			t.Errorf("%s: %s, want %d: %s", name, got, test.status, got.body)
			continue
		}
		if test.status != 200 {
			continue
		}
		stored := srv.sendPresigned(t, request{method: "GET", path: "/uploads/" + escape(key)})
		if stored.status != 200 || stored.body != hoistedBody || stored.header.Get(test.header) != test.want {
			t.Errorf("%s: %s, %q, want %q", name, stored, stored.header.Get(test.header), test.want)
		}
	}
	// An unsigned Content-Type may differ; the one in the query is stored.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut,
		"http://"+srv.Addr()+"/uploads/uploads/own.csv?X-Amz-Expires=900&Content-Type=text%2Fcsv", nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, headers, err := v4.NewSigner().PresignHTTP(t.Context(),
		aws.Credentials{AccessKeyID: uploader.AccessKey, SecretAccessKey: uploader.SecretKey},
		req, "UNSIGNED-PAYLOAD", "s3", "us-east-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	headers.Set("Content-Type", "text/plain")
	if got := srv.sendSigned(t, http.MethodPut, signed, headers, hoistedBody); got.status != 200 {
		t.Errorf("unsigned Content-Type: %s %s, want 200", got, got.body)
	}
	if head, err := srv.head(t, "uploads/own.csv"); err != nil || *head.ContentType != "text/csv" {
		t.Errorf("an unsigned type: %v, %v, want text/csv", head, err)
	}
	srv.put(t, "uploads/there.csv", "x")
	if got := srv.sendPresigned(t, request{method: "PUT", path: "/uploads/uploads/there.csv", query: "If-None-Match=*",
		body: "y"}); got.status != 412 {
		t.Errorf("If-None-Match in the query: %s, want 412", got)
	}
	if got := srv.send(t, request{method: "PUT", path: "/uploads/uploads/a.csv", query: "Content-Type=text%2Fcsv",
		body: "y"}); got.status != 400 || !strings.Contains(got.body, "content-type") {
		t.Errorf("not presigned: %s %s, want 400", got, got.body)
	}
}
