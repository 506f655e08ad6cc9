package gateway_test

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/internal/embedded/gateway"
)

// TestContentEncoding: aws-chunked is about the request, and is not stored.
func TestContentEncoding(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]*env{"attributes": start(t), "beside": start(t, beside)} {
		t.Run(name, func(t *testing.T) { testContentEncoding(t, e) })
	}
}

// beside lets a gateway keep metadata beside the objects.
func beside(c *gateway.Config) { _ = os.Mkdir(filepath.Join(c.Dir, "metadata"), 0o700) }

func testContentEncoding(t *testing.T, e *env) {
	for sent, want := range map[string]string{
		"gzip": "gzip", "gzip, aws-chunked": "gzip", "aws-chunked": "", "aws-chunked,gzip": "gzip", "gzip,aws-chunked": "gzip", "AWS-Chunked , gzip": "gzip",
		"gzip, aws-chunked, br": "gzip, br", "aws-chunked, aws-chunked": "", "gzip,br": "gzip,br", "x-aws-chunked": "x-aws-chunked", "": "",
	} {
		put := request{method: "PUT", path: "/" + bucket + "/uploads/put", body: "x", by: uploader, header: map[string]string{"Content-Encoding": sent}}
		begin := request{method: "POST", path: "/" + bucket + "/uploads/parts", query: "uploads=", by: uploader, header: map[string]string{"Content-Encoding": sent}}
		if got := e.ask(t, put); got.status != 200 {
			t.Fatalf("PUT with %q: %s", sent, got)
		}
		if got := e.ask(t, form(t, map[string]string{"key": "uploads/form", "Content-Encoding": sent}, time.Now(), "x")); got.status != 204 {
			t.Fatalf("form with %q: %s", sent, got)
		}
		if got := e.ask(t, request{method: "PUT", path: "/" + bucket + "/uploads/copy", by: uploader, header: map[string]string{
			"X-Amz-Copy-Source": "/" + bucket + "/uploads/put", "X-Amz-Metadata-Directive": "REPLACE", "Content-Encoding": sent,
		}}); got.status != 200 {
			t.Fatalf("copy with %q: %s", sent, got)
		}
		id := e.ask(t, begin).upload(t)
		part := e.ask(t, request{method: "PUT", path: begin.path, query: "partNumber=1&uploadId=" + id, body: "x", by: uploader})
		done := `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>` + part.header.Get("Etag") + `</ETag></Part></CompleteMultipartUpload>`
		if got := e.ask(t, request{method: "POST", path: begin.path, query: "uploadId=" + id, body: done, by: uploader}); got.status != 200 {
			t.Fatalf("parts with %q: %s", sent, got)
		}
		for _, key := range []string{"put", "form", "copy", "parts"} {
			got := e.ask(t, request{method: "HEAD", path: "/" + bucket + "/uploads/" + key, by: uploader}).header
			if values, ok := got["Content-Encoding"]; strings.Join(values, "") != want || ok != (want != "") {
				t.Errorf("%s with Content-Encoding %q: stored %q, want %q", key, sent, values, want)
			}
		}
	}
}

// TestReplacedMetadata is gone: what an object is uploaded without, it does not have from the one before.
func TestReplacedMetadata(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]*env{"attributes": start(t), "beside": start(t, beside)} {
		for _, key := range []string{"uploads/a.csv", "uploads/meta/a.csv"} {
			put := &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &key, Body: strings.NewReader("1"), Metadata: map[string]string{"mode": "snapshot"}, Tagging: aws.String("a=b"), CacheControl: aws.String("no-store")}
			if _, err := e.s3.PutObject(t.Context(), put); err != nil {
				t.Fatal(err)
			}
			for again, store := range map[string]func(){
				"PUT":   func() { e.put(t, key, "2") },
				"parts": func() { completeParts(t, e, key) },
			} {
				store()
				head, err := e.s3.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: &key})
				if err != nil || len(head.Metadata) > 0 || aws.ToInt32(head.TagCount) > 0 || head.CacheControl != nil {
					t.Errorf("%s, %s after %s: %v, %+v", name, key, again, err, head)
				}
				if o := e.last(t, key); e.objects(t)[key] != o {
					t.Errorf("%s, %s after %s: announced %+v, found %+v", name, key, again, o, e.objects(t)[key])
				}
				put.Body = strings.NewReader("1")
				if _, err := e.s3.PutObject(t.Context(), put); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// completeParts uploads an object in parts.
func completeParts(t *testing.T, e *env, key string) {
	t.Helper()
	if _, err := e.s3.CompleteMultipartUpload(t.Context(), e.parts(t, key, payload(9))); err != nil {
		t.Fatal(err)
	}
}

// TestSeveralContentEncodings mean what one with commas means.
func TestSeveralContentEncodings(t *testing.T) {
	t.Parallel()
	e := start(t)
	signed, err := s3.NewPresignClient(e.s3).PresignPutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String("uploads/a")})
	if err != nil {
		t.Fatal(err)
	}
	signed.SignedHeader["Content-Encoding"] = []string{"aws-chunked", "gzip", "br"}
	if got := e.follow(t, "PUT", signed.URL, signed.SignedHeader, "x"); got.status != 200 {
		t.Fatalf("PUT: %s %s", got, got.body)
	}
	got := e.ask(t, request{method: "HEAD", path: "/" + bucket + "/uploads/a", by: uploader})
	if encoding := got.header.Get("Content-Encoding"); encoding != "gzip, br" {
		t.Errorf("stored Content-Encoding %q, want %q", encoding, "gzip, br")
	}
}

// upload is the id of an upload that was begun.
func (a answer) upload(t *testing.T) string {
	t.Helper()
	var begun struct{ UploadId string }
	if err := xml.Unmarshal([]byte(a.body), &begun); err != nil || a.status != 200 {
		t.Fatalf("beginning: %s, %v", a, err)
	}
	return begun.UploadId
}

// TestNotModified has the headers that caches need.
func TestNotModified(t *testing.T) {
	t.Parallel()
	e := start(t)
	key := aws.String("uploads/a.csv")
	if _, err := e.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: key, Body: strings.NewReader("x"), CacheControl: aws.String("max-age=60")}); err != nil {
		t.Fatal(err)
	}
	path := "/" + bucket + "/" + *key
	whole := e.ask(t, request{method: "GET", path: path, by: uploader}).header
	etag, modified := whole.Get("Etag"), whole.Get("Last-Modified")
	for _, method := range []string{"GET", "HEAD"} {
		for name, value := range map[string]string{"If-None-Match": etag, "If-Modified-Since": modified} {
			got := e.ask(t, request{method: method, path: path, by: uploader, header: map[string]string{name: value}})
			if got.status != 304 || got.header.Get("Etag") != etag || got.header.Get("Last-Modified") != modified || got.header.Get("Cache-Control") != "max-age=60" || got.body != "" {
				t.Errorf("%s with %s: %s, %v, %q", method, name, got, got.header, got.body)
			}
		}
	}
	got := e.ask(t, request{method: "GET", path: path, by: uploader, header: map[string]string{"If-Unmodified-Since": modified}})
	if got.status != 200 {
		t.Errorf("If-Unmodified-Since: %s, want 200", got)
	}
	// A copy's condition is about another object.
	got = e.ask(t, request{method: "PUT", path: "/" + bucket + "/uploads/b.csv", by: uploader, header: map[string]string{
		"X-Amz-Copy-Source": path, "X-Amz-Copy-Source-If-None-Match": etag,
	}})
	if got.status != 412 || got.header.Get("Etag") != "" {
		t.Errorf("copy: %s, %v", got, got.header)
	}
}

// list is what lists of objects and of uploads have in common.
type list struct {
	EncodingType, Prefix, Delimiter, Marker, NextMarker, StartAfter, KeyMarker, NextKeyMarker string
	Contents                                                                                  []struct{ Key string }
	Upload                                                                                    []struct{ Key string }
	CommonPrefixes                                                                            []struct{ Prefix string }
}

func (l list) keys() (keys []string) {
	for _, o := range append(l.Contents, l.Upload...) {
		keys = append(keys, o.Key)
	}
	for _, p := range l.CommonPrefixes {
		keys = append(keys, p.Prefix)
	}
	return keys
}

func TestEncodingType(t *testing.T) {
	t.Parallel()
	e := start(t)
	keys := []string{"uploads/a b+c%20/ü.csv", "uploads/a&b/x.csv", "uploads/line\nend", "uploads/zz'*~.csv"}
	slices.Sort(keys)
	for _, key := range keys {
		e.put(t, key, "x")
		e.ask(t, request{method: "POST", path: "/" + bucket + "/" + escape(key), query: "uploads=", by: uploader}).upload(t)
	}
	ask := func(query string) list {
		t.Helper()
		got := e.ask(t, request{method: "GET", path: "/" + bucket, query: query, by: uploader})
		var l list
		if err := xml.Unmarshal([]byte(got.body), &l); err != nil || got.status != 200 {
			t.Fatalf("%s: %s, %v", query, got, err)
		}
		return l
	}
	for _, kind := range []string{"", "list-type=2&", "uploads=&"} {
		plain, encoded := ask(kind+"prefix=uploads%2F"), ask(kind+"prefix=uploads%2F&encoding-type=url")
		if plain.EncodingType != "" || encoded.EncodingType != "url" {
			t.Errorf("%s: encoding types %q, %q", kind, plain.EncodingType, encoded.EncodingType)
		}
		if diff := cmp.Diff(keys, plain.keys()); diff != "" {
			t.Errorf("%s: keys (-want +got):\n%s", kind, diff)
		}
		var decoded []string
		for _, key := range encoded.keys() {
			text, err := url.QueryUnescape(key)
			if err != nil || strings.ContainsAny(key, " \n&'") || !strings.HasPrefix(key, "uploads/") {
				t.Errorf("%s: %q: %v", kind, key, err)
			}
			decoded = append(decoded, text)
		}
		if diff := cmp.Diff(keys, decoded); diff != "" {
			t.Errorf("%s: decoded keys (-want +got):\n%s", kind, diff)
		}
		start := map[string]string{"": "marker", "list-type=2&": "start-after", "uploads=&": "key-marker"}[kind]
		folders := ask(kind + "prefix=uploads%2Fa%20&delimiter=%2F&encoding-type=url&" + start + "=%20")
		if diff := cmp.Diff([]string{"uploads/a+b%2Bc%2520/"}, folders.keys()); diff != "" || folders.Prefix != "uploads/a+" || folders.Delimiter != "/" {
			t.Errorf("%s: prefix %q, delimiter %q, common prefixes (-want +got):\n%s", kind, folders.Prefix, folders.Delimiter, diff)
		}
		if marker := folders.Marker + folders.StartAfter + folders.KeyMarker; marker != "+" {
			t.Errorf("%s: marker %q", kind, marker)
		}
		if none := ask(kind + "prefix=uploads%2F%2F%20&encoding-type=url"); none.Prefix != "uploads//+" || none.EncodingType != "url" {
			t.Errorf("%s: of no keys: %+v", kind, none)
		}
		if got := e.ask(t, request{method: "GET", path: "/" + bucket, query: kind + "encoding-type=base64", by: uploader}); got.status != http.StatusBadRequest {
			t.Errorf("%s: an unknown encoding type: %s, want 400", kind, got)
		}
	}
	// Page by page, as SDKs do.
	marker, seen := "", []string(nil)
	for range len(keys) + 1 {
		page := ask("max-keys=1&encoding-type=url&prefix=uploads%2F&marker=" + url.QueryEscape(marker))
		for _, key := range page.keys() {
			marker, _ = url.QueryUnescape(key)
			seen = append(seen, marker)
		}
	}
	if diff := cmp.Diff(keys, seen); diff != "" {
		t.Errorf("page by page (-want +got):\n%s", diff)
	}
}

// TestConditionsWithSeveralTags compares ETags as RFC 9110 does.
func TestConditionsWithSeveralTags(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.put(t, "uploads/a.csv", "person")
	tag := `"` + etag([]byte("person")) + `"`
	path := "/" + bucket + "/uploads/a.csv"
	modified := e.ask(t, request{method: "GET", path: path, by: uploader}).header.Get("Last-Modified")
	for _, test := range []struct {
		name, value string
		status      int
	}{
		{"If-None-Match", tag, 304},
		{"If-None-Match", "W/" + tag, 304},
		{"If-None-Match", `"x", ` + tag, 304},
		{"If-None-Match", tag + `,"x"`, 304},
		{"If-None-Match", `"x", W/` + tag + `, "y"`, 304},
		{"If-None-Match", `"x", "y"`, 200},
		{"If-None-Match", `W/"x"`, 200},
		{"If-Match", `"x", ` + tag, 200},
		{"If-Match", `"x", W/` + tag, 412},
		{"If-Match", "W/" + tag, 412},
		{"If-Range", tag, 206},
		{"If-Range", modified, 206},
		{"If-Range", `"x"`, 200},
		{"If-Range", "W/" + tag, 200},
		{"If-Range", "Thu, 01 Jan 2015 00:00:00 GMT", 200},
		{"If-Range", "nonsense", 200},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			header := map[string]string{test.name: test.value}
			if test.name == "If-Range" {
				header["Range"] = "bytes=0-1"
				if method == "HEAD" {
					continue
				}
			}
			if got := e.ask(t, request{method: method, path: path, header: header, by: uploader}); got.status != test.status {
				t.Errorf("%s with %s: %s: %s, want %d", method, test.name, test.value, got, test.status)
			}
		}
	}
}

// TestHeadersOfAnswers are sent once, and dates are written as HTTP does.
func TestHeadersOfAnswers(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.put(t, "uploads/a.csv", "person")
	path := "/" + bucket + "/uploads/a.csv"
	for name, r := range map[string]request{
		"GET": {method: "GET", path: path}, "HEAD": {method: "HEAD", path: path}, "PUT": {method: "PUT", path: path, body: "x"},
		"list": {method: "GET", path: "/" + bucket}, "missing": {method: "GET", path: path + "x"},
		"attributes": {method: "GET", path: path, query: "attributes=", header: map[string]string{"X-Amz-Object-Attributes": "ETag"}},
	} {
		r.by = uploader
		got := e.ask(t, r)
		for _, header := range []string{"X-Amz-Request-Id", "X-Amz-Id-2"} {
			if values := got.header.Values(header); len(values) != 1 || values[0] == "" {
				t.Errorf("%s: %s: %s = %q, want one", name, got, header, values)
			}
		}
		if modified := got.header.Get("Last-Modified"); modified != "" || name == "attributes" {
			if _, err := http.ParseTime(modified); err != nil {
				t.Errorf("%s: Last-Modified: %v", name, err)
			}
		}
	}
}
