package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/flavorless/flavorless/internal/testutil"
)

func TestReadersGetTheBytesOfTheETag(t *testing.T) {
	testutil.SkipIfShort(t)
	t.Parallel()
	srv := start(t)
	srv.put(t, "uploads/a.csv", "first")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 400 {
			_, err := srv.s3.PutObject(t.Context(), &s3.PutObjectInput{
				Bucket: uploads, Key: aws.String("uploads/a.csv"), Body: strings.NewReader(fmt.Sprint("content ", i)),
			})
			if err != nil {
				t.Error(err)
			}
		}
	}()
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
		}
		out, err := srv.s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: uploads, Key: aws.String("uploads/a.csv")})
		if err != nil {
			t.Fatal(err)
		}
		if body := read(t, out.Body); etag([]byte(body)) != strings.Trim(*out.ETag, `"`) {
			t.Fatalf("read %q with the ETag %s, want the ETag of these bytes", body, *out.ETag)
		}
	}
}

// TestNotModified checks that a 304 has the headers that caches need.
func TestNotModified(t *testing.T) {
	t.Parallel()
	srv := start(t)
	key := aws.String("uploads/a.csv")
	srv.putObject(t, &s3.PutObjectInput{Key: key, Body: strings.NewReader("x"), CacheControl: aws.String("max-age=60")})
	path := "/uploads/" + *key
	whole := srv.send(t, request{method: "GET", path: path}).header
	etag, modified := whole.Get("Etag"), whole.Get("Last-Modified")
	for _, method := range []string{"GET", "HEAD"} {
		for name, value := range map[string]string{"If-None-Match": etag, "If-Modified-Since": modified} {
			got := srv.send(t, request{method: method, path: path, header: headers{name: value}})
			if got.status != 304 || got.header.Get("Etag") != etag || got.header.Get("Last-Modified") != modified ||
				got.header.Get("Cache-Control") != "max-age=60" || got.body != "" {
				t.Errorf("%s with %s: %s, %v, %q; want 304 with headers for caches", method, name, got, got.header, got.body)
			}
		}
	}
	got := srv.send(t, request{method: "GET", path: path, header: headers{"If-Unmodified-Since": modified}})
	if got.status != 200 {
		t.Errorf("If-Unmodified-Since: %s, want 200", got)
	}
	// The condition of a copy is about the source, so the answer has none of its headers.
	got = srv.send(t, request{method: "PUT", path: "/uploads/uploads/b.csv", header: headers{
		"X-Amz-Copy-Source": path, "X-Amz-Copy-Source-If-None-Match": etag,
	}})
	if got.status != 412 || got.header.Get("Etag") != "" {
		t.Errorf("copy: %s, %v; want 412 without an ETag", got, got.header)
	}
}

// TestETagConditions checks that ETags are compared as RFC 9110 defines.
func TestETagConditions(t *testing.T) {
	t.Parallel()
	srv := start(t)
	srv.put(t, "uploads/a.csv", "person")
	tag := `"` + etag([]byte("person")) + `"`
	path := "/uploads/uploads/a.csv"
	modified := srv.send(t, request{method: "GET", path: path}).header.Get("Last-Modified")
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
			header := headers{test.name: test.value}
			if test.name == "If-Range" {
				header["Range"] = "bytes=0-1"
				if method == "HEAD" {
					continue
				}
			}
			if got := srv.send(t, request{method: method, path: path, header: header}); got.status != test.status {
				t.Errorf("%s with %s: %s: %s, want %d", method, test.name, test.value, got, test.status)
			}
		}
	}
}

// TestResponseHeaders checks that each header is sent once, and dates have the format of HTTP.
func TestResponseHeaders(t *testing.T) {
	t.Parallel()
	srv := start(t)
	srv.put(t, "uploads/a.csv", "person")
	path := "/uploads/uploads/a.csv"
	for name, r := range map[string]request{
		"GET": {method: "GET", path: path}, "HEAD": {method: "HEAD", path: path},
		"PUT":  {method: "PUT", path: path, body: "x"},
		"list": {method: "GET", path: "/uploads"}, "missing": {method: "GET", path: path + "x"},
		"attributes": {method: "GET", path: path, query: "attributes=", header: headers{"X-Amz-Object-Attributes": "ETag"}},
	} {
		got := srv.send(t, r)
		for _, header := range []string{"X-Amz-Request-Id", "X-Amz-Id-2"} {
			if values := got.header.Values(header); len(values) != 1 || values[0] == "" {
				t.Errorf("%s: %s: %s = %q, want one", name, got, header, values)
			}
		}
		if modified := got.header.Get("Last-Modified"); modified != "" || name == "attributes" {
			if _, err := http.ParseTime(modified); err != nil {
				t.Errorf("%s: Last-Modified: %v, want a date of HTTP", name, err)
			}
		}
	}
}
