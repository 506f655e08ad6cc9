package gateway_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/flavorless/flavorless/internal/embedded/gateway"
)

// TestContentEncoding checks that aws-chunked, which describes the request, is not stored.
func TestContentEncoding(t *testing.T) {
	t.Parallel()
	for name, srv := range map[string]*testServer{"attributes": start(t), "beside": start(t, withSidecar)} {
		t.Run(name, func(t *testing.T) { testContentEncoding(t, srv) })
	}
}

func testContentEncoding(t *testing.T, srv *testServer) {
	for sent, want := range map[string]string{
		"gzip": "gzip", "gzip, aws-chunked": "gzip", "aws-chunked": "", "aws-chunked,gzip": "gzip",
		"gzip,aws-chunked": "gzip", "AWS-Chunked , gzip": "gzip",
		"gzip, aws-chunked, br": "gzip, br", "aws-chunked, aws-chunked": "", "gzip,br": "gzip,br",
		"x-aws-chunked": "x-aws-chunked", "": "",
	} {
		put := request{method: "PUT", path: "/uploads/uploads/put", body: "x", header: headers{"Content-Encoding": sent}}
		begin := request{method: "POST", path: "/uploads/uploads/parts", query: "uploads=",
			header: headers{"Content-Encoding": sent}}
		if got := srv.send(t, put); got.status != 200 {
			t.Fatalf("PUT with %q: %s, want 200", sent, got)
		}
		if got := srv.send(t, form(t, headers{"key": "uploads/form", "Content-Encoding": sent}, time.Now(),
			"x")); got.status != 204 {
			t.Fatalf("form with %q: %s, want 204", sent, got)
		}
		if got := srv.send(t, request{method: "PUT", path: "/uploads/uploads/copy", header: headers{
			"X-Amz-Copy-Source": "/uploads/uploads/put", "X-Amz-Metadata-Directive": "REPLACE", "Content-Encoding": sent,
		}}); got.status != 200 {
			t.Fatalf("copy with %q: %s, want 200", sent, got)
		}
		id := srv.send(t, begin).upload(t)
		part := srv.send(t, request{method: "PUT", path: begin.path, query: "partNumber=1&uploadId=" + id, body: "x"})
		done := `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>` + part.header.Get("Etag") +
			`</ETag></Part></CompleteMultipartUpload>`
		if got := srv.send(t, request{method: "POST", path: begin.path, query: "uploadId=" + id,
			body: done}); got.status != 200 {
			t.Fatalf("completion with %q: %s, want 200", sent, got)
		}
		for _, key := range []string{"put", "form", "copy", "parts"} {
			got := srv.send(t, request{method: "HEAD", path: "/uploads/uploads/" + key}).header
			if values, ok := got["Content-Encoding"]; strings.Join(values, "") != want || ok != (want != "") {
				t.Errorf("%s with Content-Encoding %q: stored %q, want %q", key, sent, values, want)
			}
		}
	}
}

// TestMetadataIsReplaced checks that an object has no metadata from the object that it replaced.
func TestMetadataIsReplaced(t *testing.T) {
	t.Parallel()
	for name, srv := range map[string]*testServer{"attributes": start(t), "beside": start(t, withSidecar)} {
		for _, key := range []string{"uploads/a.csv", "uploads/meta/a.csv"} {
			put := &s3.PutObjectInput{Bucket: uploads, Key: &key, Body: strings.NewReader("1"),
				Metadata: headers{"mode": "snapshot"}, Tagging: aws.String("a=b"), CacheControl: aws.String("no-store")}
			if _, err := srv.s3.PutObject(t.Context(), put); err != nil {
				t.Fatal(err)
			}
			for again, store := range map[string]func(){
				"PUT":   func() { srv.put(t, key, "2") },
				"parts": func() { completeParts(t, srv, key) },
			} {
				store()
				head, err := srv.head(t, key)
				if err != nil || len(head.Metadata) > 0 || aws.ToInt32(head.TagCount) > 0 || head.CacheControl != nil {
					t.Errorf("%s, %s after %s: %v, %+v; want no metadata, tags and cache control", name, key, again, err, head)
				}
				if o := srv.last(t, key); srv.objects(t)[key] != o {
					t.Errorf("%s, %s after %s: announced %+v, found %+v, want them equal", name, key, again, o, srv.objects(t)[key])
				}
				put.Body = strings.NewReader("1")
				if _, err := srv.s3.PutObject(t.Context(), put); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// TestSeveralContentEncodings checks that several headers are stored as one, joined by commas.
func TestSeveralContentEncodings(t *testing.T) {
	t.Parallel()
	srv := start(t)
	signed, err := s3.NewPresignClient(srv.s3).PresignPutObject(t.Context(),
		&s3.PutObjectInput{Bucket: uploads, Key: aws.String("uploads/a")})
	if err != nil {
		t.Fatal(err)
	}
	signed.SignedHeader["Content-Encoding"] = []string{"aws-chunked", "gzip", "br"}
	if got := srv.sendSigned(t, "PUT", signed.URL, signed.SignedHeader, "x"); got.status != 200 {
		t.Fatalf("PUT: %s %s, want 200", got, got.body)
	}
	got := srv.send(t, request{method: "HEAD", path: "/uploads/uploads/a"})
	if encoding := got.header.Get("Content-Encoding"); encoding != "gzip, br" {
		t.Errorf("stored Content-Encoding %q, want %q", encoding, "gzip, br")
	}
}

// TestMetadataTooLargeForFileSystem stores metadata that S3 accepts. A file system that can't store it must leave
// nothing, and the answer must not be that the disk is full.
func TestMetadataTooLargeForFileSystem(t *testing.T) {
	t.Parallel()
	srv := start(t)
	var tags []string
	for _, letter := range strings.Split("abcdefghij", "") {
		tags = append(tags, strings.Repeat(letter, 128)+"="+strings.Repeat("v", 256))
	}
	tagging := strings.Join(tags, "&")
	metadata := headers{"a": strings.Repeat("m", 2000)}
	for _, key := range []string{"uploads/deep/er/a.csv", "uploads/deep/marker/"} {
		put := &s3.PutObjectInput{Bucket: uploads, Key: &key, Tagging: &tagging, Metadata: metadata}
		if !strings.HasSuffix(key, "/") {
			put.Body = strings.NewReader(hoistedBody)
		}
		_, err := srv.s3.PutObject(t.Context(), put)
		if err != nil && (status(err) != 400 || code(err) != "MetadataTooLarge") {
			t.Errorf("%s: %v, want 200 or 400 MetadataTooLarge", key, err)
		}
		_, head := srv.head(t, key)
		_, file := os.Stat(filepath.Join(srv.cfg.Dir, "objects", bucket, "uploads", "deep"))
		if stored := head == nil; stored != (err == nil) || err != nil && !errors.Is(file, fs.ErrNotExist) {
			t.Errorf("%s: answer %v, but HeadObject returns %v, and its folder %v; want all of it or nothing", key, err, head,
				file)
		}
		if announced := len(srv.keys()) > 0; !strings.HasSuffix(key, "/") && announced != (err == nil) {
			t.Errorf("%s: answer %v, announced %v, want an announcement only after success", key, err, srv.keys())
		}
	}
	mp, err := srv.s3.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: uploads,
		Key: aws.String("uploads/p.csv"), Tagging: &tagging, Metadata: metadata})
	if err != nil && (status(err) != 400 || code(err) != "MetadataTooLarge") {
		t.Errorf("CreateMultipartUpload: %v, %v; want success or 400 MetadataTooLarge", mp, err)
	}
	// Less metadata is stored.
	key := "uploads/tagged.csv"
	srv.putObject(t, &s3.PutObjectInput{Key: &key, Tagging: aws.String("a=b"), Body: strings.NewReader("x")})
	out, err := srv.s3.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: uploads, Key: &key})
	if err != nil || len(out.TagSet) != 1 || *out.TagSet[0].Value != "b" {
		t.Errorf("tags: %v, %v; want a=b", out, err)
	}
}

// TestMetadata checks that metadata is read back as it was sent, or refused.
func TestMetadata(t *testing.T) {
	t.Parallel()
	for _, beside := range []bool{false, true} {
		srv, base := startGuarded(t, func(c *gateway.Config) {
			if beside {
				mkdir(t, c.Dir, "metadata")
			}
		})
		before := tree(t, base)
		for _, name := range []string{"../../../x", "a/b", "", "a b", "\x00", "\xff", "a:b", "ü", "a\tb", `a\b`, "etag/",
			"(a)"} {
			got := srv.send(t, form(t, headers{"key": "uploads/a.csv", "x-amz-meta-" + name: "v"}, time.Now(), "x"))
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
				if got := srv.send(t, form(t, headers{"key": "uploads/a.csv", name: value}, time.Now(), "x")); got.status != 400 {
					t.Errorf("form with %s: %.40q: %s, want 400", name, value, got)
				}
			}
		}
		for _, header := range []headers{
			{"X-Amz-Meta-A": strings.Repeat("a", 2048)}, {"X-Amz-Meta-A": strings.Repeat("a", 1024),
				"X-Amz-Meta-B": strings.Repeat("b", 1024)}, {"X-Amz-Meta-A": "\xff"},
			{"X-Amz-Meta-": "x"}, {"X-Amz-Tagging": "a=1&b=2&c=3&d=4&e=5&f=6&g=7&h=8&i=9&j=10&k=11"},
			{"X-Amz-Tagging": "a=%00"}, {"X-Amz-Tagging": strings.Repeat("a", 129) + "=b"},
		} {
			for _, r := range []request{{method: "PUT", path: "/uploads/uploads/a.csv", body: "x"},
				{method: "POST", path: "/uploads/uploads/a.csv", query: "uploads="}} {
				r.header = header
				if got := srv.send(t, r); got.status != 400 {
					t.Errorf("%s with %.60v: %s, want 400", r.method, header, got)
				}
			}
		}
		checkUnchanged(t, base, before)
		const oddName = "!#$%&'*+.^_`|~9"
		got := srv.send(t, form(t, headers{
			"key": "uploads/a.csv", "x-amz-meta-on-error": "abort, über", "x-amz-meta-" + oddName: "odd",
		}, time.Now(), "x"))
		head, err := srv.head(t, "uploads/a.csv")
		if got.status != 204 || err != nil || head.Metadata["on-error"] != "abort, über" || head.Metadata[oddName] != "odd" {
			t.Errorf("metadata = %v, %v after %s; want what was sent", head, err, got)
		}
	}
}

// TestSidecarKeysNamedMeta checks that keys with a segment "meta" don't collide with the sidecar's folders of that
// name.
func TestSidecarKeysNamedMeta(t *testing.T) {
	t.Parallel()
	srv := start(t, func(c *gateway.Config) { mkdir(t, c.Dir, "metadata") })
	keys := []string{
		"meta/acl", "meta/etag", "meta/meta/etag", "uploads/", "uploads/meta/etag", "uploads/meta/meta", "uploads/meta~/x",
		"uploads/meta~~/meta/etag", "meta~",
	}
	put := func(key string) {
		t.Helper()
		body := key
		if strings.HasSuffix(key, "/") {
			body = ""
		}
		if _, err := srv.s3.PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: uploads, Key: &key, Body: strings.NewReader(body), Metadata: headers{"key": key},
		}); err != nil {
			t.Errorf("PutObject(%q): %v", key, err)
		}
	}
	check := func(when string) {
		t.Helper()
		for _, key := range keys {
			head, err := srv.head(t, key)
			if err != nil || head.Metadata["key"] != key {
				t.Errorf("%s: metadata of %q = %v, %v; want its key", when, key, head, err)
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
		srv.delete(t, key)
		keys = slices.DeleteFunc(keys, func(k string) bool { return k == key })
	}
	check("after others were deleted")
}

func TestSidecarMetadata(t *testing.T) {
	t.Parallel()
	srv := start(t, func(c *gateway.Config) { mkdir(t, c.Dir, "metadata") })
	srv.put(t, "uploads/a.csv", "one")
	complete := srv.parts(t, "uploads/p.csv", payload(5<<20), payload(100))
	srv.complete(t, complete)
	srv.put(t, "uploads/a.csv", "two")
	srv.checkScan(t)
	srv.checkContent(t, "uploads/a.csv", "two")
}
