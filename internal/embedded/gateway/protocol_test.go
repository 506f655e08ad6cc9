package gateway_test

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"
)

// TestContentEncoding: aws-chunked is about the request, and is not stored.
func TestContentEncoding(t *testing.T) {
	t.Parallel()
	e := start(t)
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
